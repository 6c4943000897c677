import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** The keys of a line in the contract's order (§5). */
export const egressKeys = [
  'time',
  'event',
  'id',
  'agent',
  'verdict',
  'reason',
  'scheme',
  'host',
  'port',
  'method',
  'path',
  'tool',
  'params',
  'status',
  'entry',
  'group',
  'policy',
  'task',
  'requested_by',
  'token',
  'client',
  'address',
  'sni',
  'bytes_up',
  'bytes_down',
  'ms',
  'dns_ms',
  'dial_ms',
  'end',
  'owner',
  'purpose',
  'report',
  'node',
  'seq',
] as const;

/** A line of the egress log, read back. */
export interface EgressLine {
  readonly time: string;
  readonly event: string;
  readonly id?: string;
  readonly agent?: string;
  readonly verdict?: 'allow' | 'block';
  readonly reason?: string;
  readonly scheme?: string;
  readonly host?: string;
  readonly port?: number;
  readonly method?: string;
  readonly path?: string;
  readonly tool?: string;
  readonly params?: string;
  readonly status?: number;
  readonly entry?: string;
  readonly group?: string;
  readonly policy?: string;
  readonly task?: string;
  readonly requested_by?: string;
  readonly token?: string;
  readonly client?: string;
  readonly address?: string;
  readonly sni?: string;
  readonly bytes_up?: number;
  readonly bytes_down?: number;
  readonly ms?: number;
  readonly dns_ms?: number;
  readonly dial_ms?: number;
  readonly end?: string;
  readonly owner?: string;
  readonly purpose?: string;
  readonly report?: boolean;
  readonly node: string;
  readonly seq: number;
}

/** Fields that a line must have, with these values. */
export type EgressPattern = Partial<EgressLine>;

/** All lines of the file. Fails if it does not end in a newline or a line is not JSON in the contract's form. */
export function readEgressLog(file: string): EgressLine[] {
  return parseEgressLog(readFileSync(file, 'utf8'));
}

export function parseEgressLog(content: string): EgressLine[] {
  if (content === '') return [];
  assert.ok(content.endsWith('\n'), `the last line is torn: ${content.slice(-200)}`);
  return content.slice(0, -1).split('\n').map(parseEgressLine);
}

/** Control characters that must stand escaped in a line (contract §5). */
const raw =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

export function parseEgressLine(text: string): EgressLine {
  assert.ok(Buffer.byteLength(text) < 8192, `longer than 8 KiB: ${text.slice(0, 200)}`);
  assert.ok(!raw.test(text), `a control character is not escaped: ${JSON.stringify(text)}`);
  const line = parseObject(text);
  const names = Object.keys(line);
  const known = egressKeys.filter((key) => names.includes(key));
  assert.deepEqual(names, known, 'keys and their order are those of the contract');
  for (const key of ['time', 'event', 'node', 'seq'] as const) {
    assert.ok(key in line, `no ${key}: ${text}`);
  }
  assert.equal(new Date(line.time).toISOString(), line.time, 'RFC 3339, milliseconds, UTC');
  assert.ok(!line.path?.includes('?'), `a query is in the log: ${text}`);
  return line;
}

function parseObject(text: string): EgressLine {
  try {
    return JSON.parse(text) as EgressLine;
  } catch (error) {
    throw new assert.AssertionError({ message: `not JSON (${String(error)}): ${text}` });
  }
}

/** The lines that have all these values. */
export function linesLike(lines: readonly EgressLine[], pattern: EgressPattern): EgressLine[] {
  return lines.filter((line) => isLike(line, pattern));
}

/** The only line that has all these values; fails if there is none, or another. */
export function onlyLine(lines: readonly EgressLine[], pattern: EgressPattern): EgressLine {
  const found = linesLike(lines, pattern);
  const [line] = found;
  assert.ok(
    line !== undefined && found.length === 1,
    `${found.length} lines like ${JSON.stringify(pattern)} in\n${show(lines)}`,
  );
  return line;
}

/** Reads the file until it holds such a line; fails after `deadline` milliseconds. */
export async function waitForLine(
  file: string,
  pattern: EgressPattern,
  deadline = 5000,
): Promise<EgressLine> {
  const end = performance.now() + deadline;
  for (;;) {
    const lines = readEgressLog(file);
    const [line] = linesLike(lines, pattern);
    if (line !== undefined) return line;
    assert.ok(
      performance.now() < end,
      `no line like ${JSON.stringify(pattern)} after ${deadline} ms, only\n${show(lines)}`,
    );
    await sleep(10);
  }
}

/**
 * What holds for every egress log of a proxy that was stopped in order: `seq` without gaps, each
 * attempt decided once, each end once and after its beginning, each beginning ended, and a `block`
 * verdict with a reason.
 */
export function assertEgressLog(lines: readonly EgressLine[]): void {
  assertSequence(lines);
  const open = new Map<string, EgressLine>();
  const decided = new Set<string>();
  for (const line of lines) {
    assert.ok(line.verdict !== 'block' || line.reason !== undefined, show([line]));
    if (line.event === 'open' || line.event === 'block') assertDecided(line, decided, open);
    if (line.event === 'close' || line.event === 'request') assertEnded(line, open);
  }
  assert.deepEqual([...open.values()], [], 'every open line has its close or request line');
}

/** Contract §5 and §7: `seq` counts up by one per node, from 1 at each `start` line. */
export function assertSequence(lines: readonly EgressLine[]): void {
  const last = new Map<string, number>();
  for (const line of lines) {
    const expected = line.event === 'start' ? 1 : (last.get(line.node) ?? 0) + 1;
    assert.equal(line.seq, expected, `seq of ${show([line])}`);
    last.set(line.node, line.seq);
  }
}

function assertDecided(
  line: EgressLine,
  decided: Set<string>,
  open: Map<string, EgressLine>,
): void {
  assert.ok(line.id !== undefined && line.verdict !== undefined, show([line]));
  assert.ok(!decided.has(line.id), `decided twice: ${show([line])}`);
  assert.equal(line.verdict, line.event === 'open' ? 'allow' : 'block', show([line]));
  decided.add(line.id);
  const failed = line.method === 'CONNECT' && line.status !== undefined && line.status >= 400;
  if (line.event === 'open' && !failed) open.set(line.id, line);
}

function assertEnded(line: EgressLine, open: Map<string, EgressLine>): void {
  assert.ok(
    line.id !== undefined && open.delete(line.id),
    `ends what was not open: ${show([line])}`,
  );
}

function isLike(line: EgressLine, pattern: EgressPattern): boolean {
  return Object.entries(pattern).every(([key, value]) => line[key as keyof EgressLine] === value);
}

function show(lines: readonly EgressLine[]): string {
  return lines.map((line) => JSON.stringify(line)).join('\n');
}
