import type { Cidr } from '../core/ip.ts';
import {
  type CompiledConditions,
  failedCondition,
  hasPort,
  needsInspection,
  uploadCap,
} from './conditions.ts';
import { type NeededGroups, withinGroups } from './credential-scope.ts';
import type { DecisionRequest } from './decide.ts';
import type { Entry } from './policy.ts';
import { allowBits, bitOf, denyBits, HTTPS, TCP } from './scheme-bits.ts';
import type { RuleVisitor } from './scopes.ts';
import {
  ALLOWS,
  EXPIRED,
  INSPECTS,
  NEEDS_INSPECTION,
  NO_HOST,
  NO_PORT,
  NO_SCHEME,
  stageOfCondition,
} from './stages.ts';
import type { ToolRules } from './tools.ts';

const NO_ADDRESSES: readonly Cidr[] = Object.freeze([]);

const NOTHING: DecisionRequest = Object.freeze({
  host: '',
  ip: null,
  port: 0,
  scheme: 'connect',
  method: undefined,
  path: undefined,
  scope: undefined,
});

/** An allow entry that waits for the others of its tier. */
interface Waiting {
  readonly entry: Entry;
  readonly rank: number;
  readonly order: number;
  readonly until: number;
}

/**
 * Looks at every rule that a target reaches, most specific pattern first, and keeps what a
 * decision is made of. One instance serves one policy, one request at a time.
 */
export class Survey implements RuleVisitor {
  /** The deny entry that blocks, first in the order of attribution. */
  denied: Entry | null = null;
  /** The furthest that an allow entry got. */
  stage = NO_HOST;
  /** The allow entry that got furthest, first in the order of attribution. */
  nearest: Entry | null = null;
  /** When `nearest`, or the grant of its group, ends. */
  nearestUntil = Number.POSITIVE_INFINITY;
  /** Of the entries that allow and are within the scope: the first in the order of attribution. */
  speaker: Entry | null = null;
  schemes = 0;
  until = Number.POSITIVE_INFINITY;
  addresses: readonly Cidr[] = NO_ADDRESSES;
  /** What is allowed is so only under inspection. */
  inspect = false;

  /** Smallest cap of all entries that allow, within the scope or not, bytes. */
  #leastUpload = Number.POSITIVE_INFINITY;
  #port = 0;
  /** A request, with a method and a path, and not a tunnel. */
  #request = false;
  #inspects = false;
  readonly #waiting: Waiting[] = [];
  /** An entry, within the scope or not, lets TLS pass unread. */
  #opaque = false;
  #allowBits = 0;
  #denyBits = 0;
  #needed: NeededGroups;
  #now = 0;
  /** What is asked, while it is asked. */
  #asked: DecisionRequest = NOTHING;
  #tools: ToolRules[] | null = null;
  /** An entry that allows asks for no tools. */
  #anyTool = false;
  readonly #conditions: ReadonlyMap<Entry, CompiledConditions>;

  #tier = 0;
  #deniedRank = 0;
  #deniedOrder = 0;
  #nearestTier = 0;
  #nearestRank = 0;
  #nearestOrder = 0;
  #speakerRank = 0;
  #speakerOrder = 0;

  constructor(conditions: ReadonlyMap<Entry, CompiledConditions>) {
    this.#conditions = conditions;
  }

  begin(request: DecisionRequest, needed: NeededGroups, now: number): void {
    this.#port = request.port;
    this.#request = request.scheme === 'http' || request.scheme === 'https';
    this.#inspects = request.inspects === true;
    this.#waiting.length = 0;
    this.#opaque = false;
    this.#allowBits = allowBits(request.scheme);
    this.#denyBits = denyBits(request.scheme);
    this.#asked = request;
    this.#tools = null;
    this.#anyTool = false;
    this.#needed = needed;
    this.#now = now;
    this.#tier = 0;
    this.denied = null;
    this.stage = NO_HOST;
    this.nearest = null;
    this.nearestUntil = Number.POSITIVE_INFINITY;
    this.speaker = null;
    this.schemes = 0;
    this.until = Number.POSITIVE_INFINITY;
    this.addresses = NO_ADDRESSES;
    this.inspect = false;
    this.#leastUpload = Number.POSITIVE_INFINITY;
  }

  /**
   * To be called after the last rule. An entry that speaks without conditions opens the tunnel for
   * anything of its scheme; those that would inspect TLS then add nothing to it. If only the scope
   * keeps that entry away they do, but for their addresses, which no wider scope has either.
   */
  settle(): void {
    if ((this.schemes & (HTTPS | TCP)) !== 0) return;
    for (const { entry, rank, order, until } of this.#waiting) {
      this.#admit(entry, rank, order, until, !this.#opaque);
      if (this.withinScope(entry)) this.inspect = true;
    }
  }

