import { cidrContains, type Ip, samePrefix } from '../core/ip.ts';
import type { CidrPattern, HostPattern, NamePattern } from './pattern.ts';

/**
 * Does the pattern cover this target? The same answer as the sealed index gives, for one pattern
 * that is in no index.
 *
 * @param ip the target if it is an IP literal, IPv4-mapped ones as IPv4; names cover no address
 */
export function covers(pattern: HostPattern, host: string, ip: Ip | null): boolean {
  if (pattern.kind === 'cidr') return ip !== null && cidrContains(pattern.cidr, ip);
  if (ip !== null) return false;
  return pattern.kind === 'any' || coversLabels(pattern, host.split('.'));
}

/** The pattern of exactly the hosts that both cover; null if there are none. */
export function meet(a: HostPattern, b: HostPattern): HostPattern | null {
  if (a.kind === 'cidr' || b.kind === 'cidr') {
    return a.kind === 'cidr' && b.kind === 'cidr' ? meetRanges(a, b) : null;
  }
  if (a.kind === 'any') return b;
  if (b.kind === 'any') return a;
  return a.labels.length < b.labels.length ? meetNames(b, a) : meetNames(a, b);
}

/** `labels` in the order of the name. */
function coversLabels(pattern: NamePattern, labels: readonly string[]): boolean {
  const extra = labels.length - pattern.labels.length;
  if (extra < (pattern.suffix === 'below' ? 1 : 0)) return false;
  if (pattern.suffix === 'exact' && extra > 0) return false;
  return pattern.labels.every((label, index) => {
    return label === '*' || label === labels[labels.length - 1 - index];
  });
}

function meetRanges(a: CidrPattern, b: CidrPattern): CidrPattern | null {
  const [wide, narrow] = a.cidr.prefix <= b.cidr.prefix ? [a, b] : [b, a];
  if (wide.cidr.ip.family !== narrow.cidr.ip.family) return null;
  return samePrefix(wide.cidr.ip.words, narrow.cidr.ip.words, wide.cidr.prefix) ? narrow : null;
}

/** `long` has at least as many labels as `short`. */
function meetNames(long: NamePattern, short: NamePattern): NamePattern | null {
  const suffix = meetSuffixes(long, short);
  if (suffix === null) return null;
  const labels: string[] = [];
  for (const [index, label] of long.labels.entries()) {
    const other = short.labels[index] ?? '*';
    if (label !== '*' && other !== '*' && label !== other) return null;
    labels.push(label === '*' ? other : label);
  }
  const lead = { exact: '', below: '*.', 'apex-and-below': '.' }[suffix];
  return { kind: 'name', text: lead + labels.toReversed().join('.'), labels, suffix };
}

function meetSuffixes(long: NamePattern, short: NamePattern): NamePattern['suffix'] | null {
  if (long.labels.length > short.labels.length) {
    return short.suffix === 'exact' ? null : long.suffix;
  }
  if (long.suffix === short.suffix || short.suffix === 'apex-and-below') return long.suffix;
  return long.suffix === 'apex-and-below' ? short.suffix : null;
}
