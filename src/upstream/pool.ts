import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { Client } from 'undici';
import type { Ip } from '../core/ip.ts';
import { InterimFilter } from './interim.ts';
import { keepBodiesWhole } from './whole-bodies.ts';

keepBodiesWhole();

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
const placeholder = 'https://vetted.invalid';

/** Requests that one HTTP/2 connection carries at a time, if the origin does not want fewer. */
const maxStreams = 100;

/** Milliseconds after which undici may ask once more for a connection that is not there. */
const askedAgainAfter = 20;

/**
 * A connection to one origin as seen by one client connection: an undici client that never opens one
 * by itself. It uses sockets that were vetted and dialled for it, one at a time, and keeps the last
 * one while it lives; nothing is shared with any other client connection or agent. What ALPN agreed
 * on decides the version: HTTP/2 carries many requests at once, HTTP/1.1 one.
 */
export class OriginClient {
  readonly #client: Client;
  #next: Duplex | null = null;
  #socket: Duplex | null = null;
  /** All that have not closed: Node keeps one whose HTTP/2 it has ended, if a write does not complete. */
  readonly #open = new Set<Duplex>();
  #peer: Peer | null = null;
  #filter: InterimFilter | null = null;
  /** undici waits to hear that there is no connection: what is dispatched now would hear it, too. */
  #refusing = false;
  /** The connection, in use or supplied, speaks HTTP/2. */
  readonly #multiplexes: boolean;
  /** Requests that have a place and are not dispatched yet. */
  #reserved = 0;

  /** @param multiplexes what it is supplied with speaks HTTP/2, all of it. */
  constructor(multiplexes = false) {
    this.#multiplexes = multiplexes;
    this.#client = new Client(placeholder, {
      connect: (_options, done) => {
        const socket = this.#next;
        this.#next = null;
        // It may have ended since it was vetted, and undici would wait on it for good.
        if (socket === null || !isUsable(socket)) {
          return this.#refuse((error) => done(error, null));
        }
        this.#socket = socket;
        if (!multiplexes) {
          this.#filter = new InterimFilter(socket);
          this.#filter.expect();
        }
        // Later, because undici loses a request whose connection is there before it has asked. Its
        // types ask for a net.Socket; it uses what every Duplex of ours has.
        queueMicrotask(() => done(null, socket as never));
      },
      pipelining: multiplexes ? maxStreams : 1,
      // Deadlines are the exchange's own: one place decides how long anything may take.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 4_000,
      maxHeaderSize: 65_536,
      allowH2: multiplexes,
      ...(multiplexes ? { h2Options: { maxConcurrentStreams: maxStreams, pingInterval: 0 } } : {}),
    });
    this.#client.on('disconnect', () => {
      this.#filter = null;
      this.#socket = null;
    });
  }

  get multiplexes(): boolean {
    return this.#multiplexes;
  }

  /**
   * There is no connection. Not told in this turn: while requests of the connection before this one
   * are under way undici asks again at once, and so for good if nothing else can happen in between.
   */
  #refuse(refused: (error: NoConnectionError) => void): void {
    this.#refusing = true;
    setTimeout(() => {
      this.#refusing = false;
      refused(new NoConnectionError('no vetted connection is at hand'));
    }, askedAgainAfter);
  }

  /** It has room for one more request now, on the connection that it has or could be supplied with. */
  get isFree(): boolean {
    const taken = this.#client.stats.size + this.#reserved;
    return !this.#refusing && taken < (this.#multiplexes ? maxStreams : 1);
  }

  /** Keeps a place for a request until it is dispatched, or `release` is called. */
  reserve(): void {
    this.#reserved++;
  }

  release(): void {
    this.#reserved--;
  }

  /** Where the connection leads that the next request will use; null if one must be dialled. */
  get ready(): Peer | null {
    const socket = this.#next ?? this.#socket;
    return socket !== null && isUsable(socket) ? this.#peer : null;
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
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
  }

  /** Sends a request for which a place is reserved. */
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#reserved--;
    this.#filter?.expect();
    this.#client.dispatch(options, handler);
  }

  destroy(): void {
    this.#next?.destroy();
    this.#next = null;
    // With an error: undici takes any other end for that of a body without a length, whose request may
    // be over, and asserts that it is not, which would end the process.
    for (const socket of this.#open) socket.destroy(gone);
    // One error for all: undici would make its own each time, and node put its stack into words.
    this.#client.destroy(gone, ignore);
  }
}

const gone = new Error('the client connection is gone');
function ignore(): void {}

const isUsable = (socket: Duplex): boolean =>
  !socket.destroyed && socket.readable && socket.writable;
