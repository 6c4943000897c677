import { reachOfStrangers } from './broad.ts';
import type { EntryLine, GroupLine } from './entry.ts';
import type { Report } from './fields.ts';
import { PatternIndex } from './pattern-cover.ts';
import { formatPlace, type Position } from './problem.ts';

/**
 * Entries of one list that another of the same list makes superfluous: written twice, or covered
 * by a wider one that grants the same. A narrower pattern with conditions of its own is not
 * superfluous, because the most specific pattern speaks alone.
 */
export function lintList(entries: readonly EntryLine[], report: Report): void {
  const index = new PatternIndex<EntryLine>();
  for (const entry of entries) index.add(entry.pattern, entry);
  const earlier = new Set<EntryLine>();
  for (const entry of entries) {
    lintAgainst(entry, index, earlier, report);
    earlier.add(entry);
  }
}

function lintAgainst(
  entry: EntryLine,
  index: PatternIndex<EntryLine>,
  earlier: ReadonlySet<EntryLine>,
  report: Report,
): void {
  const text = entry.pattern.text;
  for (const wider of index.covering(entry.pattern)) {
    if (wider === entry || isRefused(wider)) continue;
    if (!grantsSame(wider, entry) || !coversPorts(wider, entry)) continue;
    const twin = wider.pattern.text === text && coversPorts(entry, wider);
    if (twin) {
      // Of two twins only the later is told.
      if (!earlier.has(wider)) continue;
      const message = `\`${text}\` stands here a second time; it is already at ${formatPlace(wider.at)}`;
      report(entry.at, 'duplicate-entry', message, 'Delete one of the two.');
    } else {
      if (entry.note !== undefined) return;
      const message = `\`${text}\` adds nothing to \`${wider.pattern.text}\` at ${formatPlace(wider.at)}`;
      report(entry.at, 'shadowed-entry', message, 'Delete it, or narrow the wider entry.');
    }
    return;
  }
}

/** Too wide to stand: nothing can lean on it. */
function isRefused(entry: EntryLine): boolean {
  return !entry.broad && reachOfStrangers(entry.pattern) !== null;
}

/** Everything but pattern and ports is equal. */
function grantsSame(a: EntryLine, b: EntryLine): boolean {
  return (
    a.scheme === b.scheme &&
    a.until === b.until &&
    a.upload === b.upload &&
    a.inject === undefined &&
    b.inject === undefined &&
    sameSet(a.methods, b.methods) &&
    sameSet(a.paths, b.paths) &&
    otherConditions(a) === otherConditions(b) &&
    sameSet(
      a.addresses.map(({ text }) => text),
      b.addresses.map(({ text }) => text),
    )
  );
}

/** In the order in which they are written: what differs in that alone is not worth a warning. */
function otherConditions({ query, headers, contentTypes, maxBody, tools }: EntryLine): string {
  return JSON.stringify([query, headers, contentTypes, maxBody, tools]);
}

function sameSet(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((item) => b.includes(item));
}

function coversPorts(wider: EntryLine, entry: EntryLine): boolean {
  if (wider.ports === undefined) return true;
  return entry.ports?.every((port) => wider.ports?.includes(port)) ?? false;
}

/** Allow entries that a deny entry of `denies` takes back completely. */
export function lintDenied(
  entries: readonly EntryLine[],
  denies: PatternIndex<EntryLine>,
  report: Report,
): void {
  for (const entry of entries) {
    for (const deny of denies.covering(entry.pattern)) {
      if (!deniesScheme(deny, entry) || !coversPorts(deny, entry)) continue;
      const message = `\`${entry.pattern.text}\` allows nothing: the deny entry \`${deny.pattern.text}\` at ${formatPlace(deny.at)} blocks it`;
      report(
        entry.at,
        'denied-entry',
        message,
        'Delete one of the two; a deny entry wins over every allow entry.',
      );
      break;
    }
  }
}

/** As `decide` has it: what a tunnel carries is unknown, so that every deny blocks a CONNECT. */
function deniesScheme(deny: EntryLine, entry: EntryLine): boolean {
  return deny.scheme !== 'https' || entry.scheme !== 'http';
}

/** A group that one agent names twice. */
export function lintGroupLines(lines: readonly GroupLine[], report: Report): void {
  const seen = new Map<string, Position>();
  for (const { group, at } of lines) {
    const first = seen.get(group);
    if (first === undefined) seen.set(group, at);
    else {
      const message = `the group \`${group}\` stands here a second time; it is already at ${formatPlace(first)}`;
      report(at, 'duplicate-entry', message, 'Delete one of the two.');
    }
  }
}
