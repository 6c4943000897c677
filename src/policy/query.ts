/** A key that a query may have, decoded, and its values. */
export interface QueryRule {
  readonly key: string;
  /** Decoded; undefined = any. */
  readonly values: readonly string[] | undefined;
}

/** Key → values, undefined = any. Empty: there may be no query. */
export type CompiledQuery = ReadonlyMap<string, ReadonlySet<string> | undefined>;

/** One `key=value` of a query. */
interface Pair {
  readonly key: string;
  /** Decoded; a `+` is still a `+`. */
  readonly value: string;
  /** The same with the blanks that forms write as `+`; equal to `value` if there is no `+`. */
  readonly formValue: string;
}

/** What RFC 3986 §3.4 has no place for, but for brackets; and `;`, which some servers take for `&`. */
const ODD_CHARACTER = /[^A-Za-z0-9._~!$&'()*+,=:@%/?[\]-]/;
/** In a key that is decoded: what would split it, end it, be decoded once more, or not be seen. */
const ODD_IN_KEY = /[&=;#+\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|%[0-9A-Fa-f]{2}/u;

export function compileQuery(rules: readonly QueryRule[]): CompiledQuery {
  return new Map(rules.map(({ key, values }) => [key, values && new Set(values)]));
}

/** Is this a key that a request could have? */
export function isQueryKey(key: string): boolean {
  return key !== '' && key.isWellFormed() && !ODD_IN_KEY.test(key);
}

/** Do the rules cover every pair in the query of this request target? */
export function admitsQuery(rules: CompiledQuery, target: string): boolean {
  return queryMiss(rules, target) === null;
}

/** Why they do not, as a fragment of a sentence that names a key and never a value; null if they do. */
export function queryMiss(rules: CompiledQuery, target: string): string | null {
  const pairs = readQuery(target);
  if (pairs === null) return 'servers read its query in different ways';
  for (const { key, value, formValue } of pairs) {
    if (!rules.has(key)) return `query key ${key} is not in ${listOf(rules)}`;
    const values = rules.get(key);
    if (values === undefined || (values.has(value) && values.has(formValue))) continue;
    return `query key ${key} has a value that is not in ${[...values].join(', ')}`;
  }
  return null;
}

function listOf(rules: CompiledQuery): string {
  return rules.size === 0 ? 'it: there may be no query' : [...rules.keys()].join(', ');
}

/**
 * The pairs of a request target's query, decoded once; null if servers may read them in different
 * ways: `;`, empty pairs and keys, escapes that are malformed or not UTF-8, control characters, keys
 * that decode to delimiters or escapes, a `+` in a key.
 */
function readQuery(target: string): readonly Pair[] | null {
  const mark = target.indexOf('?');
  const query = mark === -1 ? '' : target.slice(mark + 1);
  if (query === '') return [];
  if (ODD_CHARACTER.test(query)) return null;
  const pairs: Pair[] = [];
  for (const text of query.split('&')) {
    const pair = readPair(text);
    if (pair === null) return null;
    pairs.push(pair);
  }
  return pairs;
}

function readPair(text: string): Pair | null {
  const equals = text.indexOf('=');
  const rawKey = equals === -1 ? text : text.slice(0, equals);
  const rawValue = equals === -1 ? '' : text.slice(equals + 1);
  const key = decode(rawKey);
  const value = decode(rawValue);
  const formValue = rawValue.includes('+') ? decode(rawValue.replaceAll('+', ' ')) : value;
  if (key === null || value === null || formValue === null || !isQueryKey(key)) return null;
  return { key, value, formValue };
}

/** Null for escapes that are malformed or not UTF-8, and for control characters. */
function decode(text: string): string | null {
  if (!text.includes('%')) return text;
  try {
    const decoded = decodeURIComponent(text);
    return hasControl(decoded) ? null : decoded;
  } catch {
    return null;
  }
}

function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text);
}
