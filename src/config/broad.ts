import { getPublicSuffix } from 'tldts';
import type { HostPattern } from '../policy/pattern.ts';
import { privateTopLevel, sharedSuffixes } from './lint-hosts.ts';

const suffixOptions = {
  allowPrivateDomains: true,
  extractHostname: false,
  validateHostname: false,
} as const;

/** Stands for a name that somebody registers; the Public Suffix List has no rule of its own for it. */
const SOMEBODY = 'sallyport-probe';

/**
 * Why a pattern reaches names that anybody can register, as a fragment after "it reaches"; null if
 * it does not. By the Public Suffix List, its private section included.
 */
export function reachOfAnybody(pattern: HostPattern): string | null {
  if (pattern.kind === 'any') return 'every host there is';
  if (pattern.kind === 'cidr') return null;
  const { labels, suffix } = pattern;
  const base = nameOf(labels);
  if (suffix !== 'exact' && isPublicSuffix(base)) return belowSuffix(base);
  // A star in the middle is somebody's own label if a public suffix follows it.
  for (let i = 1; i < labels.length; i++) {
    if (labels[i] !== '*') continue;
    const rest = nameOf(labels.slice(0, i));
    if (isPublicSuffix(rest)) return belowSuffix(rest);
  }
  return null;
}

/** The same by a list of our own as well: suffixes that also hold names of strangers. */
export function reachOfStrangers(pattern: HostPattern): string | null {
  const anybody = reachOfAnybody(pattern);
  if (anybody !== null || pattern.kind !== 'name' || pattern.suffix === 'exact') return anybody;
  const base = nameOf(pattern.labels);
  return isSharedSuffix(base) ? `names below ${base} that belong to strangers` : null;
}

/** In the list as it stands, or with one label as a star there. */
function isSharedSuffix(base: string): boolean {
  if (sharedSuffixes.has(base)) return true;
  const labels = base.split('.');
  return labels.some((_, index) => sharedSuffixes.has(labels.with(index, '*').join('.')));
}

function belowSuffix(base: string): string {
  return `names that anybody can register below ${base}`;
}

/** Labels from right to left → a name. */
function nameOf(labels: readonly string[]): string {
  return labels.toReversed().join('.');
}

/** Also where only a wildcard rule says so: `*.ck` makes every name below `ck` a suffix. */
function isPublicSuffix(name: string): boolean {
  if (privateTopLevel.has(name)) return false;
  const below = `${SOMEBODY}.${name}`;
  return (
    getPublicSuffix(name, suffixOptions) === name || getPublicSuffix(below, suffixOptions) === below
  );
}
