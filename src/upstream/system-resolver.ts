import type { ResolverOptions } from 'node:dns';
import { Resolver as Channel } from 'node:dns';
import type { Clock } from '../core/clock.ts';
import { systemClock } from '../core/clock.ts';
import { FileStamp } from '../core/file-stamp.ts';
import type { FamilyResult } from './family-results.ts';
import { fromError, fromRecords, isAnswered, mergeFamilies, unanswered } from './family-results.ts';
import { HostsFile } from './hosts-file.ts';
import type { Answer, Resolver } from './resolver.ts';
import { ResolveError } from './resolver.ts';
import { parseServer } from './server-address.ts';

/** Seconds. The file itself is looked at once a second, so this only spares repeated look-ups. */
const HOSTS_TTL = 5;
/** c-ares waits no shorter than this for one try, and comes down to it on a channel that has seen fast answers. */
const SHORTEST_TRY_MS = 250;
const LONGEST_FIRST_TRY_MS = 1000;
const HYPHEN = 0x2d;
const DOT = 0x2e;
const UNDERSCORE = 0x5f;

export interface SystemResolverOptions {
  /** `address`, `address:port` or `[address]:port`, asked in this order. Empty = those of resolv.conf. */
  readonly servers?: readonly string[];
  /** Deadline of one name over all servers and both families, milliseconds. Default 5000. */
  readonly timeoutMs?: number;
  /** How long the other family is waited for once one has addresses, milliseconds. Default 1000. */
  readonly graceMs?: number;
  readonly hostsFile?: string;
  readonly clock?: Clock;
}

/**
 * Resolver over c-ares: /etc/hosts first, then A and AAAA of the absolute name at the same time.
 * It never calls getaddrinfo, whose four threads one silent server would occupy for everybody, and
 * asks no server but those configured (or those in resolv.conf, read again when it changes).
 */
export class SystemResolver implements Resolver {
  readonly #servers: readonly string[];
  readonly #timeoutMs: number;
  readonly #graceMs: number;
  readonly #hosts: HostsFile;
  readonly #resolvConf: FileStamp | null;
  #channel: Channel | null = null;

  /** Throws `TypeError` if a server is not an IP address with an optional port. */
  constructor(options: SystemResolverOptions = {}) {
    const clock = options.clock ?? systemClock;
    this.#servers = (options.servers ?? []).map(checkServer);
    this.#timeoutMs = options.timeoutMs ?? 5000;
    this.#graceMs = options.graceMs ?? 1000;
    this.#hosts = new HostsFile(options.hostsFile, clock);
    // Configured servers stand whatever resolv.conf says.
    this.#resolvConf = this.#servers.length > 0 ? null : new FileStamp('/etc/resolv.conf', clock);
  }

  /** `name` is canonical: lower case, A-labels, no trailing dot. Rejects with `ResolveError` only. */
  resolve(name: string): Promise<Answer> {
    // Node cuts a name at NUL and c-ares reads backslash escapes: both would ask for another name.
    if (!isPlainName(name)) return Promise.reject(new ResolveError('FORMERR', name));
    const local = this.#hosts.lookup(name);
    if (local !== null) {
      return Promise.resolve({ addresses: local, ttl: HOSTS_TTL });
    }
    if (isLocalhost(name)) return Promise.reject(new ResolveError('NXDOMAIN', name));
    return this.#ask(name);
  }

  /** Gives up on everything outstanding; those promises reject with `FAILED`. */
  close(): void {
    this.#channel?.cancel();
  }

