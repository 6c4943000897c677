import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { OriginClient } from '../upstream/pool.ts';
import type { Exchange } from './exchange.ts';
import { responseHeaders, trailerPairs } from './headers.ts';
import type { HttpSession } from './http-session.ts';

/** 1xx answers passed on before the final one; an origin that sends more is broken. */
const maxInformational = 16;

const nothing = Buffer.alloc(0);

/** A request that waits for its response, and what it is told of it. */
export interface ResponseWaiter {
  readonly session: HttpSession;
  readonly exchange: Exchange;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly origin: OriginClient;
  /** The request has ended without the response: nothing more of it is passed on. */
  isOver(): boolean;
  /** Bytes have moved. */
  moved(): void;
  /** No response came, or none that can be passed on, or not all of it. */
  failed(error: Error): void;
  /** All of the response has been given to the client's connection. */
  ended(): void;
}

/**
 * The response of an origin, passed on to the client as undici reads it: informational ones, head,
 * body with backpressure, trailers.
 */
export class OriginResponse implements Dispatcher.DispatchHandler {
  readonly #waiter: ResponseWaiter;
  #controller: Dispatcher.DispatchController | null = null;
  #informational = 0;

  constructor(waiter: ResponseWaiter) {
    this.#waiter = waiter;
  }

  /** Ends the exchange with the origin, if it has begun; undici reports it at once, as a failure. */
  abort(why: string): void {
    this.#controller?.abort(new Error(why));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#waiter.isOver()) controller.abort(new Error('the client is gone'));
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: unknown,
    message?: string,
  ): void {
    const { exchange, request, response } = this.#waiter;
    if (this.#waiter.isOver()) return;
    this.#waiter.moved();
    const raw = rawList(controller.rawHeaders);
    if (status < 200) return this.#passInformational(status, message ?? '', raw);
    const { httpVersion, method } = request;
    const headers = responseHeaders(raw, status, httpVersion === '1.1' && hasBody(method, status));
    if (headers === null || status > 599 || status === 407) {
      const error = new Error('unusable response');
      this.#waiter.failed(error);
      controller.abort(error);
      return;
    }
    exchange.status = status;
    // RFC 9112 §9.3: no persistent connection with an HTTP/1.0 client.
    if (httpVersion === '1.0') response.shouldKeepAlive = false;
    response.on('drain', () => controller.resume());
    response.writeHead(status, phrase(message ?? ''), headers);
    // Not flushHeaders(), which would write the head as UTF-8 and change obs-text.
    if (hasBody(method, status)) response.write(nothing);
  }

  #passInformational(status: number, message: string, raw: readonly string[]): void {
    const { request, session } = this.#waiter;
    this.#informational++;
    if (request.httpVersion !== '1.1' || this.#informational > maxInformational) return;
    if (status <= 101) return;
    const headers = responseHeaders(raw, status, false) ?? [];
    let text = `HTTP/1.1 ${status} ${phrase(message)}\r\n`;
    for (let at = 0; at + 1 < headers.length; at += 2) {
      text += `${headers[at]}: ${headers[at + 1]}\r\n`;
    }
    // Requests are served one at a time, so nothing of another response can stand in between.
    session.socket.write(`${text}\r\n`, 'latin1');
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { exchange, response } = this.#waiter;
    if (this.#waiter.isOver()) return;
    this.#waiter.moved();
    exchange.bytesDown += chunk.length;
    if (!response.write(chunk)) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    const { session, request, response, origin } = this.#waiter;
    if (this.#waiter.isOver()) return;
    if (origin.broken) return this.#waiter.failed(new Error('reset by the origin'));
    const trailers = trailerPairs(rawList(controller.rawTrailers));
    if (trailers.length > 0) response.addTrailers(trailers);
    const whole = request.complete;
    response.end(() => {
      // A body that the origin did not wait for must not be read as the next request.
      if (whole) session.done(response.shouldKeepAlive);
      else session.linger();
    });
    this.#waiter.ended();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (!this.#waiter.isOver()) this.#waiter.failed(error);
  }
}

/** RFC 9112 §6.3: these answers end with their head, whatever it says. */
function hasBody(method: string | undefined, status: number): boolean {
  return method !== 'HEAD' && status !== 204 && status !== 304;
}

/** RFC 9112 §4: what a reason phrase may hold. */
function phrase(message: string): string {
  return message.replace(/[^\t\x20-\x7e\x80-\xff]/g, '');
}

/** undici's raw list, as Latin-1 strings. */
function rawList(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')));
}
