import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Reason } from '../core/reasons.ts';
import type { Policy } from '../policy/policy.ts';
import { type Client, endGracefully } from './client-connection.ts';
import { Exchange } from './exchange.ts';
import { atOnce } from './failure-limiter.ts';
import { Forward } from './forward.ts';
import { HeadWatch } from './head-watch.ts';
import { Http1Inbound } from './http1-inbound.ts';
import type { Session } from './inbound.ts';
import { Origins } from './origins.ts';
import type { RefusalDetail } from './refuse.ts';
import { refusalBytes, refuseExchange } from './refuse.ts';
import type { CutReason, Live, LiveDescription, Services } from './services.ts';
import type { Tunnel } from './tunnel.ts';

interface Queued {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** Requests that one client may send ahead of their answers before we stop reading. */
const maxQueued = 2;

/** How long a client that has sent its FIN is waited for until its answer begins, or goes on, milliseconds. */
const halfClosedFor = 1_000;

type HttpError = NodeJS.ErrnoException & { rawPacket?: Buffer };

/**
 * One client connection that speaks HTTP/1: at the listener (absolute-form), or inside a tunnel to
 * an `http` entry. Requests are served strictly one after the other, each identified and decided
 * alone; upstream connections belong to this client connection and are shared with nobody.
 */
export class HttpSession implements Live, Session {
  readonly services: Services;
  readonly socket: Socket;
  readonly tunnel: Tunnel | null;
  readonly from: Client;
  readonly origins: Origins;
  readonly #queue: Queued[] = [];
  readonly #watch: HeadWatch;
  #current: Forward | null = null;
  /** The last request that was begun, which `#current` is about while there is one. */
  #inbound: Http1Inbound | null = null;
  /** What comes behind the queue and is no plain request. */
  #after: (() => void) | null = null;
  /** A whole request head has come. */
  #begun = false;
  /** When the client sent its FIN, or was last found to read on, monotonic milliseconds. */
  #endedAt = Infinity;
  /** Bytes that the client had been sent by then. */
  #written = 0;
  /** A refusal was sent, or the connection was handed on: nothing more is read from it. */
  #closing = false;

