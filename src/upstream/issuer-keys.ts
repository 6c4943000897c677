import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { FileStamp } from '../core/file-stamp.ts';
import {
  type KeySet,
  MAX_KEY_SET_BYTES,
  readKeySet,
  type WorkloadKey,
} from '../identity/key-set.ts';
import type { WorkloadKeys } from '../identity/workload-keys.ts';
import type { Issuer, WorkloadAlgorithm } from '../policy/issuer.ts';
import { KeyFetchError, type KeyFetcher } from './key-fetcher.ts';

export interface IssuerKeyStoreOptions {
  readonly fetcher: KeyFetcher;
  /** Against which the paths of key files count: the allowlists directory. */
  readonly directory: string;
  readonly clock: Clock;
  readonly observer: IssuerKeyObserver;
  /** From 0 up to 1; default `Math.random`. */
  readonly random?: () => number;
}

/** Hears what an operator wants to know; each of them once for each change. */
export interface IssuerKeyObserver {
  loaded(issuer: string, keys: number): void;
  /** @param why the end of a sentence. @param kept keys of before that go on counting. */
  failed(issuer: string, why: string, kept: number): void;
  /** An issuer has lost keys: what they have signed no longer stands. */
  removed(): void;
}

/** Milliseconds, all of them. */
const second = 1000;
const refreshEvery = 600 * second;
const shortestRefresh = 60 * second;
const longestRefresh = 3600 * second;
const longestBackoff = 600 * second;
/** An unknown `kid` asks for newer keys no more often than this, whoever sends it. */
const missEvery = 60 * second;
/** For which old keys go on counting while no new ones can be had. */
const longestStale = 24 * 3600 * second;
const lookEvery = second;

/** What is known of one issuer's keys. */
interface Held {
  readonly issuer: Issuer;
  readonly stamp: FileStamp | null;
  set: KeySet | null;
  /** What `set` was read from: for the same issuer under another definition. */
  bytes: Uint8Array | null;
  /** When `set` was last seen to be right; monotonic, like all that follow. */
  confirmedAt: number;
  dueAt: number;
  missedAt: number;
  failures: number;
  loading: boolean;
  refreshed: number;
  failed: number;
}

/**
 * The keys of other issuers, kept fresh: fetched when an issuer first appears, then every ten minutes
 * or as their server asks for (one minute to one hour), and once more, at most once a minute, when a
 * token names a key that is not there. Files are read when they change. While a set cannot be had,
 * or is wrong, the one before it counts on, for a day at most.
 */
export class IssuerKeyStore implements WorkloadKeys {
  readonly #options: IssuerKeyStoreOptions;
  readonly #random: () => number;
  readonly #timer: NodeJS.Timeout;
  readonly #over = new AbortController();
  #held: ReadonlyMap<string, Held> = new Map();

  constructor(options: IssuerKeyStoreOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#timer = setInterval(() => this.#look(), lookEvery).unref();
  }

