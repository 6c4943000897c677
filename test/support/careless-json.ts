/**
 * JSON as careless servers read it: a parser that keeps every key as often as it stands there, and
 * readers that choose among them in the ways of real ones.
 */

/** An object as its pairs, in order; lists and scalars as usual. */
export interface Pairs {
  readonly pairs: readonly (readonly [key: string, value: unknown])[];
}

/** The value of a key, among those that stand there; undefined if there is none. */
type Reader = (pairs: Pairs['pairs'], key: string) => unknown;

const lastOf = (same: (name: string, key: string) => boolean): Reader => {
  return (pairs, key) => pairs.findLast(([name]) => same(name, key))?.[1];
};

export const readers: Readonly<Record<string, Reader>> = {
  'the last one': lastOf((name, key) => name === key),
  'the first one': (pairs, key) => pairs.find(([name]) => name === key)?.[1],
  'without case': lastOf((name, key) => name.toLowerCase() === key.toLowerCase()),
  'without case, by capitals': lastOf((name, key) => name.toUpperCase() === key.toUpperCase()),
  'in one form, without case': lastOf(
    (name, key) => name.normalize('NFKC').toLowerCase() === key.toLowerCase(),
  ),
  'without spaces': lastOf((name, key) => name.trim() === key),
};

/** The tools that a server would run which reads like this; it is careless about methods too. */
export function callsOf(body: unknown, reader: Reader): string[] {
  const messages = Array.isArray(body) ? body : [body];
  return messages.flatMap((message) => {
    const method = memberOf(message, 'method', reader);
    if (typeof method !== 'string' || method.trim().toLowerCase() !== 'tools/call') return [];
    const name = memberOf(memberOf(message, 'params', reader), 'name', reader);
    return typeof name === 'string' ? [name.trim()] : [];
  });
}

function memberOf(value: unknown, key: string, reader: Reader): unknown {
  return isPairs(value) ? reader(value.pairs, key) : undefined;
}

function isPairs(value: unknown): value is Pairs {
  return typeof value === 'object' && value !== null && 'pairs' in value;
}

/** Reads valid JSON; numbers and the like by `JSON.parse`. */
export function parsePairs(text: string): unknown {
  return new PairParser(text).value();
}

class PairParser {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/gsu) ?? [];
  }

  value(): unknown {
    const token = this.#next();
    if (token === '{') return { pairs: this.#until('}', () => this.#pair()) };
    if (token === '[') return this.#until(']', () => this.value());
    return JSON.parse(token);
  }

  #pair(): [string, unknown] {
    const key = JSON.parse(this.#next()) as string;
    this.#next();
    return [key, this.value()];
  }

  #until<T>(end: string, item: () => T): T[] {
    const items: T[] = [];
    while (this.#tokens[this.#at] !== end) {
      items.push(item());
      if (this.#tokens[this.#at] === ',') this.#at++;
    }
    this.#at++;
    return items;
  }

  #next(): string {
    return this.#tokens[this.#at++] ?? '';
  }
}