  /** Is this entry (null: a target that is on no list) within what the credential was narrowed to? */
  withinScope(entry: Entry | null): boolean {
    return withinGroups(this.#needed, entry);
  }

  /** The speaker's cap; under a scope the least, so that narrowing never lifts one. */
  get upload(): number {
    if (this.#needed !== undefined) return this.#leastUpload;
    return this.uploadOf(this.speaker);
  }

  /** The cap of an entry on what is asked about, bytes. */
  uploadOf(entry: Entry | null): number {
    if (entry === null) return Number.POSITIVE_INFINITY;
    return uploadCap(entry, this.#request && this.#asked.method !== undefined);
  }

  /** The tool rules of the entries that allow; null if one of them has none. */
  get tools(): readonly ToolRules[] | null {
    return this.#anyTool ? null : this.#tools;
  }

  /** A deny entry of a more specific pattern is the one to name; allow entries no longer matter. */
  get done(): boolean {
    return this.denied !== null;
  }

  nextTier(): void {
    this.#tier++;
  }

  visit(entry: Entry, rank: number, order: number, until: number): void {
    if (entry.action === 'deny') {
      if (this.#denies(entry)) this.#deny(entry, rank, order);
    } else if (this.#counts()) {
      this.#consider(entry, rank, order, Math.min(until, entry.until));
    }
  }

  /** A deny entry has no conditions and no end; a group's holds beyond the agent's grant. */
  #denies(entry: Entry): boolean {
    if (entry.ports !== undefined && !hasPort(entry.ports, this.#port)) return false;
    return entry.scheme === undefined || (bitOf(entry.scheme) & this.#denyBits) !== 0;
  }

  #deny(entry: Entry, rank: number, order: number): void {
    const first =
      this.denied === null || precedes(rank, order, this.#deniedRank, this.#deniedOrder);
    if (!first) return;
    this.denied = entry;
    this.#deniedRank = rank;
    this.#deniedOrder = order;
  }

  /** Once an entry speaks, those of less specific patterns do not. */
  #counts(): boolean {
    return this.stage <= EXPIRED || this.#nearestTier === this.#tier;
  }

  #consider(entry: Entry, rank: number, order: number, until: number): void {
    const stage = this.#stageOf(entry, until);
    if (stage === ALLOWS) {
      if (entry.scheme !== 'http') this.#opaque = true;
      this.#admit(entry, rank, order, until, true);
    } else if (stage === INSPECTS) this.#waiting.push({ entry, rank, order, until });
    const nearer =
      stage > this.stage || (stage === this.stage && this.#precedesNearest(rank, order));
    if (!nearer) return;
    this.stage = stage;
    this.nearest = entry;
    this.nearestUntil = until;
    this.#nearestTier = this.#tier;
    this.#nearestRank = rank;
    this.#nearestOrder = order;
  }

  #precedesNearest(rank: number, order: number): boolean {
    const sameTier = this.#tier === this.#nearestTier;
    return sameTier && precedes(rank, order, this.#nearestRank, this.#nearestOrder);
  }

  #stageOf(entry: Entry, until: number): number {
    if (entry.ports === undefined || !hasPort(entry.ports, this.#port)) return NO_PORT;
    if (entry.scheme === undefined || (bitOf(entry.scheme) & this.#allowBits) === 0) {
      return NO_SCHEME;
    }
    // Written so that a time that is not a number is past every end.
    if (!(this.#now < until)) return EXPIRED;
    if (!entry.conditional) return ALLOWS;
    const inspected = needsInspection(entry);
    if (inspected && !this.#inspects) return NEEDS_INSPECTION;
    // What a tunnel to an http entry carries is decided request by request.
    if (!this.#request) return inspected ? INSPECTS : ALLOWS;
    const failed = failedCondition(entry, this.#conditions.get(entry), this.#asked);
    if (failed !== null) return stageOfCondition[failed];
    return inspected ? INSPECTS : ALLOWS;
  }

  /** All that get here are of one tier. */
  #admit(entry: Entry, rank: number, order: number, until: number, grants: boolean): void {
    this.#leastUpload = Math.min(this.#leastUpload, this.uploadOf(entry));
    if (!this.withinScope(entry)) return;
    this.#add(entry, until, grants ? entry.addresses : NO_ADDRESSES);
    const first =
      this.speaker === null || precedes(rank, order, this.#speakerRank, this.#speakerOrder);
    if (!first) return;
    this.speaker = entry;
    this.#speakerRank = rank;
    this.#speakerOrder = order;
  }

  #add(entry: Entry, until: number, addresses: readonly Cidr[]): void {
    this.schemes |= entry.scheme === undefined ? 0 : bitOf(entry.scheme);
    if (entry.tools === undefined) this.#anyTool = true;
    else if (this.#tools === null) this.#tools = [entry.tools];
    else this.#tools.push(entry.tools);
    if (until < this.until) this.until = until;
    if (addresses.length === 0 || addresses === this.addresses) return;
    if (this.addresses.length === 0) this.addresses = addresses;
    else this.addresses = union(this.addresses, addresses);
  }
}

/** Lists in the order of the agent, entries in the order of their list. */
function precedes(rank: number, order: number, thanRank: number, thanOrder: number): boolean {
  return rank === thanRank ? order < thanOrder : rank < thanRank;
}

function union(a: readonly Cidr[], b: readonly Cidr[]): readonly Cidr[] {
  const more = b.filter((cidr) => !a.some((known) => known.text === cidr.text));
  return more.length === 0 ? a : [...a, ...more];
}
