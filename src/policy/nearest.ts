import { unmapped } from '../core/embedded-ipv4.ts';
import { CoveringEntries } from './covering-entries.ts';
import { type NeededGroups, neededGroups, withinGroups } from './credential-scope.ts';
import type { DecisionRequest } from './decide.ts';
import { missedAddress, missedName } from './near-miss.ts';
import type { Agent, Entry, Policy } from './policy.ts';

/** An allow entry that almost lets a blocked target through. */
export interface Near {
  readonly entry: Entry;
  /** Why it does not, as a fragment of a sentence, with the form to write where there is one. */
  readonly why: string;
}

/** A reason, and how far away the entry is: 0 is nearest. */
export interface Miss {
  readonly distance: number;
  readonly why: string;
}

/** Entries looked at, at most; an agent with more gets its hints from the first ones. */
const MOST_ENTRIES = 2000;

/**
 * The allow entries of the agent that are nearest to a blocked target, nearest first, each once:
 * those whose host pattern covers the target, then those whose pattern almost does. For people and
 * hints: it compares up to 2,000 entries, which takes about half a millisecond.
 */
export function nearest(
  policy: Policy,
  agent: Agent,
  request: DecisionRequest,
  now: number,
  max = 3,
): Near[] {
  if (!policy.matcher.knows(agent)) return [];
  const ip = request.ip === null ? null : unmapped(request.ip);
  const needed = neededGroups(request.scope, request.host, ip);
  const covering = new CoveringEntries(request, needed, now, (entry) =>
    policy.matcher.conditionsOf(entry),
  );
  policy.matcher.visit(agent, request.host, ip, covering);
  if (covering.found.length >= max) return covering.found.slice(0, max);
  const misses: { near: Near; distance: number }[] = [];
  const seen = new Set(covering.found.map((near) => near.entry));
  for (const entry of reachable(agent, needed)) {
    if (seen.has(entry)) continue;
    const { pattern } = entry;
    const miss = ip === null ? missedName(pattern, request.host) : missedAddress(pattern, ip);
    if (miss !== null) misses.push({ near: { entry, why: miss.why }, distance: miss.distance });
  }
  misses.sort((a, b) => a.distance - b.distance);
  return [...covering.found, ...misses.map(({ near }) => near)].slice(0, max);
}

/** The agent's own entries first: there its owner can mend a pattern. */
function reachable(agent: Agent, needed: NeededGroups): readonly Entry[] {
  const entries: Entry[] = needed === undefined ? agent.allow.slice(0, MOST_ENTRIES) : [];
  for (const { group } of agent.groups) {
    if (entries.length >= MOST_ENTRIES) break;
    const more = group.allow.slice(0, MOST_ENTRIES - entries.length);
    entries.push(...more.filter((entry) => withinGroups(needed, entry)));
  }
  return entries;
}
