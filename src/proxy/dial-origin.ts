import type { Duplex } from 'node:stream';
import { addressText } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import type { DialError, DialHandle } from '../upstream/dialer.ts';
import type { Peer } from '../upstream/pool.ts';
import { UpstreamTlsError } from '../upstream/tls-client.ts';
import { vet } from './admit.ts';
import type { Exchange } from './exchange.ts';
import type { RefusalDetail } from './refuse.ts';
import { resolveDetail } from './refuse.ts';
import type { Tunnel } from './tunnel.ts';

/**
 * What to offer in TLS (RFC 7301), best first; if the destination speaks none of it, the next list in
 * another connection.
 */
export type AlpnOffers = readonly (readonly ('h2' | 'http/1.1')[])[];

/** Who waits for the connection. `connected` or `failed` is called once, or neither if it is over. */
export interface DialWaiter {
  /** The request ended in the meantime: nobody wants the connection any more. */
  isOver(): boolean;
  connected(socket: Duplex, peer: Peer): void;
  failed(reason: Reason, detail?: RefusalDetail): void;
}

/**
 * Contract §4 steps 5 and 6 for a request: resolves and vets the target of the exchange, then dials
 * what was vetted, and for https makes sure of who answers there. The connection that its tunnel has
 * dialled already is taken first. The waiter may be called at once. Does not throw.
 */
export function dialOrigin(
  exchange: Exchange,
  tunnel: Tunnel | null,
  offers: AlpnOffers,
  waiter: DialWaiter,
): DialHandle {
  const dialled = tunnel?.takeUpstream() ?? null;
  if (dialled === null) return dialAnew(exchange, offers, waiter);
  const { socket, peer } = dialled;
  const granted = exchange.decision?.addresses ?? [];
  const verdict = exchange.services.guard.check(peer.ip, exchange.port ?? 0, granted);
  if (verdict !== 'ok') {
    socket.destroy();
    waiter.failed(verdict);
    return { cancel() {} };
  }
  // It may have waited for its first request for longer than the destination does.
  if (socket.destroyed || !socket.readable) return dialAnew(exchange, offers, waiter);
  if (exchange.scheme === 'https') return secureDialled(exchange, socket, peer, offers, waiter);
  waiter.connected(socket, peer);
  return { cancel() {} };
}

function secureDialled(
  exchange: Exchange,
  socket: Duplex,
  peer: Peer,
  offers: AlpnOffers,
  waiter: DialWaiter,
): DialHandle {
  let again: DialHandle | null = null;
  const first = secure(exchange, socket, peer, offers, {
    ...waiter,
    failed: () => {
      again = dialAnew(exchange, offers, waiter);
    },
  });
  return { cancel: () => (again ?? first).cancel() };
}

function dialAnew(exchange: Exchange, offers: AlpnOffers, waiter: DialWaiter): DialHandle {
  if (exchange.scheme !== 'https') return dial(exchange, waiter);
  let handshake: DialHandle | null = null;
  const dialling = dial(exchange, {
    ...waiter,
    connected: (socket, peer) => {
      handshake = secure(exchange, socket, peer, offers, waiter);
    },
  });
  return { cancel: () => (handshake ?? dialling).cancel() };
}

function dial(exchange: Exchange, waiter: DialWaiter): DialHandle {
  let dialling: DialHandle | null = null;
  const { services } = exchange;
  vet(exchange, (vetted) => {
    if (waiter.isOver()) return;
    if (vetted.reason !== null) return waiter.failed(vetted.reason, resolveDetail(vetted.rcode));
    const port = exchange.port ?? 80;
    const granted = exchange.decision?.addresses ?? [];
    const startedAt = services.clock.monotonic();
    dialling = services.dialer.dial(vetted.addresses, port, granted, (error, socket, address) => {
      dialling = null;
      exchange.dialMs = Math.round((services.clock.monotonic() - startedAt) * 10) / 10;
      services.metrics.dial(exchange.dialMs);
      if (socket === null || address === null) {
        return waiter.failed((error as DialError).reason);
      }
      socket.on('error', () => {});
      if (waiter.isOver()) {
        socket.destroy();
        return;
      }
      waiter.connected(socket, { ip: address, text: addressText(address, port) });
    });
  });
  return { cancel: () => dialling?.cancel() };
}

/** TLS for the exchange's host on a connection that is there, within the time that a dial has. */
function secure(
  exchange: Exchange,
  socket: Duplex,
  peer: Peer,
  offers: AlpnOffers,
  waiter: DialWaiter,
): DialHandle {
  const { inspection, limits } = exchange.services;
  if (inspection === null) throw new TypeError('nothing is inspected without an authority');
  const { host = '', ip } = exchange;
  const [alpn = [], ...others] = offers;
  let late = false;
  let settled = false;
  let again: DialHandle | null = null;
  const timer = setTimeout(() => {
    late = true;
    socket.destroy();
  }, limits.connectTimeout);
  inspection.upstream.secure(socket, { host, ip, alpn }, (error, secured) => {
    clearTimeout(timer);
    settled = true;
    if (secured !== null && !waiter.isOver()) return waiter.connected(secured, peer);
    socket.destroy();
    if (waiter.isOver()) return;
    if (late) waiter.failed('connect_timeout');
    else if (!(error instanceof UpstreamTlsError)) waiter.failed('connect_failed');
    else if (error.isAboutProtocols && others.length > 0) {
      again = dialAnew(exchange, others, waiter);
    } else {
      waiter.failed('upstream_tls', {
        message: `the TLS of ${host} does not verify: ${error.problem}`,
      });
    }
  });
  return {
    cancel: () => {
      // What is handed on is not ours to end.
      if (!settled) socket.destroy();
      again?.cancel();
    },
  };
}
