import type { Dispatcher } from 'undici';
import type { OriginClient } from '../upstream/pool.ts';
import type { Exchange } from './exchange.ts';
import { responseHeaders, trailerPairs } from './headers.ts';
import type { Inbound } from './inbound.ts';
import { type ToolFilter, toolFilter } from './tool-filter.ts';

const nothing = Buffer.alloc(0);

/** 1xx answers passed on before the final one; an origin that sends more is broken. */
const maxInformational = 16;

/** A request that waits for its response, and what it is told of it. */
export interface ResponseWaiter {
  readonly exchange: Exchange;
  readonly inbound: Inbound;
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
  /** Takes tools out that may not be called. */
  #filter: ToolFilter | null = null;
  /** Sends the head, once the length of a body that is read whole is known. */
  #answer: ((length: number) => void) | null = null;

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
    const { exchange, inbound } = this.#waiter;
    if (this.#waiter.isOver()) return;
    this.#waiter.moved();
    const raw = rawList(controller.rawHeaders);
    if (status < 200) return this.#passInformational(status, message ?? '', raw);
    const hasBody = inbound.method !== 'HEAD' && status !== 204 && status !== 304;
    const headers = responseHeaders(raw, status, inbound.version !== '1.0' && hasBody);
    if (headers === null || status > 599 || status === 407) {
      return this.#cut(controller, 'unusable response');
    }
    const filter = hasBody ? toolFilter(exchange.decision, headers) : null;
    if (typeof filter === 'string') return this.#cut(controller, filter);
    this.#filter = filter;
    exchange.status = status;
    inbound.onDrain(() => controller.resume());
    const answer = (length: number | null): void => {
      const list = filter === null ? headers : withLength(headers, length);
      inbound.answer(status, phrase(message ?? ''), list, hasBody);
    };
    if (filter?.whole === true) this.#answer = answer;
    else answer(null);
  }

  /** What the origin sends cannot be passed on. */
  #cut(controller: Dispatcher.DispatchController, why: string): void {
    const error = new Error(why);
    this.#waiter.failed(error);
    controller.abort(error);
  }

  #passInformational(status: number, message: string, raw: readonly string[]): void {
    this.#informational++;
    if (this.#informational > maxInformational || status <= 101) return;
    const headers = responseHeaders(raw, status, false) ?? [];
    this.#waiter.inbound.inform(status, phrase(message), headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { exchange, inbound } = this.#waiter;
    if (this.#waiter.isOver()) return;
    this.#waiter.moved();
    exchange.bytesDown += chunk.length;
    const passed = this.#filter === null ? chunk : this.#filter.push(chunk);
    if (typeof passed === 'string') return this.#cut(controller, passed);
    if (passed.length > 0 && !inbound.write(passed)) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    const { inbound, origin } = this.#waiter;
    if (this.#waiter.isOver()) return;
    if (origin.broken) return this.#waiter.failed(new Error('reset by the origin'));
    const last = this.#filter?.end() ?? nothing;
    if (typeof last === 'string') return this.#waiter.failed(new Error(last));
    this.#answer?.(last.length);
    if (last.length > 0) inbound.write(last);
    inbound.end(trailerPairs(rawList(controller.rawTrailers)));
    this.#waiter.ended();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (!this.#waiter.isOver()) this.#waiter.failed(error);
  }
}

/** The header list with this length, or none. */
function withLength(headers: readonly string[], length: number | null): readonly string[] {
  const list: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] as string;
    if (name.toLowerCase() !== 'content-length') list.push(name, headers[at + 1] as string);
  }
  if (length !== null) list.push('Content-Length', String(length));
  return list;
}

/** RFC 9112 §4: what a reason phrase may hold. */
function phrase(message: string): string {
  return message.replace(/[^\t\x20-\x7e\x80-\xff]/g, '');
}

/** undici's raw list (HTTP/1.1) or map (HTTP/2), as Latin-1 strings: name, value, name, value … */
function rawList(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (raw == null) return [];
  if (Array.isArray(raw)) return raw.map(latin1);
  return Object.entries(raw).flatMap(([name, value]) =>
    [value ?? []].flat().flatMap((one) => [name, String(one)]),
  );
}

function latin1(part: Buffer | string): string {
  return typeof part === 'string' ? part : part.toString('latin1');
}
