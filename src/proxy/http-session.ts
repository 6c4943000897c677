import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Reason } from '../core/reasons.ts';
import type { Policy } from '../policy/policy.ts';
import { OriginClient } from '../upstream/pool.ts';
import { clientText, endGracefully, sourceOf } from './client-connection.ts';
import { Exchange } from './exchange.ts';
import { Forward } from './forward.ts';
import type { RefusalDetail } from './refuse.ts';
import { refusal, refusalBytes } from './refuse.ts';
import type { CutReason, Live, LiveDescription, Services } from './services.ts';
import type { Tunnel } from './tunnel.ts';

interface Queued {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** Requests that one client may send ahead of their answers before we stop reading. */
const maxQueued = 2;

/**
 * One client connection that speaks HTTP/1: at the listener (absolute-form), or inside a tunnel to
 * an `http` entry. Requests are served strictly one after the other, each identified and decided
 * alone; upstream connections belong to this client connection and are shared with nobody.
 */
export class HttpSession implements Live {
  readonly services: Services;
  readonly socket: Socket;
  readonly tunnel: Tunnel | null;
  readonly client: string;
  readonly source: ReturnType<typeof sourceOf>;
  readonly #origins = new Map<string, OriginClient>();
  readonly #queue: Queued[] = [];
  #current: Forward | null = null;
  /** A refusal was sent, or the connection was handed on: nothing more is read from it. */
  #closing = false;

  constructor(services: Services, socket: Socket, tunnel: Tunnel | null) {
    this.services = services;
    this.socket = socket;
    this.tunnel = tunnel;
    this.source = sourceOf(socket);
    this.client = clientText(this.source, socket);
    services.live.add(this);
    socket.once('close', () => this.#gone());
  }

  onRequest(request: IncomingMessage, response: ServerResponse): void {
    if (this.#closing) return;
    if (this.#current !== null) {
      this.#queue.push({ request, response });
      if (this.#queue.length >= maxQueued) this.socket.pause();
      return;
    }
    this.#serve(request, response);
  }

  onUpgrade(request: IncomingMessage, head: Buffer): void {
    if (this.#closing) return;
    if (this.#current !== null) {
      // What comes behind an unanswered request is not a request of its own yet (attack family E).
      this.#closing = true;
      this.socket.destroy();
      return;
    }
    const forward = new Forward(this, request, null, head);
    this.#current = forward;
    forward.start();
  }

  /** Lets go of the socket for a CONNECT; false if an answer is still owed on it. */
  handOver(): boolean {
    if (this.#closing || this.#current !== null || this.#queue.length > 0) return false;
    this.#closing = true;
    this.services.live.delete(this);
    return true;
  }

  /** node:http could not read what the client sent. */
  onBroken(error: NodeJS.ErrnoException & { rawPacket?: Buffer }): void {
    if (this.#closing || this.socket.destroyed) return;
    if (this.tunnel !== null && this.#current === null) {
      this.#closing = true;
      this.tunnel.cutHttp('bad_request');
      return;
    }
    if (this.#current !== null || error.code === 'ECONNRESET' || error.code === 'EPIPE') {
      this.socket.destroy();
      return;
    }
    const exchange = new Exchange(this.services, this.client, this.source);
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
      // A head that never came whole gets no answer; a connection that sent nothing no line either.
      if (this.socket.bytesRead > 0) exchange.recordBlock('bad_request', undefined);
      this.socket.destroy();
      return;
    }
    const reason = error.code === 'HPE_INVALID_URL' ? 'bad_target' : 'bad_request';
    this.refuse(exchange, reason, { message: brokenMessage(error.code) });
  }

  /** Answers with a refusal and ends the connection: what follows on it is never parsed. */
  refuse(exchange: Exchange, reason: Reason, detail: RefusalDetail = {}): void {
    const answer = refusal(exchange, reason, detail);
    exchange.recordBlock(reason, answer.status);
    exchange.abandon();
    this.endWith(refusalBytes(answer), reason);
  }

  /** Ends the connection with these last bytes. */
  endWith(bytes: string, reason: Reason): void {
    this.#closing = true;
    this.#queue.length = 0;
    this.#current = null;
    this.tunnel?.endAfterRefusal(reason);
    endGracefully(this.socket, bytes);
  }

  /** The client for one origin, made at its first request. */
  origin(key: string): OriginClient {
    let origin = this.#origins.get(key);
    if (origin === undefined) {
      origin = new OriginClient();
      const dialled = this.tunnel?.takeUpstream() ?? null;
      if (dialled !== null) origin.supply(dialled.socket, dialled.peer);
      this.#origins.set(key, origin);
    }
    return origin;
  }

  /** The answer is out, but the client is still sending: let it finish reading, then close. */
  linger(): void {
    this.#closing = true;
    this.#current = null;
    endGracefully(this.socket, '');
  }

  /** The current request is answered; `keep` if the connection may carry another one. */
  done(keep: boolean): void {
    this.#current = null;
    if (!keep) this.#closing = true;
    if (this.#closing) return;
    const next = this.#queue.shift();
    if (this.socket.isPaused() && this.#queue.length < maxQueued) this.socket.resume();
    if (next !== undefined) this.#serve(next.request, next.response);
  }

  tick(mono: number, now: number): void {
    this.#current?.tick(mono, now);
  }

  rejudge(policy: Policy, now: number): void {
    this.#current?.rejudge(policy, now);
  }

  cut(reason: CutReason): void {
    if (this.#current !== null) this.#current.cut(reason);
    else if (this.tunnel === null) {
      this.#closing = true;
      this.socket.destroy();
    }
  }

  describe(now: number): LiveDescription | null {
    return this.#current?.describe(now) ?? null;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const forward = new Forward(this, request, response, null);
    this.#current = forward;
    forward.start();
  }

  #gone(): void {
    this.#closing = true;
    this.services.live.delete(this);
    this.#current?.clientGone();
    this.#current = null;
    this.#queue.length = 0;
    for (const origin of this.#origins.values()) origin.destroy();
    this.#origins.clear();
  }
}

function brokenMessage(code: string | undefined): string {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return 'the request head is longer than 16 KiB or has too many lines';
    case 'HPE_INVALID_URL':
      return 'bad target: it is no URL, or has bytes that a URL cannot have; write http://host/path';
    case 'HPE_INVALID_METHOD':
    case 'HPE_PAUSED_H2_UPGRADE':
      return 'this is not an HTTP/1.1 request; an HTTP proxy is listening here';
    default:
      return 'the request is malformed HTTP/1.1';
  }
}
