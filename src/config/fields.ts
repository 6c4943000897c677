import { clip } from './clip.ts';
import type { Position } from './problem.ts';
import type { ProblemCode } from './problem-codes.ts';
import { didYouMean } from './spelling.ts';
import type { YamlMap, YamlNode } from './yaml.ts';
import { hasHidden } from './yaml-text.ts';

/** Takes note of a problem; reading goes on, so that one run shows all of them. */
export type Report = (at: Position, code: ProblemCode, message: string, hint: string) => void;

/**
 * Reads one value. `name` is how messages call it (`ports`, `an item of ports`). Undefined = it
 * has been reported; the caller leaves the value out and goes on.
 */
export type Reader<T> = (node: YamlNode, name: string, report: Report) => T | undefined;

/** What is wrong with a text, and the form to write. */
export interface Complaint {
  readonly code: ProblemCode;
  readonly message: string;
  readonly hint: string;
}

/** A value with its place. */
export interface Located<T> {
  readonly value: T;
  readonly at: Position;
}

type Fields = Readonly<Record<string, Reader<unknown>>>;
type ValueOf<R> = R extends Reader<infer T> ? T : never;

/** A map with known keys, read. */
export interface FieldValues<F extends Fields> {
  readonly at: Position;
  /** Values that are there and could be read. */
  readonly values: { readonly [K in keyof F]?: ValueOf<F[K]> | undefined };
  /** Where each key stands, known or not, readable or not. */
  readonly keys: ReadonlyMap<string, Position>;
}

/** Reports a value of the wrong type. */
export function expected(
  node: YamlNode,
  name: string,
  what: string,
  hint: string,
  report: Report,
): undefined {
  if (node.kind === 'broken') return undefined;
  report(node.at, 'wrong-type', `${name}: expected ${what}, got ${describe(node)}`, hint);
  return undefined;
}

/** A map whose keys are those of `fields`, each at most once; any other key is reported. */
export function readFields<F extends Fields>(
  map: YamlMap,
  fields: F,
  report: Report,
): FieldValues<F> {
  const values: Record<string, unknown> = Object.create(null);
  const keys = new Map<string, Position>();
  for (const entry of map.entries.values()) {
    keys.set(entry.key, entry.at);
    const read = Object.hasOwn(fields, entry.key) ? fields[entry.key] : undefined;
    if (read === undefined) reportUnknownKey(entry.key, entry.at, Object.keys(fields), report);
    else values[entry.key] = read(entry.value, `\`${entry.key}\``, report);
  }
  return { at: map.at, values: values as FieldValues<F>['values'], keys };
}

export function reportUnknownKey(
  key: string,
  at: Position,
  known: readonly string[],
  report: Report,
): void {
  const message = `\`${clip(key)}\`: unknown key${didYouMean(key, known)}`;
  report(at, 'unknown-key', message, `The keys here are ${known.join(', ')}.`);
}

/** A map with the keys of `fields`. */
export function fieldsOf<F extends Fields>(fields: F, example: string): Reader<FieldValues<F>> {
  return (node, name, report) =>
    node.kind === 'map'
      ? readFields(node, fields, report)
      : expected(node, name, 'a map', `Write \`${example}\`.`, report);
}

/** A list of whatever `item` reads. Items that cannot be read are left out. */
export function listOf<T>(item: Reader<T>, what: string, example: string): Reader<readonly T[]> {
  return (node, name, report) => {
    if (node.kind !== 'list') {
      return expected(
        node,
        name,
        `a list of ${what}`,
        `Write \`${name.replaceAll('`', '')}: ${example}\`.`,
        report,
      );
    }
    const values: T[] = [];
    for (const child of node.items) {
      // Flags and variables hold one value at a time as far as their author is concerned.
      const value = item(child, name.startsWith('`') ? `an item of ${name}` : name, report);
      if (value !== undefined) values.push(value);
    }
    return values;
  };
}

/** A list in which no value stands twice. `key` = what makes two values the same; null = nothing does. */
export function uniqueListOf<T>(
  item: Reader<T>,
  what: string,
  example: string,
  key: (value: T) => string | null,
): Reader<readonly T[]> {
  const read = listOf(located(item), what, example);
  return (node, name, report) => {
    const seen = new Map<string, Position>();
    return read(node, name, report)?.map(({ value, at }) => {
      const same = key(value);
      if (same === null) return value;
      const first = seen.get(same);
      if (first === undefined) seen.set(same, at);
      else {
        const message = `${name}: ${clip(same)} stands here a second time; it is already on line ${first.line}`;
        report(at, 'duplicate-value', message, 'Write it once.');
      }
      return value;
    });
  };
}