  /** @param early bytes of the first request that were read before. */
  constructor(
    services: Services,
    socket: Socket,
    from: Client,
    tunnel: Tunnel | null,
    early: number,
  ) {
    this.services = services;
    this.socket = socket;
    this.tunnel = tunnel;
    this.from = from;
    this.origins = new Origins(tunnel, false);
    this.#watch = new HeadWatch(socket, early, services.clock.monotonic());
    services.live.add(this);
    socket.once('close', () => this.#gone());
    socket.once('end', () => {
      this.#endedAt = services.clock.monotonic();
      this.#written = socket.bytesWritten;
    });
  }

  onRequest(request: IncomingMessage, response: ServerResponse): void {
    if (this.#closing) return;
    this.#begun = true;
    if (this.#current !== null) {
      this.#queue.push({ request, response });
      if (this.#queue.length >= maxQueued) this.socket.pause();
      return;
    }
    this.#serve(request, response);
  }

  onUpgrade(request: IncomingMessage, head: Buffer): void {
    this.#begun = true;
    this.whenAnswered(() => {
      this.#begin(new Http1Inbound(this, request, null, head));
    });
  }

  /**
   * Runs `next` once all requests before it are answered; never if the connection ends with one of
   * them. What came early must not be answered first, or mix with an open answer (attack family E).
   */
  whenAnswered(next: () => void): void {
    if (this.#closing) return;
    if (this.#current === null) return next();
    this.#after = next;
    // node:http lets go of a socket at CONNECT and Upgrade, but the open answer still needs it.
    this.socket.on('drain', () => this.#inbound?.drained());
  }

  /** Lets go of the socket for a CONNECT. */
  handOver(): void {
    this.#closing = true;
    this.services.live.delete(this);
    this.socket.setTimeout(0);
  }

  /** node:http could not read what the client sent: the body of a request, or the next head. */
  onBroken(error: HttpError): void {
    if (this.#closing || this.socket.destroyed) return;
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') {
      this.socket.destroy();
      return;
    }
    discard(this.socket);
    if (this.#queue.at(-1)?.request.complete === false) this.#queue.pop();
    else if (this.#current !== null && this.#inbound?.received === false) {
      if (isHalf(error)) this.socket.destroy();
      else this.#current.broken();
      return;
    }
    this.whenAnswered(() => this.#endBroken(error));
  }

  #endBroken(error: HttpError): void {
    if (this.tunnel !== null || isHalf(error)) return this.#endHalf();
    const exchange = new Exchange(this.services, this.from);
    const reason = error.code === 'HPE_INVALID_URL' ? 'bad_target' : 'bad_request';
    this.refuse(exchange, reason, { message: brokenMessage(error.code) });
  }

  /** A head that never came whole gets no answer, and nor does what is no HTTP in a tunnel. */
  #endHalf(): void {
    this.#closing = true;
    if (this.tunnel !== null) return this.tunnel.cutHttp('bad_request');
    const exchange = new Exchange(this.services, this.from);
    exchange.recordBlock('bad_request', undefined);
    this.socket.destroy();
  }

  /** Answers with a refusal and ends the connection: what follows on it is never parsed. */
  refuse(exchange: Exchange, reason: Reason, detail: RefusalDetail = {}, farewell = atOnce): void {
    const answer = refuseExchange(exchange, reason, detail, farewell.answered);
    this.endWith(refusalBytes(answer), reason, farewell);
  }

  /** Ends the connection with these last bytes. */
  endWith(bytes: string, reason: Reason, farewell = atOnce): void {
    this.#closing = true;
    this.#queue.length = 0;
    this.#current = null;
    this.#after = null;
    this.tunnel?.endAfterRefusal(reason);
    discard(this.socket);
    farewell.end(this.socket, bytes);
  }

  /** The answer is out, but the client is still sending: let it finish reading, then close. */
  linger(): void {
    this.#closing = true;
    this.#current = null;
    discard(this.socket);
    endGracefully(this.socket, '');
  }

  /** The current request is answered; `keep` if the connection may carry another one. */
  done(keep: boolean): void {
    this.#current = null;
    if (!keep) this.#closing = true;
    if (this.#closing) return;
    this.#watch.restart(this.services.clock.monotonic());
    const next = this.#queue.shift();
    if (this.socket.isPaused() && this.#queue.length < maxQueued) this.socket.resume();
    if (next !== undefined) return this.#serve(next.request, next.response);
    const after = this.#after;
    this.#after = null;
    after?.();
  }

  tick(mono: number, now: number): void {
    const current = this.#current;
    if (current === null) return this.#awaitHead(mono);
    if (this.#isLeft(mono)) this.socket.destroy();
    else current.tick(mono, now);
  }

  /**
   * Has the client sent its FIN and gone? A FIN says either "I have said all" or "I am gone", and nothing
   * but an answer tells which. Who ends TLS reads on for as long as it has something to read, if at all:
   * there an answer that stands still, an event stream above all, has lost its reader.
   */
  #isLeft(mono: number): boolean {
    if (mono - this.#endedAt < halfClosedFor) return false;
    if (this.#inbound?.answered !== true) return true;
    const { bytesWritten } = this.socket;
    if (this.tunnel?.inspected !== true || bytesWritten !== this.#written) {
      this.#endedAt = mono;
      this.#written = bytesWritten;
      return false;
    }
    return true;
  }

  /** Between two requests; a kept-alive client that is silent at the listener is node:http's to end. */
  #awaitHead(mono: number): void {
    if (this.#closing) return;
    const { headTimeout, idleTimeout } = this.services.limits;
    if (this.#watch.headAge(mono) >= headTimeout) this.#endHalf();
    else if (this.#watch.quiet(mono) >= idleTimeout) this.tunnel?.cutHttp('idle_timeout');
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
    this.#begin(new Http1Inbound(this, request, response));
  }

  #begin(inbound: Http1Inbound): void {
    this.#inbound = inbound;
    const forward = new Forward(this, inbound);
    this.#current = forward;
    forward.start();
  }

  #gone(): void {
    if (!this.#begun && !this.#closing && this.tunnel === null && this.socket.bytesRead > 0) {
      const exchange = new Exchange(this.services, this.from);
      exchange.recordBlock('bad_request', undefined);
    }
    this.#closing = true;
    this.services.live.delete(this);
    this.#current?.clientGone();
    this.#current = null;
    this.#queue.length = 0;
    this.#after = null;
    this.origins.destroy();
  }
}

/** The client stopped, for good or for too long, before a message was whole. */
function isHalf(error: HttpError): boolean {
  return error.code === 'HPE_INVALID_EOF_STATE';
}

/** Takes the socket from the parser: what still arrives is thrown away unread. */
function discard(socket: Socket): void {
  socket.removeAllListeners('data');
  socket.on('data', () => {});
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
