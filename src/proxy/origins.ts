import type { Duplex } from 'node:stream';
import type { Reason } from '../core/reasons.ts';
import type { DialHandle } from '../upstream/dialer.ts';
import { OriginClient, type Peer } from '../upstream/pool.ts';
import { type AlpnOffers, dialOrigin } from './dial-origin.ts';
import type { Exchange } from './exchange.ts';
import type { RefusalDetail } from './refuse.ts';
import type { Tunnel } from './tunnel.ts';

/** A request that waits for a connection. One of `leased` and `failed` is called once, or neither if it is over. */
export interface OriginWaiter {
  readonly exchange: Exchange;
  isOver(): boolean;
  /** There is a connection, with a place reserved: dispatch to it, or release the place. */
  leased(client: OriginClient, peer: Peer): void;
  failed(reason: Reason, detail?: RefusalDetail): void;
}

/** An upgrade that waits for a connection of its own. */
export interface UpgradeWaiter extends Omit<OriginWaiter, 'leased'> {
  connected(socket: Duplex, peer: Peer): void;
}

/** One origin for one agent. */
interface Route {
  readonly clients: OriginClient[];
  /** Connections that are there or being dialled. */
  connections: number;
  /** The first connection, which is being dialled, and who waits for it. */
  dialling: { readonly handle: DialHandle; readonly waiters: OriginWaiter[] } | null;
}

/**
 * The upstream connections of one client connection. A client that speaks HTTP/1 has one to each
 * origin; one that speaks HTTP/2 has one that carries all of its requests where the origin speaks
 * HTTP/2 too, and else as many as it has requests under way. Beyond the first, which goes with the
 * client's own, each takes a place among the connections of its agent.
 */
export class Origins {
  readonly #tunnel: Tunnel | null;
  readonly #multiplexes: boolean;
  readonly #routes = new Map<string, Route>();

  /** @param multiplexes the client speaks HTTP/2, so that origins may as well. */
  constructor(tunnel: Tunnel | null, multiplexes: boolean) {
    this.#tunnel = tunnel;
    this.#multiplexes = multiplexes;
  }

  /**
   * Finds or makes a connection for one request: contract §4 steps 5 and 6, unless a live one is
   * there. The waiter may be called at once.
   */
  reach(waiter: OriginWaiter): DialHandle {
    const { exchange } = waiter;
    const route = this.#route(exchange);
    const open = route.clients.find((client) => client.ready !== null && client.isFree);
    if (open !== undefined) {
      lease(waiter, open);
      return settled;
    }
    // Whether one connection is enough for all is known only when the first is there.
    if (!this.#multiplexes || route.clients.some((client) => !client.multiplexes)) {
      return this.#dial(route, [waiter]);
    }
    if (route.dialling !== null) route.dialling.waiters.push(waiter);
    else this.#dialFirst(route, waiter);
    return { cancel: () => forget(route, waiter) };
  }

  /** Makes a connection for one upgrade alone. */
  reachForUpgrade(waiter: UpgradeWaiter): DialHandle {
    return dialOrigin(waiter.exchange, this.#tunnel, http1, waiter);
  }

  destroy(): void {
    for (const { clients, dialling } of this.#routes.values()) {
      dialling?.handle.cancel();
      for (const client of clients) client.destroy();
    }
    this.#routes.clear();
  }

  #route(exchange: Exchange): Route {
    // A client may relay for several agents, and a connection may hold what its origin knows of one.
    const key = `${exchange.agent?.id} ${exchange.host}:${exchange.port}`;
    let route = this.#routes.get(key);
    if (route === undefined) {
      route = { clients: [], connections: 0, dialling: null };
      this.#routes.set(key, route);
    }
    return route;
  }

  #dialFirst(route: Route, waiter: OriginWaiter): void {
    const waiters = [waiter];
    let over = false;
    const handle = this.#dial(route, waiters, () => {
      over = true;
      route.dialling = null;
    });
    if (!over) route.dialling = { handle, waiters };
  }

  /** @param done is told before the waiters are. */
  #dial(route: Route, waiters: readonly OriginWaiter[], done = noted): DialHandle {
    const { exchange } = waiters[0] as OriginWaiter;
    const failed = (reason: Reason, detail?: RefusalDetail): void => {
      done();
      for (const waiter of waiters) if (!waiter.isOver()) waiter.failed(reason, detail);
    };
    const leave = enter(route, exchange);
    if (leave === null) {
      failed('connection_limit');
      return settled;
    }
    let dialling = true;
    const handle = dialOrigin(exchange, this.#tunnel, this.#multiplexes ? either : http1First, {
      isOver: () => waiters.every((waiter) => waiter.isOver()),
      failed: (reason, detail) => {
        dialling = false;
        leave();
        failed(reason, detail);
      },
      connected: (socket, peer) => {
        dialling = false;
        socket.once('close', leave);
        done();
        const client = clientFor(route, speaksHttp2(socket));
        client.supply(socket, peer);
        const [first, ...others] = waiters.filter((waiter) => !waiter.isOver());
        if (first !== undefined) lease(first, client);
        for (const waiter of others) this.reach(waiter);
      },
    });
    return {
      cancel: () => {
        handle.cancel();
        if (dialling) leave();
        dialling = false;
      },
    };
  }
}

/**
 * Counts one more connection of a route, and takes a place for it if it is not the first: one tunnel
 * could else hold a hundred.
 * @returns gives both back, once; null if the agent holds as many connections as it may
 */
function enter(route: Route, { services, identity }: Exchange): (() => void) | null {
  const agent = route.connections === 0 ? null : (identity?.agent ?? null);
  if (agent !== null && !services.agents.acquire(agent)) return null;
  route.connections++;
  let left = false;
  return () => {
    if (left) return;
    left = true;
    route.connections--;
    if (agent !== null) services.agents.release(agent);
  };
}

const http1: AlpnOffers = [['http/1.1']];
/** A client of HTTP/1 gets HTTP/2 from origins only where they speak nothing else. */
const http1First: AlpnOffers = [['http/1.1'], ['h2']];
const either: AlpnOffers = [['h2', 'http/1.1']];
const settled: DialHandle = { cancel() {} };
function noted(): void {}

/** A connection that was dialled for another request must do for this one's entry, too. */
function lease(waiter: OriginWaiter, client: OriginClient): void {
  const { exchange } = waiter;
  const peer = client.ready;
  // It has ended since it was made.
  if (peer === null) return waiter.failed('connect_failed');
  const granted = exchange.decision?.addresses ?? [];
  const verdict = exchange.services.guard.check(peer.ip, exchange.port ?? 0, granted);
  if (verdict !== 'ok') return waiter.failed(verdict);
  client.reserve();
  waiter.leased(client, peer);
}

/** The request is over: what is dialled for nobody else is given up. */
function forget(route: Route, waiter: OriginWaiter): void {
  const { dialling } = route;
  if (dialling === null || !dialling.waiters.includes(waiter)) return;
  if (!dialling.waiters.every((other) => other === waiter || other.isOver())) return;
  dialling.handle.cancel();
  route.dialling = null;
}

/** One that has lost its connection, or a new one. */
function clientFor({ clients }: Route, multiplexes: boolean): OriginClient {
  const idle = clients.find((client) => {
    return client.multiplexes === multiplexes && client.ready === null && client.isFree;
  });
  if (idle !== undefined) return idle;
  const client = new OriginClient(multiplexes);
  clients.push(client);
  return client;
}

function speaksHttp2(socket: Duplex): boolean {
  return 'alpnProtocol' in socket && socket.alpnProtocol === 'h2';
}
