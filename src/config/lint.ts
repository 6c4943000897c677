import type { AgentDefinition, AllowlistFile, GroupDefinition } from './allowlist-file.ts';
import type { EntryLine } from './entry.ts';
import type { Report } from './fields.ts';
import { type LintContext, lintAllowEntry, lintDenyEntry, lintEnd } from './lint-entry.ts';
import { lintDenied, lintGroupLines, lintList } from './lint-list.ts';
import { lintUnread } from './lint-unread.ts';
import { lintWorkloads } from './lint-workloads.ts';
import { PatternIndex } from './pattern-cover.ts';

/**
 * What is allowed by the format and still a mistake, or deserves a second look: breadth, hosts of a
 * kind, entries that do nothing. Errors refuse the files, warnings do not;
 * `problem-codes.ts` says which is which and which warnings a `note` silences.
 */
export function lint(files: readonly AllowlistFile[], context: LintContext, report: Report): void {
  const topDeny = files.flatMap((file) => file.deny);
  const groups = files.flatMap((file) => file.groups);
  const agents = files.flatMap((file) => file.agents);
  lintDenyList(topDeny, report);
  for (const group of groups) lintGroup(group, topDeny, context, report);
  for (const agent of agents) lintAgent(agent, context, report);
  lintAgentDenies(agents, groups, topDeny, report);
  lintUnread(agents, groups, report);
  lintWorkloads(files, report);
}

function lintGroup(
  group: GroupDefinition,
  topDeny: readonly EntryLine[],
  context: LintContext,
  report: Report,
): void {
  for (const entry of group.allow) lintAllowEntry(entry, context, report);
  lintList(group.allow, report);
  lintDenyList(group.deny, report);
  lintDenied(group.allow, indexOf([...group.deny, ...topDeny]), report);
}

function lintAgent(agent: AgentDefinition, context: LintContext, report: Report): void {
  for (const entry of agent.allow) lintAllowEntry(entry, context, report);
  lintList(agent.allow, report);
  lintDenyList(agent.deny, report);
  lintGroupLines(agent.groups, report);
  for (const { until, at } of agent.groups) lintEnd(until, context.now, at, report);
  const { issued, tokens, certificates, workloads, sourcesAlone } = agent.credentials;
  const named = tokens.length + certificates.length + workloads.length;
  if (!issued && named === 0 && !sourcesAlone) {
    const message = `nothing can identify the agent \`${agent.id}\`: it has no credential of any kind`;
    report(
      agent.at,
      'no-way-in',
      message,
      'Leave out issued: false, or add tokens, certificates or sources-alone.',
    );
  }
}

/** The denies of all groups that an agent names hold for its own entries as well. */
function lintAgentDenies(
  agents: readonly AgentDefinition[],
  groups: readonly GroupDefinition[],
  topDeny: readonly EntryLine[],
  report: Report,
): void {
  const denyOf = new Map(groups.map((group) => [group.name, group.deny]));
  const top = indexOf(topDeny);
  for (const agent of agents) {
    const own = [...agent.deny, ...agent.groups.flatMap(({ group }) => denyOf.get(group) ?? [])];
    const shared = own.length === 0 ? top : indexOf([...own, ...topDeny]);
    lintDenied(agent.allow, shared, report);
  }
}

function lintDenyList(deny: readonly EntryLine[], report: Report): void {
  for (const entry of deny) lintDenyEntry(entry, report);
  lintList(deny, report);
}

function indexOf(entries: readonly EntryLine[]): PatternIndex<EntryLine> {
  const index = new PatternIndex<EntryLine>();
  for (const entry of entries) index.add(entry.pattern, entry);
  return index;
}