  /** Takes over the issuers of a policy. What is known of those that stay the same stays. */
  apply(issuers: ReadonlyMap<string, Issuer>): void {
    const before = this.#held;
    const held = new Map<string, Held>();
    for (const issuer of issuers.values()) {
      const known = before.get(issuer.name);
      const stays = known !== undefined && readsSame(known.issuer, issuer);
      held.set(issuer.name, stays ? known : this.#begin(issuer, known));
    }
    this.#held = held;
    this.#look();
  }

  find(issuer: string, kid: string | undefined, algorithm: WorkloadAlgorithm): WorkloadKey | null {
    const held = this.#held.get(issuer);
    if (held === undefined) return null;
    const key = held.set?.find(kid, algorithm) ?? null;
    if (key === null) this.#missed(held);
    return key;
  }

  has(issuer: string, id: string): boolean {
    return this.#held.get(issuer)?.set?.has(id) ?? false;
  }

  /** Of each issuer, for metrics. */
  counts(): { issuer: string; keys: number; refreshed: number; failed: number }[] {
    return [...this.#held.values()].map(({ issuer, set, refreshed, failed }) => ({
      issuer: issuer.name,
      keys: set?.keys.length ?? 0,
      refreshed,
      failed,
    }));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#held = new Map();
    this.#over.abort();
  }

  /** Keys from the same place count on, as far as the new definition takes them. */
  #begin(issuer: Issuer, before: Held | undefined): Held {
    const { clock, directory } = this.#options;
    const { kind, text } = issuer.keys;
    const known = before?.issuer.keys;
    const bytes = known?.kind === kind && known.text === text ? (before?.bytes ?? null) : null;
    const set = bytes && readKeySet(bytes, issuer);
    return {
      issuer,
      stamp: kind === 'file' ? new FileStamp(pathOf(issuer, directory), clock) : null,
      set: typeof set === 'string' ? null : set,
      bytes,
      confirmedAt: before?.confirmedAt ?? 0,
      dueAt: Number.NEGATIVE_INFINITY,
      missedAt: Number.NEGATIVE_INFINITY,
      failures: 0,
      loading: false,
      refreshed: 0,
      failed: 0,
    };
  }

  #look(): void {
    const now = this.#options.clock.monotonic();
    for (const held of this.#held.values()) {
      if (held.stamp === null) {
        if (now >= held.dueAt && !held.loading) void this.#load(held);
      } else if (held.stamp.changed() || (held.failures > 0 && now >= held.dueAt)) {
        this.#readFile(held);
      } else if (held.failures === 0) held.confirmedAt = now;
      if (held.set !== null && now - held.confirmedAt > longestStale) this.#drop(held);
    }
  }

  /** Somebody shows a token by a key that is not there: perhaps it is new. */
  #missed(held: Held): void {
    const now = this.#options.clock.monotonic();
    if (held.stamp !== null || held.loading || now - held.missedAt < missEvery) return;
    held.missedAt = now;
    void this.#load(held);
  }

  async #load(held: Held): Promise<void> {
    const { keys, addresses } = held.issuer;
    if (keys.kind !== 'url') return;
    held.loading = true;
    try {
      const { bytes, maxAge } = await this.#options.fetcher.load(
        keys,
        addresses,
        this.#over.signal,
      );
      this.#take(held, bytes, maxAge);
    } catch (error) {
      this.#fail(held, (error as Error).message);
    } finally {
      held.loading = false;
    }
  }

  #readFile(held: Held): void {
    try {
      this.#take(held, readPlainFile(pathOf(held.issuer, this.#options.directory)), undefined);
    } catch (error) {
      this.#fail(held, (error as Error).message);
    }
  }

  #take(held: Held, bytes: Uint8Array, maxAge: number | undefined): void {
    // While it was on its way another policy may have come.
    if (this.#held.get(held.issuer.name) !== held) return;
    const set = readKeySet(bytes, held.issuer);
    if (typeof set === 'string') {
      this.#fail(held, `the key set is not usable: ${set}`);
      return;
    }
    const now = this.#options.clock.monotonic();
    const before = held.set;
    const recovered = held.failures > 0 || before === null;
    held.set = set;
    held.bytes = bytes;
    held.confirmedAt = now;
    held.failures = 0;
    held.refreshed++;
    held.dueAt = now + this.#jittered(refreshAfter(maxAge));
    if (recovered) this.#options.observer.loaded(held.issuer.name, set.keys.length);
    if (before?.keys.some(({ id }) => !set.has(id))) this.#options.observer.removed();
  }

  #fail(held: Held, why: string): void {
    if (this.#held.get(held.issuer.name) !== held) return;
    held.failures++;
    held.failed++;
    const backoff = Math.min(longestBackoff, second * 2 ** Math.min(held.failures, 20));
    held.dueAt = this.#options.clock.monotonic() + this.#jittered(backoff);
    if (held.failures > 1) return;
    this.#options.observer.failed(held.issuer.name, why, held.set?.keys.length ?? 0);
  }

  #drop(held: Held): void {
    held.set = null;
    held.bytes = null;
    this.#options.observer.failed(held.issuer.name, 'its keys are a day old', 0);
    this.#options.observer.removed();
  }

  /** Between three quarters and all of it, so that many proxies do not ask in step. */
  #jittered(ms: number): number {
    return ms * (0.75 + this.#random() / 4);
  }
}

function refreshAfter(maxAge: number | undefined): number {
  if (maxAge === undefined) return refreshEvery;
  return Math.min(longestRefresh, Math.max(shortestRefresh, maxAge * second));
}

/** Do both get their keys in the same way, and the same ones out of a set? */
function readsSame(a: Issuer, b: Issuer): boolean {
  return keysFingerprint(a) === keysFingerprint(b);
}

function keysFingerprint({ issuer, trustDomain, keys, algorithms, addresses }: Issuer): string {
  const ranges = addresses.map(({ text }) => text);
  return JSON.stringify([issuer, trustDomain, keys.kind, keys.text, algorithms, ranges]);
}

function pathOf(issuer: Issuer, directory: string): string {
  const { text } = issuer.keys;
  return isAbsolute(text) ? text : join(directory, text);
}

/**
 * The bytes of a regular file that not everybody may write, links followed (a Kubernetes volume is
 * made of them). One byte more than a set may have is enough to see that it is too large.
 */
function readPlainFile(path: string): Uint8Array {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new KeyFetchError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new KeyFetchError(`${path} is not a regular file`);
    if ((stat.mode & 0o002) !== 0) {
      throw new KeyFetchError(`${path} can be written by everybody: run \`chmod o-w ${path}\``);
    }
    const bytes = Buffer.alloc(MAX_KEY_SET_BYTES + 1);
    let length = 0;
    for (;;) {
      const count = readSync(fd, bytes, length, bytes.length - length, null);
      length += count;
      if (count === 0 || length === bytes.length) return bytes.subarray(0, length);
    }
  } finally {
    closeSync(fd);
  }
}
