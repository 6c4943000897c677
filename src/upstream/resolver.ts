import type { Ip } from '../core/ip.ts';

/**
 * Name → addresses. Fails with `ResolveError` only; never falls back to another way of resolving,
 * never consults a search list, never returns an empty answer.
 */
export interface Resolver {
  resolve(name: string): Promise<Answer>;
}

export interface Answer {
  /** A before AAAA, in the order received, at least one: all of them, because all are vetted. */
  readonly addresses: readonly Ip[];
  /** Seconds for which the answer may be reused; 0 = this once. */
  readonly ttl: number;
}

export class ResolveError extends Error {
  override readonly name = 'ResolveError';
  /** DNS response code or its like: NXDOMAIN, SERVFAIL, REFUSED, NODATA, TIMEOUT, FORMERR, FAILED. */
  readonly rcode: string;
  constructor(rcode: string, host: string) {
    super(`${host}: ${rcode}`);
    this.rcode = rcode;
  }
}
