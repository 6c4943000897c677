import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { Client } from 'undici';
import type { Ip } from '../core/ip.ts';
import { InterimFilter } from './interim.ts';

/** undici asked for a connection when none had been vetted for it: the request was not sent. */
export class NoConnectionError extends Error {
  override readonly name = 'NoConnectionError';
}

/** Where a connection leads. */
export interface Peer {
  readonly ip: Ip;
  /** `ip:port`. */
  readonly text: string;
}

/** For undici's bookkeeping only: every request brings its own Host, and nothing is ever resolved. */
const placeholder = 'http://vetted.invalid';

/**
 * One origin as seen by one client connection: an undici client that never opens a connection by
 * itself. It uses sockets that were vetted and dialled for it, one at a time, and keeps the last
 * one while it lives; nothing is shared with any other client connection or agent.
 */
export class OriginClient {
  readonly #client: Client;
  #next: Duplex | null = null;
  #socket: Duplex | null = null;
  #peer: Peer | null = null;
  #filter: InterimFilter | null = null;

  constructor() {
    this.#client = new Client(placeholder, {
      connect: (_options, done) => {
        const socket = this.#next;
        this.#next = null;
        this.#socket = socket;
        if (socket !== null) {
          this.#filter = new InterimFilter(socket);
          this.#filter.expect();
        }
        // Later, because undici loses a request whose connection is there before it has asked.
        queueMicrotask(() => {
          if (socket === null) done(new NoConnectionError('no vetted connection is at hand'), null);
          // undici's types ask for a net.Socket; it uses what every Duplex of ours has.
          else done(null, socket as never);
        });
      },
      pipelining: 1,
      // Deadlines are the exchange's own: one place decides how long anything may take.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 4_000,
      maxHeaderSize: 65_536,
      allowH2: false,
    });
    this.#client.on('disconnect', () => {
      this.#filter = null;
      this.#socket = null;
    });
  }

  /** Where the connection leads that the next request will use; null if one must be dialled. */
  get ready(): Peer | null {
    const socket = this.#next ?? this.#socket;
    return socket !== null && isUsable(socket) ? this.#peer : null;
  }

  /** Where the supplied, still unused connection leads; null if there is none. */
  get supplied(): Peer | null {
    return this.#next !== null && isUsable(this.#next) ? this.#peer : null;
  }

  /**
   * The connection in use has ended by an error. undici passes a reset off as the end of a body
   * that has no other end.
   */
  get broken(): boolean {
    return this.#socket?.errored != null;
  }

  /** Gives the connection that the next request will use. */
  supply(socket: Duplex, peer: Peer): void {
    this.#next?.destroy();
    this.#next = socket;
    this.#peer = peer;
  }

  /** Takes the supplied connection away, for an upgrade that undici has no part in. */
  take(): Duplex | null {
    const socket = this.#next;
    this.#next = null;
    return socket;
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#filter?.expect();
    this.#client.dispatch(options, handler);
  }

  destroy(): void {
    this.#next?.destroy();
    this.#next = null;
    this.#client.destroy().catch(() => {});
  }
}

const isUsable = (socket: Duplex): boolean =>
  !socket.destroyed && socket.readable && socket.writable;