/** A list that must say something: conditions that nothing could meet are a slip, not a wish. */
export function notEmpty<T>(read: Reader<readonly T[]>): Reader<readonly T[]> {
  return (node, name, report) => {
    if (node.kind !== 'list' || node.items.length > 0) return read(node, name, report);
    const message = `${name}: an empty list could never be met`;
    report(node.at, 'empty-list', message, 'Leave the key out, or name at least one.');
    return undefined;
  };
}

/** The same value with its place. */
export function located<T>(read: Reader<T>): Reader<Located<T>> {
  return (node, name, report) => {
    const value = read(node, name, report);
    return value === undefined ? undefined : { value, at: node.at };
  };
}

/** Text that is not empty. Numbers and the like need quotes: `1.10` would else lose its zero. */
export const text: Reader<string> = (node, name, report) => {
  if (node.kind === 'scalar' && typeof node.value === 'string' && node.value.trim() !== '') {
    return node.value;
  }
  const quoted = node.kind === 'scalar' && node.source !== '' ? `"${clip(node.source)}"` : '"…"';
  return expected(
    node,
    name,
    'text',
    `Write text; in quotes, ${quoted}, if it looks like something else.`,
    report,
  );
};

/** Text of at most `longest` UTF-16 code units, blanks at its end (of a folded block) left off. */
export function prose(longest: number): Reader<string> {
  return (node, name, report) => {
    const value = text(node, name, report)?.trimEnd();
    if (value !== undefined && hasHidden(value)) {
      const message = `${name}: \`${clip(value)}\` has characters that cannot be seen`;
      report(node.at, 'yaml-characters', message, 'Leave them out: it is printed as it stands.');
      return undefined;
    }
    if (value === undefined || value.length <= longest) return value;
    const message = `${name}: ${value.length} characters; at most ${longest} fit`;
    report(
      node.at,
      'bad-value',
      message,
      'Say it shorter: it is printed in log lines and refusals.',
    );
    return undefined;
  };
}

export const boolean: Reader<boolean> = (node, name, report) =>
  node.kind === 'scalar' && typeof node.value === 'boolean'
    ? node.value
    : expected(node, name, 'true or false', 'Write true or false, without quotes.', report);

export function integer(
  least: number,
  most: number,
  code: ProblemCode = 'bad-value',
): Reader<number> {
  return (node, name, report) => {
    if (node.kind !== 'scalar' || typeof node.value !== 'number') {
      return expected(
        node,
        name,
        'a number',
        `Write a whole number from ${least} to ${most}.`,
        report,
      );
    }
    // Only decimal digits: 0x1bb and 4.43e2 are numbers to YAML, and traps to a reviewer.
    const canonical = String(node.value) === node.source && Number.isSafeInteger(node.value);
    if (canonical && node.value >= least && node.value <= most) return node.value;
    const message = `${name}: ${clip(node.source)} is not a whole number from ${least} to ${most}`;
    report(
      node.at,
      code,
      message,
      'Write it in decimal digits, without sign, leading zero or quotes.',
    );
    return undefined;
  };
}

/** Exactly one of some words. */
export function oneOf<const T extends string>(words: readonly T[]): Reader<T> {
  return (node, name, report) => {
    const value = text(node, name, report);
    if (value === undefined) return undefined;
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) {
      const message = `${name}: \`${clip(value)}\` is not known${didYouMean(value, words)}`;
      report(
        node.at,
        'bad-value',
        message,
        `Write ${words.slice(0, -1).join(', ')} or ${words.at(-1)}.`,
      );
    }
    return word;
  };
}

/** Text in a form of its own: `parse` gives the value or says what is wrong. */
export function parsed<T>(parse: (text: string) => { value: T } | Complaint): Reader<T> {
  return (node, name, report) => {
    // `50` is a number to YAML; the parser knows best what is missing.
    const isNumber = node.kind === 'scalar' && typeof node.value === 'number';
    const source = isNumber ? node.source : text(node, name, report);
    if (source === undefined) return undefined;
    const result = parse(source);
    if ('value' in result) return result.value;
    report(node.at, result.code, `${name}: ${result.message}`, result.hint);
    return undefined;
  };
}

/** A value as a message calls it. */
function describe(node: YamlNode): string {
  if (node.kind === 'list') return 'a list';
  if (node.kind === 'map') return 'a map';
  if (node.kind === 'broken') return 'something unreadable';
  if (node.value === null)
    return node.source === '' ? 'nothing' : `\`${clip(node.source)}\` (null)`;
  if (node.value === '') return 'empty text';
  if (typeof node.value === 'string') return `the text "${clip(node.value)}"`;
  return typeof node.value === 'number'
    ? `the number ${clip(node.source)}`
    : `\`${clip(node.source)}\``;
}
