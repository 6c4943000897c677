import type { CredentialScope, ScopePart } from './credential-scope.ts';
import { type HostPattern, hostPattern } from './pattern.ts';
import { meet } from './pattern-meet.ts';
import type { Agent, Entry } from './policy.ts';

/** For people: what a scope leaves. Decisions are `decide`'s. */

/** Entries of this group (undefined: of any list), for these hosts (undefined: all that they cover). */
export interface ScopeTerm {
  readonly group: string | undefined;
  readonly host: HostPattern | undefined;
}

/** An allow entry that a scope leaves, or leaves in part. */
export interface ReachableEntry {
  readonly entry: Entry;
  /** The part of the entry's hosts that is left, as a pattern. */
  readonly host: string;
  /** When the entry or the grant of its group ends, ms since the epoch; Infinity if it does not. */
  readonly until: number;
}

/** Holders can write scopes whose parts multiply; beyond this many terms nothing is worked out. */
const MOST_TERMS = 32;

const everything: readonly ScopeTerm[] = [{ group: undefined, host: undefined }];

/**
 * A scope as alternatives, of which one must hold. Where they would be more than 32, the parts from
 * there on are left aside and `exact` is false: the scope is then narrower than the terms.
 */
export function scopeTerms(scope: CredentialScope | undefined): {
  readonly terms: readonly ScopeTerm[];
  readonly exact: boolean;
} {
  let terms = everything;
  for (const part of scope ?? []) {
    const next = new Map<string, ScopeTerm>();
    for (const term of terms) {
      for (const both of narrowed(term, part)) {
        next.set(`${both.group ?? ''} ${both.host?.text ?? ''}`, both);
      }
    }
    if (next.size > MOST_TERMS) return { terms, exact: false };
    const all = [...next.values()];
    terms = all.filter((term) => !all.some((other) => other !== term && includes(other, term)));
  }
  return { terms, exact: true };
}

/** The agent's allow entries that a scope leaves and that have not ended at `now`, groups first. */
export function reachableEntries(
  agent: Agent,
  scope: CredentialScope | undefined,
  now: number,
): ReachableEntry[] {
  const { terms } = scopeTerms(scope);
  const found: ReachableEntry[] = [];
  const add = (entries: readonly Entry[], end: number): void => {
    for (const entry of entries) {
      const until = Math.min(entry.until, end);
      if (now >= until) continue;
      for (const host of hostsLeft(entry, terms)) found.push({ entry, host, until });
    }
  };
  for (const { group, until } of agent.groups) add(group.allow, until);
  add(agent.allow, Number.POSITIVE_INFINITY);
  return found;
}

/** No two terms are equal, so that of two that include each other there are none. */
function includes(wide: ScopeTerm, term: ScopeTerm): boolean {
  if (wide.group !== undefined && wide.group !== term.group) return false;
  if (wide.host === undefined) return true;
  return term.host !== undefined && meet(term.host, wide.host)?.text === term.host.text;
}

function* narrowed(term: ScopeTerm, { groups, hosts }: ScopePart): Generator<ScopeTerm> {
  for (const group of groups) {
    // An entry stands in one group.
    if (term.group === undefined || term.group === group) yield { group, host: term.host };
  }
  for (const pattern of hosts) {
    const host = term.host === undefined ? pattern : meet(term.host, pattern);
    if (host !== null) yield { group: term.group, host };
  }
}

/** Patterns, each once; the entry's own alone if all of it is left. */
function hostsLeft(entry: Entry, terms: readonly ScopeTerm[]): readonly string[] {
  const mine = terms.filter(({ group }) => group === undefined || group === entry.group);
  if (mine.some(({ host }) => host === undefined)) return [entry.pattern];
  const own = mine.length === 0 ? null : hostPattern(entry.pattern);
  if (own === null) return [];
  const left = mine.flatMap(({ host }) => (host && meet(own, host)?.text) ?? []);
  return left.includes(own.text) ? [own.text] : [...new Set(left)];
}
