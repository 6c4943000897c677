import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Client } from './client-connection.ts';
import { Exchange } from './exchange.ts';
import { atOnce } from './failure-limiter.ts';
import { Forward } from './forward.ts';
import { readHttp2Head } from './http2-head.ts';
import { Http2Inbound } from './http2-inbound.ts';
import type { Session } from './inbound.ts';
import { Origins } from './origins.ts';
import { refuseExchange } from './refuse.ts';
import type { CutReason, Live, Services } from './services.ts';
import type { Tunnel } from './tunnel.ts';

/**
 * The HTTP/2 inside an inspected tunnel. Its streams are requests, each identified, decided, logged
 * and refused alone, as many at once as the settings of the connection let the client open.
 */
export class Http2Session implements Live, Session {
  readonly services: Services;
  readonly from: Client;
  readonly tunnel: Tunnel;
  readonly origins: Origins;
  readonly #connection: ServerHttp2Session;
  readonly #socket: Socket;
  #open = 0;
  #begun = false;
  /** Since when no stream is open, monotonic milliseconds. */
  #quietSince: number;

  /** @param socket on which the connection speaks: what it calls its own is a guarded one. */
  constructor(
    services: Services,
    connection: ServerHttp2Session,
    socket: Socket,
    from: Client,
    tunnel: Tunnel,
  ) {
    this.services = services;
    this.#socket = socket;
    this.from = from;
    this.tunnel = tunnel;
    this.origins = new Origins(tunnel, true);
    this.#connection = connection;
    this.#quietSince = services.clock.monotonic();
    services.live.add(this);
    connection.on('stream', (stream, _headers, _flags, raw) => this.#serve(stream, raw));
    connection.on('error', (error) => this.#broken(error));
    connection.once('close', () => this.#gone());
    // HTTP/2 has no use for a connection of one direction, and Node does not end it by itself. Not in
    // this turn, in the middle of its read: it may then write for good, and nothing else happens.
    socket.once('end', () => setImmediate(() => socket.destroy()));
  }

  #serve(stream: ServerHttp2Stream, raw: readonly string[]): void {
    this.#begun = true;
    stream.on('error', ignore);
    const head = readHttp2Head(raw);
    const inbound = new Http2Inbound(
      stream,
      typeof head === 'string' ? { method: '', target: '', headers: [] } : head,
    );
    if (typeof head === 'string') {
      const exchange = new Exchange(this.services, this.from);
      exchange.comesThrough(this.tunnel.exchange);
      inbound.refuse(refuseExchange(exchange, 'bad_request', { message: head }, true), atOnce);
      return;
    }
    const forward = new Forward(this, inbound);
    this.#open++;
    this.services.live.add(forward);
    stream.once('close', () => {
      this.#open--;
      this.#quietSince = this.services.clock.monotonic();
      this.services.live.delete(forward);
      forward.clientGone();
    });
    forward.start();
  }

  tick(mono: number): void {
    // Node waits with the end of the socket for a write that never ends once the client has reset it.
    if (this.#connection.destroyed) return void this.#socket.destroy();
    if (this.#open > 0) return;
    const { headTimeout, idleTimeout } = this.services.limits;
    const quiet = mono - this.#quietSince;
    if (!this.#begun && quiet >= headTimeout) this.tunnel.cutHttp('bad_request');
    else if (quiet >= idleTimeout) this.tunnel.cutHttp('idle_timeout');
  }

  /** Requests are judged each for itself. */
  rejudge(): void {}

  /** No new requests; those that are open are ended each for itself. */
  cut(reason: CutReason): void {
    if (this.#connection.closed) return;
    if (this.#open === 0) this.tunnel.endAfterRefusal(reason);
    this.#connection.close();
  }

  describe(): null {
    return null;
  }

  /** The client did not keep to the protocol, or is gone. */
  #broken({ code }: NodeJS.ErrnoException): void {
    if (code === 'ECONNRESET' || code === 'EPIPE') this.#socket.destroy();
    else this.tunnel.cutHttp('bad_request');
  }

  #gone(): void {
    this.services.live.delete(this);
    this.origins.destroy();
  }
}

function ignore(): void {}
