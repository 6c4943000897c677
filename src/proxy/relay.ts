import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import { breakOff, type ClientConnection, type Sink } from './client-connection.ts';
import { RetryWatch } from './retry-watch.ts';

export interface RelayOptions {
  /** Most bytes from client to destination; Infinity for no cap. */
  readonly uploadCap: number;
  /** The target whose second ClientHello must be watched for; null if the tunnel is not TLS. */
  readonly watch: { readonly host: string; readonly ip: Ip | null } | null;
  /** Called once, when both directions have ended or either socket is gone. */
  done(end: 'client' | 'origin' | Reason, cut: Reason | undefined): void;
}

/** Age at which a tunnel is worth the kernel's keep-alive probes, milliseconds. */
const keepAliveAfter = 30_000;
/** Silence before the kernel probes the other end, milliseconds. */
const keepAliveDelay = 60_000;

/**
 * Nagle's algorithm off. Only from the second piece in a direction on, because it delays none before:
 * a short exchange is spared the system call.
 */
function noDelay(socket: Duplex): true {
  (socket as Socket).setNoDelay(true);
  return true;
}

/**
 * Copies bytes both ways between a client and a destination.
 *
 * Who pauses whom: a full write buffer towards the destination pauses reading from the client until
 * its 'drain', and the other way round; nothing else buffers. Each direction ends by itself: a FIN
 * is passed on after the bytes before it, and the other direction goes on (RFC 9110 §9.3.6). A reset
 * on one side destroys the other, so that a cut-off stream never looks complete.
 */
export class Relay implements Sink {
  bytesUp = 0;
  bytesDown = 0;
  readonly #client: ClientConnection;
  readonly #socket: Socket;
  readonly #upstream: Duplex;
  readonly #options: RelayOptions;
  #watch: RetryWatch | null;
  #clientEnded = false;
  #upstreamEnded = false;
  #firstToEnd: 'client' | 'origin' | null = null;
  #over = false;
  #keptAlive = false;
  #upNoDelay = false;
  #downNoDelay = false;
  /** Bytes moved since the last look; spares reading the clock for every chunk. */
  #moved = true;
  #movedAt = 0;

  constructor(client: ClientConnection, upstream: Duplex, options: RelayOptions) {
    this.#client = client;
    this.#socket = client.socket;
    this.#upstream = upstream;
    this.#options = options;
    this.#watch = options.watch === null ? null : new RetryWatch(options.watch);
  }

