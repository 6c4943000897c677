import { foldName } from '../core/fold-name.ts';
import { isObject, parseStrictJson } from '../core/strict-json.ts';

/** Is this the name of a tool that the agent may call? */
export type AdmitsTool = (tool: string) => boolean;

/** Levels of nesting; every level of a tool's schema takes two. */
const deepest = 256;

/**
 * What JSON with a list of tools must contain, in any spelling that a reader may accept: the word
 * itself in any case, or the escape of an ASCII letter. NUL stands in UTF-16.
 */
const sign = /tools|\\u00[4-7]|\\u017f|\0/iu;

/**
 * The body of an `application/json` answer, with its content coding undone, without the tools that are
 * not admitted: of a `result.tools` that is a list, in a message or a batch.
 * @returns the same bytes if nothing is to be taken out, others if something was, or the end of a
 * sentence that says why nobody can tell what readers would find in it.
 */
export function filterToolList(bytes: Buffer, admits: AdmitsTool): Buffer | string {
  // Clients drop one byte order mark and take bytes that are not UTF-8 for U+FFFD (WHATWG Encoding).
  const text = bytes.toString('utf8').replace(/^\ufeff/u, '');
  const filtered = filterToolText(text, admits);
  if (typeof filtered === 'string') return filtered;
  return filtered === null ? bytes : Buffer.from(filtered.text);
}

/**
 * The same of text, which may be no JSON at all: the data of an event. Null if it may stay. What has
 * the signs of a tool list and is not JSON that all readers understand alike is refused, because a
 * lenient reader may find the list that we do not: it repairs commas, or takes the first of two equal
 * keys where we take the last.
 */
export function filterToolText(
  text: string,
  admits: AdmitsTool,
): { readonly text: string } | null | string {
  if (!mayHoldTools(text)) return null;
  const read = parseStrictJson(text, deepest);
  if (typeof read === 'string') return `${read}, and may hold a list of tools`;
  if (dropTools(read.value, admits) === 0) return null;
  const value = parseExact(text);
  dropTools(value, admits);
  return { text: JSON.stringify(value) };
}

/** A quick look that errs to the safe side; most answers end here. */
export function mayHoldTools(text: string): boolean {
  return text.includes('{') && sign.test(text);
}

/** Takes them out of the lists, and says how many there were. */
function dropTools(value: unknown, admits: AdmitsTool): number {
  let dropped = 0;
  for (const list of toolLists(value)) {
    const kept = list.filter((item) => isAdmitted(item, admits));
    dropped += list.length - kept.length;
    list.length = 0;
    for (const item of kept) list.push(item);
  }
  return dropped;
}

function toolLists(value: unknown): unknown[][] {
  const messages = Array.isArray(value) ? value : [value];
  return messages
    .flatMap((message) => membersLike(message, 'result'))
    .flatMap((result) => membersLike(result, 'tools'))
    .filter((tools) => Array.isArray(tools));
}

/** A tool whose name is not one text in every reader's eyes is none that can be admitted. */
function isAdmitted(item: unknown, admits: AdmitsTool): boolean {
  if (!isObject(item) || membersLike(item, 'name').length !== 1) return false;
  const { name } = item as { name?: unknown };
  return Object.hasOwn(item, 'name') && typeof name === 'string' && admits(name);
}

/** The values of the keys that somebody may take for this one: some clients compare without case. */
function membersLike(object: unknown, key: string): unknown[] {
  if (!isObject(object)) return [];
  return Object.entries(object).flatMap(([name, value]) => (foldName(name) === key ? [value] : []));
}

/** What TypeScript does not know of JSON yet (ECMAScript proposal "JSON.parse source text access"). */
const json = JSON as unknown as {
  parse(
    text: string,
    revive: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
};

/** Numbers stay as they were written: the bounds in a schema may be beyond 2^53. */
function parseExact(text: string): unknown {
  return json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && source !== String(value)
      ? json.rawJSON(source)
      : value,
  );
}
