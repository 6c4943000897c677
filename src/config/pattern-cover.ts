import { samePrefix } from '../core/ip.ts';
import type { CidrPattern, HostPattern, NamePattern } from '../policy/pattern.ts';

/**
 * Values by host pattern, to be found again by any pattern that theirs covers. A pattern covers
 * another if it matches every host that the other matches. Inner stars are compared by their text
 * alone, so that a look-up stays a handful of map reads.
 */
export class PatternIndex<T> {
  readonly #names = new Map<string, T[]>();
  readonly #ranges = new Map<string, { pattern: CidrPattern; value: T }[]>();

  add(pattern: HostPattern, value: T): void {
    if (pattern.kind === 'cidr') {
      const key = rangeKey(pattern, pattern.cidr.prefix);
      push(this.#ranges, key, { pattern, value });
    } else {
      push(this.#names, pattern.text, value);
    }
  }

  /** Values whose pattern covers this one: of the same pattern first, then wider and wider. */
  *covering(pattern: HostPattern): Generator<T> {
    if (pattern.kind === 'cidr') {
      yield* this.#coveringRange(pattern);
      return;
    }
    for (const text of coveringTexts(pattern)) yield* this.#names.get(text) ?? [];
  }

  *#coveringRange(pattern: CidrPattern): Generator<T> {
    for (let prefix = pattern.cidr.prefix; prefix >= 0; prefix--) {
      for (const wider of this.#ranges.get(rangeKey(pattern, prefix)) ?? []) {
        if (samePrefix(wider.pattern.cidr.ip.words, pattern.cidr.ip.words, prefix)) {
          yield wider.value;
        }
      }
    }
  }
}

/** The texts of all patterns that cover a name pattern, inner stars aside. */
function coveringTexts(pattern: HostPattern & { kind: 'name' | 'any' }): string[] {
  if (pattern.kind === 'any') return ['*'];
  return [...new Set([pattern.text, ...widerTexts(pattern)]), '*'];
}

function* widerTexts({ labels, suffix }: NamePattern): Generator<string> {
  for (let count = labels.length; count > 0; count--) {
    const base = labels.slice(0, count).toReversed().join('.');
    // `*.base` leaves out base itself: it covers what lies below, and itself.
    if (count < labels.length || suffix === 'below') yield `*.${base}`;
    yield `.${base}`;
  }
}

/** Family, length and first word of a range: few ranges share it, `samePrefix` does the rest. */
function rangeKey({ cidr }: CidrPattern, prefix: number): string {
  const word = cidr.ip.words[0] ?? 0;
  const masked = prefix >= 32 ? word : (word & ~(0xffffffff >>> prefix)) >>> 0;
  return `${cidr.ip.family}/${prefix}/${masked}`;
}

function push<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** Does a pattern match this name (labels from right to left), or anything below it if `andBelow`? */
export function reaches(
  pattern: HostPattern,
  labels: readonly string[],
  andBelow: boolean,
): boolean {
  if (pattern.kind !== 'name') return false;
  const shared = Math.min(labels.length, pattern.labels.length);
  for (let i = 0; i < shared; i++) {
    if (pattern.labels[i] !== '*' && pattern.labels[i] !== labels[i]) return false;
  }
  if (labels.length > pattern.labels.length) return pattern.suffix !== 'exact';
  if (labels.length < pattern.labels.length) return andBelow;
  return pattern.suffix !== 'below' || andBelow;
}
