import { foldName } from '../core/fold-name.ts';
import type { ToolCall } from '../core/rpc-body.ts';

/** Bytes of UTF-8 that the parameters of one line may have, and all names of its tools. */
const longestParams = 512;
const longestTools = 256;
/** More parameters do not fit: each takes at least five bytes. */
const mostParams = 100;
/** Characters (code points) of one text: as many as leave room for all parameters. */
const textLengths = [128, 64, 32, 16, 8] as const;
/** Stands at the end of what was clipped, and as the key under which the rest is counted. */
const rest = '…';

/**
 * The tools that a body calls, for its log line: every name once, in their order, separated by commas.
 * Undefined if it calls none.
 */
export function loggedTools(calls: readonly ToolCall[]): string | undefined {
  const names = [...new Set(calls.map(({ tool }) => tool))];
  if (names.length === 0) return undefined;
  for (let count = names.length; count > 1; count--) {
    const left = names.length - count;
    const text = names.slice(0, count).join(',') + (left === 0 ? '' : `,${rest}${left}`);
    if (Buffer.byteLength(text) <= longestTools) return text;
  }
  return names.length === 1 ? names[0] : `${names[0]},${rest}${names.length - 1}`;
}

/**
 * The arguments with these names, for the log line: compact JSON, an object, or a list of one for each
 * call in a batch; 512 bytes at most. They stand in the order of the names, so that a client cannot
 * push one out with another. Of texts the first 128 characters are shown, or fewer if there is no room
 * for all; of lists, objects and null the type alone. An argument that a careless server may take for
 * one of the names follows, as it is spelled. Undefined if no call has any. Control characters are the
 * log's to escape.
 */
export function loggedParams(
  calls: readonly ToolCall[],
  names: readonly string[],
): string | undefined {
  const folded = new Set(names.map(foldName));
  const chosen = calls.map((call) => choose(call, names, folded));
  const count = chosen.reduce((sum, given) => sum + given.length, 0);
  if (count === 0) return undefined;
  let all: string[][] = [];
  for (const length of textLengths) {
    all = chosen.map((given) => given.slice(0, mostParams).map((pair) => member(pair, length)));
    const text = written(all, count, count);
    if (count <= mostParams && Buffer.byteLength(text) <= longestParams) return text;
  }
  for (let shown = Math.min(count, mostParams); shown > 0; shown--) {
    const text = written(all, shown, count);
    if (Buffer.byteLength(text) <= longestParams) return text;
  }
  return written([[]], 0, count);
}

type Argument = readonly [name: string, value: unknown];

function choose(
  { arguments: given }: ToolCall,
  names: readonly string[],
  folded: ReadonlySet<string>,
): Argument[] {
  const exact = [...new Set(names)].filter((name) => given.has(name));
  const alike = [...given].filter(([name]) => !exact.includes(name) && folded.has(foldName(name)));
  return [...exact.map((name): Argument => [name, given.get(name)]), ...alike];
}

function member([name, value]: Argument, length: number): string {
  const shown = typeof value === 'string' ? clipped(value, length) : shownValue(value);
  return `${JSON.stringify(clipped(name, length))}:${JSON.stringify(shown)}`;
}

/** The first `shown` of the members, and how many of them are not there. */
function written(all: readonly (readonly string[])[], shown: number, count: number): string {
  let left = shown;
  const objects: string[] = [];
  for (const members of all) {
    const here = members.slice(0, left);
    left -= here.length;
    objects.push(`{${here.join(',')}}`);
  }
  if (shown < count) {
    const last = objects.pop() ?? '{}';
    const comma = last === '{}' ? '' : ',';
    objects.push(`${last.slice(0, -1)}${comma}"${rest}":${count - shown}}`);
  }
  return objects.length === 1 ? (objects[0] as string) : `[${objects.join(',')}]`;
}

function shownValue(value: unknown): string | number | boolean {
  if (typeof value === 'boolean') return value;
  // 1e999 is valid JSON, and Infinity is not.
  if (typeof value === 'number') return Number.isFinite(value) ? value : 'number';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : 'object';
}

function clipped(text: string, length: number): string {
  // Enough units for the characters, so that a long text is not taken apart whole.
  const characters = [...text.slice(0, 2 * (length + 1))];
  if (characters.length <= length) return text;
  return characters.slice(0, length).join('') + rest;
}