  #ask(name: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const settle = (a: FamilyResult, aaaa: FamilyResult): void => {
        const answer = mergeFamilies(a, aaaa);
        if (typeof answer === 'string') reject(new ResolveError(answer, name));
        else resolve(answer);
      };
      const lookup = new Lookup(this.#timeoutMs, this.#graceMs, settle);
      try {
        lookup.start(this.#currentChannel(), name);
      } catch (error) {
        // The dns module throws synchronously on what it takes for programming errors.
        lookup.fail(error as { code?: string });
      }
    });
  }

  /** Queries that the previous channel still has out come home to it. */
  #currentChannel(): Channel {
    const stale = this.#resolvConf?.changed() ?? false;
    if (this.#channel === null || stale) this.#channel = this.#open();
    return this.#channel;
  }

  #open(): Channel {
    const count = this.#servers.length || new Channel().getServers().length || 1;
    const channel = new Channel(retryPlan(this.#timeoutMs, count));
    if (this.#servers.length > 0) channel.setServers(this.#servers);
    return channel;
  }
}

/**
 * c-ares asks every server once a round and doubles the time of a try from round to round (less up
 * to half of it, by chance). First tries are short, so that neither a lost packet nor a silent
 * first server uses up the deadline; there are enough rounds to fill it even with the shortest.
 */
function retryPlan(timeoutMs: number, servers: number): ResolverOptions {
  const firstTry = Math.floor(timeoutMs / (12 * servers));
  const rounds = 1 + Math.ceil(Math.log2(timeoutMs / (SHORTEST_TRY_MS * servers)));
  return {
    timeout: Math.min(LONGEST_FIRST_TRY_MS, Math.max(SHORTEST_TRY_MS, firstTry)),
    tries: Math.max(2, rounds),
    maxTimeout: Math.max(SHORTEST_TRY_MS, Math.floor(timeoutMs / 2)),
  };
}

/** One name under way: two queries, a deadline over both, and the first of the ends that comes. */
class Lookup {
  readonly #graceMs: number;
  readonly #settle: (a: FamilyResult, aaaa: FamilyResult) => void;
  readonly #deadline: NodeJS.Timeout;
  #grace: NodeJS.Timeout | undefined;
  #a: FamilyResult = unanswered;
  #aaaa: FamilyResult = unanswered;
  #outstanding = 2;

  constructor(
    timeoutMs: number,
    graceMs: number,
    settle: (a: FamilyResult, aaaa: FamilyResult) => void,
  ) {
    this.#graceMs = graceMs;
    this.#settle = settle;
    this.#deadline = setTimeout(this.#end, timeoutMs);
  }

  start(channel: Channel, name: string): void {
    channel.resolve4(name, { ttl: true }, (error, records) => {
      this.#a = error === null ? fromRecords(4, records) : fromError(error);
      this.#received(this.#a);
    });
    channel.resolve6(name, { ttl: true }, (error, records) => {
      this.#aaaa = error === null ? fromRecords(6, records) : fromError(error);
      this.#received(this.#aaaa);
    });
  }

  /** The query could not be made at all. */
  fail(error: { readonly code?: string | undefined }): void {
    this.#a = fromError(error);
    this.#aaaa = this.#a;
    this.#end();
  }

  #received(result: FamilyResult): void {
    this.#outstanding--;
    if (this.#outstanding === 0) this.#end();
    // This family has addresses: the other one may not hold them up until the deadline.
    else if (isAnswered(result)) this.#grace = setTimeout(this.#end, this.#graceMs);
  }

  /** Late results still come in afterwards; the promise is settled and ignores them. */
  readonly #end = (): void => {
    clearTimeout(this.#deadline);
    clearTimeout(this.#grace);
    this.#settle(this.#a, this.#aaaa);
  };
}

/** Only `[a-z0-9._-]`, and no dot at either end. */
function isPlainName(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    const letter = c >= 0x61 && c <= 0x7a;
    const digit = c >= 0x30 && c <= 0x39;
    if (!letter && !digit && c !== DOT && c !== HYPHEN && c !== UNDERSCORE) return false;
  }
  return name !== '' && name.charCodeAt(0) !== DOT && name.charCodeAt(name.length - 1) !== DOT;
}

/** RFC 6761 §6.3: such names are never looked up in the DNS. */
function isLocalhost(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost');
}

function checkServer(text: string): string {
  const server = parseServer(text);
  if (server !== null) return server;
  throw new TypeError(
    `${JSON.stringify(text)} is not a DNS server: write an IP address, or 192.0.2.1:5353 or [2001:db8::1]:5353`,
  );
}
