import { domainToASCII } from 'node:url';
import { canonicalHostname, endsInNumber, MAX_HOSTNAME_BYTES } from '../core/hostname.ts';
import { looseIpv4, starredIpv4 } from './address-pattern.ts';
import { badPattern, type Finding, showCharacter } from './pattern-finding.ts';

const MOST_LABEL_BYTES = 63;
const MOST_INNER_STARS = 2;

/** A name pattern, read. */
export interface NameReading {
  /** Without the leading `*.` or `.`, from right to left. */
  readonly labels: readonly string[];
  readonly suffix: 'exact' | 'below' | 'apex-and-below';
}

/**
 * `example.com`, `*.example.com`, `.example.com`, and up to two whole-label stars inside that have
 * at least two labels behind them.
 */
export function readNamePattern(text: string): NameReading | Finding {
  const spelling = findSpelling(text);
  if (spelling !== null) return spelling;
  const suffix = suffixOf(text);
  const rest = text.slice(prefixLength(suffix));
  const labels = rest.split('.');
  const problem = findInLabels(text, rest, labels) ?? findInName(rest, suffix);
  return problem ?? { labels: labels.toReversed(), suffix };
}

function suffixOf(text: string): NameReading['suffix'] {
  if (text.startsWith('*.')) return 'below';
  return text.startsWith('.') ? 'apex-and-below' : 'exact';
}

function prefixLength(suffix: NameReading['suffix']): number {
  if (suffix === 'exact') return 0;
  return suffix === 'below' ? 2 : 1;
}

/** Case, trailing dot, and characters that no name has. */
function findSpelling(text: string): Finding | null {
  if (/[^\0-\x7f]/.test(text)) {
    return badPattern('a name outside ASCII is written as its A-labels', toALabels(text));
  }
  const lower = text.toLowerCase();
  if (lower !== text) return badPattern('host patterns are written in lower case', lower);
  if (/^\[.*\]$/.test(text)) {
    return badPattern('only IPv6 addresses stand in brackets', text.slice(1, -1));
  }
  const odd = text.search(/[^a-z0-9._*-]/);
  if (odd !== -1) return badPattern(oddCharacterMessage(text, odd), withoutOddCharacter(text, odd));
  if (text === '*.' || text === '.') return badPattern('the name behind the dot is missing');
  if (text.endsWith('.')) {
    return badPattern('host patterns are written without a trailing dot', text.slice(0, -1));
  }
  return null;
}

function findInLabels(text: string, rest: string, labels: readonly string[]): Finding | null {
  const partial = labels.find((label) => label.includes('*') && label !== '*');
  if (partial !== undefined) {
    const behind = rest.slice(rest.lastIndexOf('*') + 1).replace(/^[^.]*\./, '');
    const plain = partial.replaceAll('*', '') === '' || labels.length === 1 ? '' : behind;
    return badPattern(
      'a star stands for whole labels, never for a part of one',
      starHint(labels, partial) ?? (plain === '' ? undefined : `*.${plain}`),
    );
  }
  if (labels.includes('')) {
    return badPattern('a label between two dots is empty', text.replace(/\.{2,}/g, '.'));
  }
  const long = labels.find((label) => label.length > MOST_LABEL_BYTES);
  if (long !== undefined) return badPattern(`a label has more than ${MOST_LABEL_BYTES} characters`);
  if (labels.some((label) => label.startsWith('-') || label.endsWith('-'))) {
    return badPattern('a label neither begins nor ends with a hyphen');
  }
  return findInStars(rest, labels);
}

/** `**.example.com` and `*example.com` mean `*.example.com`. */
function starHint(labels: readonly string[], partial: string): string | undefined {
  if (labels[0] !== partial || !partial.startsWith('*')) return undefined;
  const own = partial.replace(/^\*+/, '');
  const name = [own, ...labels.slice(1)].filter((label) => label !== '').join('.');
  return name === '' || name.includes('*') ? undefined : `*.${name}`;
}

function findInStars(rest: string, labels: readonly string[]): Finding | null {
  const stars = labels.filter((label) => label === '*').length;
  if (stars === 0) return null;
  if (labels.at(-1) === '*') {
    return badPattern('a star cannot stand at the end of a pattern', starredIpv4(rest));
  }
  if (labels.at(-2) === '*') {
    return badPattern('behind a star inside a pattern belong at least two labels');
  }
  if (stars > MOST_INNER_STARS) {
    return badPattern(`a pattern has at most ${MOST_INNER_STARS} stars besides a leading \`*.\``);
  }
  return null;
}

/** What only the whole name shows. A star is as long as the shortest label. */
function findInName(rest: string, suffix: NameReading['suffix']): Finding | null {
  if (endsInNumber(rest)) {
    const hint = suffix === 'exact' ? looseIpv4(rest) : undefined;
    return badPattern('a name whose last label is a number is read as an IP address', hint);
  }
  if (suffix === 'apex-and-below' && rest.startsWith('*.')) {
    return badPattern('a leading dot and a star say the same as the star alone', rest);
  }
  const shortest = (suffix === 'below' ? 2 : 0) + rest.length;
  if (shortest > MAX_HOSTNAME_BYTES) {
    return badPattern(`a name has at most ${MAX_HOSTNAME_BYTES} characters`);
  }
  const example = rest.replaceAll('*', 'x');
  return canonicalHostname(example) === example ? null : badPattern('no host has such a name');
}

function oddCharacterMessage(text: string, index: number): string {
  const character = showCharacter(text, index);
  if (text[index] === ',') return 'one entry holds one host pattern';
  if (text[index] === '!' && index === 0) return 'what is not allowed belongs in a deny list';
  if ('^$()|[]{}\\?'.includes(text[index] ?? '')) {
    return `host patterns are no regular expressions; ${character} means nothing here`;
  }
  return `${character} is in no host name`;
}

function withoutOddCharacter(text: string, index: number): string | undefined {
  if (index !== 0) return undefined;
  if (text.startsWith('!')) return text.slice(1);
  return text.startsWith('+.') ? text.slice(1) : undefined;
}

/** Label by label, so that no mapping can move a dot; undefined if one has no A-label. */
function toALabels(text: string): string | undefined {
  const labels = text.split('.').map((label) => {
    if (/^[\0-\x7f]*$/.test(label)) return label.toLowerCase();
    const ascii = domainToASCII(label);
    return /^[a-z0-9_-]+$/.test(ascii) ? ascii : undefined;
  });
  return labels.includes(undefined) ? undefined : labels.join('.');
}