  /**
   * @param held goes to the destination first; its first `judged` bytes are the ClientHello that
   *   was let through, what is behind them is watched like all that follows
   * @param clientEnded the client's FIN is already here
   */
  begin(held: Buffer, judged: number, clientEnded: boolean): void {
    const upstream = this.#upstream;
    this.#client.sink = this;
    if (this.#socket.isPaused()) this.#socket.resume();
    if (this.#watch === null || judged >= held.length) {
      if (held.length > 0) this.#up(held);
    } else {
      this.#up(held.subarray(0, judged));
      this.onData(held.subarray(judged));
    }
    if (this.#over) return;
    if (clientEnded) this.onEnd();
    upstream.on('data', (chunk: Buffer) => this.#down(chunk));
    upstream.on('end', () => this.#onUpstreamEnd());
    upstream.on('drain', () => this.#onUpstreamDrain());
    upstream.on('close', () => this.#onUpstreamClose());
    // What happened before the listeners were there is not told again.
    if (upstream.readableEnded) this.#onUpstreamEnd();
    if (upstream.destroyed) this.#onUpstreamClose();
  }

  /** Ends the copying; the owner destroys the sockets. */
  stop(): void {
    this.#over = true;
  }

  /**
   * Has the kernel find out whether both ends are still there, in tunnels that live longer.
   * @param age of the tunnel, milliseconds
   */
  keepAlive(age: number): void {
    if (this.#keptAlive || age <= keepAliveAfter) return;
    this.#keptAlive = true;
    this.#socket.setKeepAlive(true, keepAliveDelay);
    (this.#upstream as Socket).setKeepAlive(true, keepAliveDelay);
  }

  /** True if nothing has moved for `limit` milliseconds. Called every sweep. */
  idleFor(mono: number, limit: number): boolean {
    if (this.#moved) {
      this.#moved = false;
      this.#movedAt = mono;
      return false;
    }
    return mono - this.#movedAt >= limit;
  }

  onData(chunk: Buffer): void {
    if (this.#watch === null) {
      this.#up(chunk);
      return;
    }
    const verdict = this.#watch.onClient(chunk);
    if (typeof verdict === 'string') return this.#finish(verdict, verdict);
    if (verdict.length > 0) this.#up(verdict);
    this.#endWatch();
  }

  #endWatch(): void {
    if (this.#watch?.over !== true) return;
    const held = this.#watch.release();
    this.#watch = null;
    if (held.length > 0) this.#up(held);
  }

  #up(chunk: Buffer): void {
    if (this.#over) return;
    this.#moved = true;
    this.bytesUp += chunk.length;
    if (this.bytesUp > this.#options.uploadCap) {
      this.bytesUp -= chunk.length;
      this.#finish('upload_limit', 'upload_limit');
      return;
    }
    if (!this.#upstream.write(chunk)) this.#socket.pause();
    if (!this.#upNoDelay && this.bytesUp > chunk.length) this.#upNoDelay = noDelay(this.#upstream);
  }

  #down(chunk: Buffer): void {
    if (this.#over) return;
    this.#moved = true;
    this.bytesDown += chunk.length;
    if (this.#watch !== null) {
      this.#watch.onServer(chunk);
      this.#endWatch();
    }
    if (!this.#socket.write(chunk)) this.#upstream.pause();
    if (!this.#downNoDelay && this.bytesDown > chunk.length)
      this.#downNoDelay = noDelay(this.#socket);
  }

  onEnd(): void {
    this.#firstToEnd ??= 'client';
    this.#clientEnded = true;
    this.#moved = true;
    if (!this.#upstreamEnded || this.#upstream.writableLength > 0) this.#upstream.end();
    this.#finishIfBothEnded();
  }

  #onUpstreamEnd(): void {
    this.#firstToEnd ??= 'origin';
    this.#upstreamEnded = true;
    this.#moved = true;
    // If the client has ended too, closing says all that a FIN of our own would.
    if (!this.#clientEnded || this.#socket.writableLength > 0) this.#socket.end();
    this.#finishIfBothEnded();
  }

  onDrain(): void {
    this.#moved = true;
    this.#upstream.resume();
  }

  #onUpstreamDrain(): void {
    this.#moved = true;
    this.#socket.resume();
  }

  onClose(): void {
    this.#finish(this.#firstToEnd ?? 'client', undefined);
  }

  #onUpstreamClose(): void {
    if (this.#over) return;
    if (this.#upstreamEnded) {
      // A destination that ended in good order and is gone: what it sent still goes to the client.
      this.#firstToEnd ??= 'origin';
      if (this.#clientEnded) this.#finishIfBothEnded();
      else this.#socket.destroySoon();
      return;
    }
    if (!this.#socket.destroyed) breakOff(this.#socket);
    this.#finish(this.#firstToEnd ?? 'origin', undefined);
  }

  #finishIfBothEnded(): void {
    if (!this.#clientEnded || !this.#upstreamEnded || this.#over) return;
    if (this.#socket.writableLength > 0 && !this.#socket.destroyed) {
      // Both FINs are in, but the client has yet to take the last bytes; 'close' brings us back.
      this.#socket.destroySoon();
      return;
    }
    if (this.#upstream.writableLength > 0 && !this.#upstream.destroyed) {
      (this.#upstream as Socket).destroySoon();
      this.#upstream.once('close', () => this.#finish(this.#firstToEnd ?? 'client', undefined));
      return;
    }
    this.#finish(this.#firstToEnd ?? 'client', undefined);
  }

  #finish(end: 'client' | 'origin' | Reason, cut: Reason | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.done(end, cut);
  }
}
