import {
  type CompiledConditions,
  type Condition,
  failedCondition,
  hasPort,
  needsInspection,
} from './conditions.ts';
import { type NeededGroups, withinGroups } from './credential-scope.ts';
import type { DecisionRequest } from './decide.ts';
import type { Near } from './nearest.ts';
import type { Entry } from './policy.ts';
import { queryMiss } from './query.ts';
import { allowBits, bitOf } from './scheme-bits.ts';
import type { RuleVisitor } from './scopes.ts';
import { admitsTool, toolList } from './tools.ts';

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
  readonly #conditionsOf: (entry: Entry) => CompiledConditions | undefined;

  constructor(
    request: DecisionRequest,
    needed: NeededGroups,
    now: number,
    conditionsOf: (entry: Entry) => CompiledConditions | undefined,
  ) {
    this.#request = request;
    this.#needed = needed;
    this.#now = now;
    this.#conditionsOf = conditionsOf;
  }

  nextTier(): void {}

  visit(entry: Entry, _rank: number, _order: number, until: number): void {
    if (entry.action === 'deny' || !withinGroups(this.#needed, entry)) return;
    this.found.push({ entry, why: this.#why(entry, Math.min(until, entry.until)) });
  }

  #why(entry: Entry, until: number): string {
    const { port, scheme, inspects } = this.#request;
    const ports = entry.ports ?? [];
    if (!hasPort(ports, port)) return `port ${port} is not in ${list(ports)}`;
    if (entry.scheme !== undefined && (bitOf(entry.scheme) & allowBits(scheme)) === 0) {
      return `it allows ${entry.scheme}, not ${scheme}`;
    }
    if (!(this.#now < until)) return `expired ${time(until)}`;
    if (needsInspection(entry) && inspects !== true) {
      return 'its conditions can only be checked by TLS inspection';
    }
    const compiled = this.#conditionsOf(entry);
    const isRequest = scheme === 'http' || scheme === 'https';
    const failed = isRequest ? failedCondition(entry, compiled, this.#request) : null;
    if (failed !== null) return failure(failed, entry, compiled, this.#request);
    return 'it covers the target, but a deny entry or a more specific entry decides';
  }
}

function failure(
  failed: Condition,
  entry: Entry,
  compiled: CompiledConditions | undefined,
  { method, path = '', tools = [] }: DecisionRequest,
): string {
  switch (failed) {
    case 'method':
      return `method ${method} is not in ${(entry.methods ?? []).join(', ')}`;
    case 'path':
      return `it covers only the paths ${(entry.paths ?? []).join(', ')}`;
    case 'query':
      return queryMiss(compiled?.query ?? new Map(), path) ?? 'it does not allow this query';
    case 'header':
      return `it requires the headers ${(entry.headers?.require ?? []).map(({ name }) => name).join(', ')}`;
    case 'content-type':
      return `it takes only bodies of ${(entry.contentTypes ?? []).join(', ')}`;
    case 'tool': {
      const { tools: rules } = entry;
      const refused = tools.filter((name) => rules !== undefined && !admitsTool(rules, name));
      return `tool ${refused.join(', ')} is not among those that it allows (${rules === undefined ? 'none' : toolList(rules)})`;
    }
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
