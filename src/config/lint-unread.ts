import { isConditional } from '../policy/entry-conditions.ts';
import type { AgentDefinition, GroupDefinition } from './allowlist-file.ts';
import type { EntryLine } from './entry.ts';
import type { Report } from './fields.ts';
import { formatPlace } from './problem.ts';

/** The allow entries of one group, or an agent's own. */
interface List {
  readonly conditional: readonly EntryLine[];
  /** Pattern → entries that ask for nothing. */
  readonly open: ReadonlyMap<string, readonly EntryLine[]>;
}

/**
 * Entries of equal pattern add up: one without conditions opens the connection unread, and those of
 * another in the same agent's reach hold for nothing. With `inject` that is worse than with none, for
 * the agent's own credential passes.
 */
export function lintUnread(
  agents: readonly AgentDefinition[],
  groups: readonly GroupDefinition[],
  report: Report,
): void {
  const lists = new Map(groups.map(({ name, allow }) => [name, listOf(allow)]));
  /** Groups that many agents name together meet many times. */
  const met = new Map<List, Set<List>>();
  for (const { allow, groups: references } of agents) {
    const reach = [listOf(allow), ...references.flatMap(({ group }) => lists.get(group) ?? [])];
    for (const list of reach.filter(({ conditional }) => conditional.length > 0)) {
      const others = met.get(list) ?? new Set();
      met.set(list, others);
      for (const other of reach) {
        if (!others.has(other)) compare(list, other, report);
        others.add(other);
      }
    }
  }
}

function compare({ conditional }: List, { open }: List, report: Report): void {
  for (const entry of conditional) {
    for (const candidate of open.get(entry.pattern.text) ?? []) {
      if (opens(candidate, entry)) tell(candidate, entry, report);
    }
  }
}

function listOf(entries: readonly EntryLine[]): List {
  const conditional = entries.filter(isConditional);
  const rest = entries.filter((entry) => !isConditional(entry));
  return { conditional, open: Map.groupBy(rest, ({ pattern }) => pattern.text) };
}

/** Anything may be in a tcp tunnel, so that it lets plain HTTP pass as well. */
function opens(open: EntryLine, entry: EntryLine): boolean {
  const scheme = open.scheme === 'tcp' || open.scheme === entry.scheme;
  return scheme && (open.ports?.some((port) => entry.ports?.includes(port)) ?? false);
}

function tell(open: EntryLine, entry: EntryLine, report: Report): void {
  const place = formatPlace(entry.at);
  const { text } = open.pattern;
  if (entry.inject !== undefined) {
    const message = `\`${text}\` opens the connection unread: what ${place} injects is not added, and the agent's own credential passes`;
    report(open.at, 'unread-inject', message, 'Delete it, or write it with conditions of its own.');
  } else if (open.note === undefined) {
    const message = `\`${text}\` opens the connection unread: the conditions at ${place} hold for nothing`;
    const hint = 'Delete one of the two, or say why it is meant with a `note` on this entry.';
    report(open.at, 'unread-conditions', message, hint);
  }
}
