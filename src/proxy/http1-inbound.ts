import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { breakOff } from './client-connection.ts';
import type { Exchange } from './exchange.ts';
import type { Farewell } from './failure-limiter.ts';
import type { RawHeaders } from './headers.ts';
import type { HttpSession } from './http-session.ts';
import type { HttpVersion, Inbound } from './inbound.ts';
import { type Refusal, refusalBytes } from './refuse.ts';
import { Upgraded } from './upgraded.ts';

const nothing = Buffer.alloc(0);

/** Bytes of an answer's body that are copied to go out with its head. */
const longestHeld = 4_096;

/** A request that node:http has read, on a connection that carries no other at this time. */
export class Http1Inbound implements Inbound {
  readonly hasBody = undefined;
  readonly #session: HttpSession;
  readonly #request: IncomingMessage;
  /** Null for an upgrade, whose socket node:http has let go of. */
  readonly #response: ServerResponse | null;
  /** What the client sent behind the head of an upgrade. */
  readonly #early: Buffer;
  /** The head of the answer waits for its first bytes, to go out with them. */
  #headWaits = false;
  /** Those first bytes, which wait for the end of the answer in the same turn. */
  #held: Buffer | null = null;

  constructor(
    session: HttpSession,
    request: IncomingMessage,
    response: ServerResponse | null,
    early: Buffer = nothing,
  ) {
    this.#session = session;
    this.#request = request;
    this.#response = response;
    this.#early = early;
  }

  get method(): string {
    return this.#request.method ?? '';
  }

  get target(): string {
    return this.#request.url ?? '';
  }

  /** What else there is, `readRequest` refuses. */
  get version(): HttpVersion {
    return this.#request.httpVersion as HttpVersion;
  }

  get headers(): RawHeaders {
    return this.#request.rawHeaders;
  }

  get isUpgrade(): boolean {
    return this.#response === null;
  }

  get body(): IncomingMessage {
    return this.#request;
  }

  get received(): boolean {
    return this.#request.complete;
  }

  get answered(): boolean {
    return this.#response?.headersSent === true;
  }

  goAhead(): void {
    this.#response?.writeContinue();
  }

  inform(status: number, phrase: string, headers: RawHeaders): void {
    if (this.version !== '1.1') return;
    let text = `HTTP/1.1 ${status} ${phrase}\r\n`;
    for (let at = 0; at + 1 < headers.length; at += 2) {
      text += `${headers[at]}: ${headers[at + 1]}\r\n`;
    }
    // Requests are served one at a time, so nothing of another response can stand in between.
    this.#session.socket.write(`${text}\r\n`, 'latin1');
  }

  answer(status: number, phrase: string, headers: RawHeaders, hasBody: boolean): void {
    const response = this.#expected();
    // RFC 9112 §9.3: no persistent connection with an HTTP/1.0 client.
    if (this.version === '1.0') response.shouldKeepAlive = false;
    response.writeHead(status, phrase, headers as string[]);
    if (!hasBody) return;
    // What the origin sent with its head comes in this turn: one write, one TLS record for all.
    this.#headWaits = true;
    process.nextTick(() => this.#flush());
  }

  /** Not flushHeaders(), which would write the head as UTF-8 and change obs-text. */
  #flush(): boolean {
    if (!this.#headWaits) return true;
    this.#headWaits = false;
    const first = this.#held ?? nothing;
    this.#held = null;
    return this.#response?.write(first) ?? true;
  }

  write(chunk: Buffer | string): boolean {
    if (this.#headWaits && this.#held === null && chunk.length <= longestHeld) {
      this.#held = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      return true;
    }
    this.#flush();
    return this.#expected().write(chunk);
  }

  onDrain(drained: () => void): void {
    this.#expected().on('drain', drained);
  }

  /** The connection can take more, and node:http does not hear of it: it has let go of the socket. */
  drained(): void {
    this.#response?.emit('drain');
  }

  end(trailers: readonly [string, string][]): void {
    const response = this.#expected();
    const ended = (): void => {
      // A body that the origin did not wait for must not be read as the next request.
      if (this.received) this.#session.done(response.shouldKeepAlive);
      else this.#session.linger();
    };
    const held = this.#held;
    if (held === null || trailers.length > 0) {
      if (held !== null) this.#flush();
      if (trailers.length > 0) response.addTrailers(trailers as [string, string][]);
      this.#headWaits = false;
      response.end(ended);
    } else {
      this.#headWaits = false;
      this.#held = null;
      // As a string, which node:http joins with the head; a Buffer would be a second piece.
      response.end(held.toString('latin1'), 'latin1', ended);
    }
  }

  refuse(refusal: Refusal, farewell: Farewell): void {
    this.#session.endWith(refusalBytes(refusal), refusal.reason, farewell);
  }

  breakOff(): void {
    this.#flush();
    this.#session.done(false);
    breakOff(this.#session.socket);
  }

  drop(): void {
    this.#flush();
    this.#session.done(false);
    this.#session.socket.destroy();
  }

  join(
    exchange: Exchange,
    upstream: Duplex,
    headers: readonly string[],
    ended: () => void,
  ): Upgraded {
    const upgraded = new Upgraded(exchange, this.#session.socket, upstream);
    upgraded.begin(this.#request, this.#early, headers, ended);
    return upgraded;
  }

  part(): void {
    this.#session.done(false);
    this.#session.socket.destroySoon();
  }

  #expected(): ServerResponse {
    if (this.#response === null) throw new TypeError('an upgrade is answered by joining');
    return this.#response;
  }
}
