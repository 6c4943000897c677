import { admitsMethod, hasPort, isBuilt, needsInspection } from './conditions.ts';
import { type NeededGroups, withinGroups } from './credential-scope.ts';
import type { DecisionRequest } from './decide.ts';
import type { Near } from './nearest.ts';
import type { Entry } from './policy.ts';
import { allowBits, bitOf } from './scheme-bits.ts';
import type { RuleVisitor } from './scopes.ts';

/** Ports shown of a longer list. */
const MOST_PORTS = 8;

/** Collects the allow entries whose host pattern covers a target, and says why they let it not pass. */
export class CoveringEntries implements RuleVisitor {
  readonly done = false;
  /** Most specific pattern first. */
  readonly found: Near[] = [];
  readonly #request: DecisionRequest;
  readonly #needed: NeededGroups;
  readonly #now: number;

  constructor(request: DecisionRequest, needed: NeededGroups, now: number) {
    this.#request = request;
    this.#needed = needed;
    this.#now = now;
  }

  nextTier(): void {}

  visit(entry: Entry, _rank: number, _order: number, until: number): void {
    if (entry.action === 'deny' || !withinGroups(this.#needed, entry)) return;
    this.found.push({ entry, why: this.#why(entry, Math.min(until, entry.until)) });
  }

  #why(entry: Entry, until: number): string {
    const { port, scheme, method, inspects } = this.#request;
    const ports = entry.ports ?? [];
    if (!hasPort(ports, port)) return `port ${port} is not in ${list(ports)}`;
    if (entry.scheme !== undefined && (bitOf(entry.scheme) & allowBits(scheme)) === 0) {
      return `it allows ${entry.scheme}, not ${scheme}`;
    }
    if (!(this.#now < until)) return `expired ${time(until)}`;
    if (needsInspection(entry) && !(inspects === true && isBuilt(entry))) {
      return 'its conditions can only be checked by TLS inspection';
    }
    const request = scheme === 'http' || scheme === 'https';
    if (request && !admitsMethod(entry, method)) {
      return `method ${method} is not in ${(entry.methods ?? []).join(', ')}`;
    }
    if (request && entry.paths !== undefined) {
      return `it covers only the paths ${entry.paths.join(', ')}`;
    }
    return 'it covers the target, but a deny entry or a more specific entry decides';
  }
}

function list(ports: readonly number[]): string {
  const shown = ports.slice(0, MOST_PORTS).join(', ');
  return ports.length > MOST_PORTS ? `${shown}, …` : shown;
}

/** RFC 3339; a time that no calendar has is shown as a number. */
function time(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `at ${ms}` : date.toISOString();
}
