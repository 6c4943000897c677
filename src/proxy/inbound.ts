import type { Duplex, Readable } from 'node:stream';
import type { Client } from './client-connection.ts';
import type { Exchange } from './exchange.ts';
import type { Farewell } from './failure-limiter.ts';
import type { RawHeaders } from './headers.ts';
import type { Origins } from './origins.ts';
import type { Refusal } from './refuse.ts';
import type { Services } from './services.ts';
import type { Tunnel } from './tunnel.ts';
import type { Upgraded } from './upgraded.ts';

/** The client connection that a request came on, as far as the request has to know it. */
export interface Session {
  readonly services: Services;
  readonly from: Client;
  /** The tunnel that the requests come through; null at the listener. */
  readonly tunnel: Tunnel | null;
  /** Upstream connections of this client connection, shared with no other. */
  readonly origins: Origins;
}

export type HttpVersion = '1.0' | '1.1' | '2.0';

/**
 * One request of a client, and the way to answer it: alone on its connection at that time (HTTP/1),
 * or one stream among others (HTTP/2). Every request ends by exactly one of `end`, `refuse`,
 * `breakOff`, `drop` and `part`, or with the client that goes away.
 */
export interface Inbound {
  readonly method: string;
  /** The request target as it came: absolute-form, origin-form or `*`. */
  readonly target: string;
  readonly version: HttpVersion;
  readonly headers: RawHeaders;
  /** The request asks to switch protocols: it is answered by `join`, or refused. */
  readonly isUpgrade: boolean;
  readonly body: Readable;
  /** HTTP/2 says whether a body follows, whatever the headers say; undefined in HTTP/1. */
  readonly hasBody: boolean | undefined;
  /** All of the request has been read, its body too. */
  readonly received: boolean;
  /** The client has something of the final answer. */
  readonly answered: boolean;
  /** 100 Continue. */
  goAhead(): void;
  /** Passes on an informational answer, neither 100 nor 101. */
  inform(status: number, phrase: string, headers: RawHeaders): void;
  /**
   * Begins the final answer.
   * @param hasBody false: it ends with its head, whatever that says (RFC 9110 §6.4.1)
   */
  answer(status: number, phrase: string, headers: RawHeaders, hasBody: boolean): void;
  /** False: no more until the listener of `onDrain` is called. */
  write(chunk: Buffer | string): boolean;
  /** Hears when there is room again; one listener a request. */
  onDrain(drained: () => void): void;
  /** The answer is whole. */
  end(trailers: readonly [string, string][]): void;
  /** Answers with a refusal; what follows on an HTTP/1 connection is never parsed. */
  refuse(refusal: Refusal, farewell: Farewell): void;
  /** Ends an answer so that it cannot be taken for a whole one. */
  breakOff(): void;
  /** Ends the request without another word. */
  drop(): void;
  /**
   * Joins the client's connection with this one of the origin, once that switches protocols.
   * @param headers name, value, name, value …, as the origin gets them
   * @param ended the origin's side is over, or never came to be; may be called again
   */
  join(
    exchange: Exchange,
    upstream: Duplex,
    headers: readonly string[],
    ended: () => void,
  ): Upgraded;
  /** What was joined is over at the origin. */
  part(): void;
}
