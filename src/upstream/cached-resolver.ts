import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.ts';
import { systemClock } from '../core/clock.ts';
import type { Answer, Resolver } from './resolver.ts';
import { ResolveError } from './resolver.ts';

/** Names without addresses: c-ares does not hand out the SOA that RFC 2308 takes the time from. */
const ABSENT_SECONDS = 10;
/** Failures of servers and of the way to them: enough to break a storm of retries. */
const FAILURE_SECONDS = 1;
const DEFAULT_NAMES = 10_000;
/** Of one name. A server may send thousands, and would fill the memory with them name by name. */
const MOST_KEPT_ADDRESSES = 64;
const DEFAULT_MAX_TTL = 3600;

export interface CachedResolverOptions {
  /** Names with addresses that are kept. Default 10,000. Failures have an eighth of that, apart. */
  readonly names?: number;
  /** Upper bound of a TTL, seconds. Default 3600. */
  readonly maxTtl?: number;
  readonly clock?: Clock;
}

interface Kept<T> {
  readonly value: T;
  /** On the monotonic clock, milliseconds. */
  readonly expiresAt: number;
}

/**
 * A Resolver over a Resolver that remembers: TTLs honoured up to a bound (0 is never kept, nor are
 * answers of more than 64 addresses), names without addresses for 10 s, failures for 1 s, and one query at a time for a name however many
 * ask. Failures live apart, so that a flood of names that do not exist evicts no working one. An
 * expired answer is never served, not even when its server is down.
 */
export class CachedResolver implements Resolver {
  readonly #inner: Resolver;
  readonly #clock: Clock;
  readonly #maxTtl: number;
  readonly #answers: LRUCache<string, Kept<Answer>>;
  readonly #failures: LRUCache<string, Kept<ResolveError>>;
  /** Replaced by `clear`, so that what was asked before it can no longer be kept or shared. */
  #flights = new Map<string, Promise<Answer>>();

  constructor(inner: Resolver, options: CachedResolverOptions = {}) {
    const names = options.names ?? DEFAULT_NAMES;
    this.#inner = inner;
    this.#clock = options.clock ?? systemClock;
    this.#maxTtl = options.maxTtl ?? DEFAULT_MAX_TTL;
    this.#answers = new LRUCache({ max: names });
    this.#failures = new LRUCache({ max: Math.ceil(names / 8) });
  }

  /** The live answer in the cache, or null: then `resolve`. Its `ttl` is as received. */
  peek(name: string): Answer | null {
    return this.#live(this.#answers, name);
  }

  resolve(name: string): Promise<Answer> {
    const answer = this.peek(name);
    if (answer !== null) return Promise.resolve(answer);
    const failure = this.#live(this.#failures, name);
    if (failure !== null) return Promise.reject(failure);
    return this.#flights.get(name) ?? this.#fly(name);
  }

  /** Forgets everything; answers to queries under way reach their callers and are not kept. */
  clear(): void {
    this.#answers.clear();
    this.#failures.clear();
    this.#flights = new Map();
  }

  async #fly(name: string): Promise<Answer> {
    const flights = this.#flights;
    const flight = this.#inner.resolve(name);
    flights.set(name, flight);
    try {
      const answer = await flight;
      if (flights === this.#flights) this.#keepAnswer(name, answer);
      return answer;
    } catch (error) {
      if (flights === this.#flights) this.#keepFailure(name, error);
      throw error;
    } finally {
      flights.delete(name);
    }
  }

  #keepAnswer(name: string, answer: Answer): void {
    if (answer.addresses.length > MOST_KEPT_ADDRESSES) return;
    const seconds = Math.min(answer.ttl, this.#maxTtl);
    if (seconds > 0) this.#answers.set(name, { value: answer, expiresAt: this.#after(seconds) });
  }

  /** Anything but a `ResolveError` is a defect, not an answer: it is passed on and not kept. */
  #keepFailure(name: string, error: unknown): void {
    if (!(error instanceof ResolveError)) return;
    const absent = error.rcode === 'NXDOMAIN' || error.rcode === 'NODATA';
    const seconds = absent ? ABSENT_SECONDS : FAILURE_SECONDS;
    this.#failures.set(name, { value: error, expiresAt: this.#after(seconds) });
  }

  #after(seconds: number): number {
    return this.#clock.monotonic() + seconds * 1000;
  }

  #live<T>(cache: LRUCache<string, Kept<T>>, name: string): T | null {
    const kept = cache.get(name);
    if (kept === undefined) return null;
    if (this.#clock.monotonic() < kept.expiresAt) return kept.value;
    cache.delete(name);
    return null;
  }
}
