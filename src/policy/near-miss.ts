import { type Ip, parseCidr, samePrefix } from '../core/ip.ts';
import { distanceWithin } from './edit-distance.ts';
import type { Miss } from './nearest.ts';

/** More different letters are no misspelling. */
const MOST_LETTERS = 2;
/** Among shorter names everything is two letters away. */
const SHORTEST_NAME = 5;

/** Distances by kind; a misspelling adds its letters. */
const WRONG_DEPTH = 0;
const MISSPELT = 10;
const SAME_DOMAIN = 20;

/** Addresses that share these leading bits are neighbours. */
const NEIGHBOUR_BITS = { 4: 16, 6: 32 } as const;

/** How a name pattern that does not cover `host` almost does; null if it is far away, or no name's. */
export function missedName(pattern: string, host: string): Miss | null {
  if (pattern === '*' || pattern.includes('/') || pattern.includes(':')) return null;
  const below = pattern.startsWith('*.');
  const name = pattern.slice(below ? 2 : Number(pattern.startsWith('.')));
  if (below && host === name) {
    return miss(WRONG_DEPTH, `\`${pattern}\` does not cover the apex; write \`.${name}\``);
  }
  if (name === pattern && isBelow(host, name)) {
    return miss(WRONG_DEPTH, `\`${name}\` covers no names below it; write \`*.${name}\``);
  }
  return misspelt(pattern, name, host) ?? sameDomain(name, host);
}

/** How a network pattern that does not contain `ip` almost does. */
export function missedAddress(pattern: string, ip: Ip): Miss | null {
  const cidr = parseCidr(pattern);
  if (cidr === null || cidr.ip.family !== ip.family) return null;
  const bits = Math.min(NEIGHBOUR_BITS[ip.family], cidr.prefix);
  if (!samePrefix(cidr.ip.words, ip.words, bits)) return null;
  return miss(SAME_DOMAIN, `${ip.text} is not in ${pattern}`);
}

function misspelt(pattern: string, name: string, host: string): Miss | null {
  if (name.length < SHORTEST_NAME) return null;
  const compared = name === pattern ? host : lastLabels(host, labelCount(name));
  if (sameButLastLabel(compared, name)) {
    const end = name.slice(name.lastIndexOf('.'));
    return miss(MISSPELT, `it ends in \`${end}\`: ${pattern}`);
  }
  const letters = distanceWithin(compared, name, MOST_LETTERS);
  if (letters > MOST_LETTERS) return null;
  return miss(MISSPELT + letters, `${letters} letter${letters === 1 ? '' : 's'} away: ${pattern}`);
}

/** The last two labels are equal: most likely the same owner, and enough for a hint. */
function sameDomain(name: string, host: string): Miss | null {
  const domain = lastLabels(name, 2);
  if (domain === name || !domain.includes('.')) return null;
  if (host !== domain && !isBelow(host, domain)) return null;
  const star = name.includes('*') ? '; `*` is exactly one label' : '';
  return miss(SAME_DOMAIN, `it covers other names of ${domain}${star}`);
}

function sameButLastLabel(a: string, b: string): boolean {
  const end = a.lastIndexOf('.');
  return end !== -1 && end === b.lastIndexOf('.') && a.startsWith(b.slice(0, end));
}

function isBelow(host: string, name: string): boolean {
  return host.endsWith(name) && host[host.length - name.length - 1] === '.';
}

function miss(distance: number, why: string): Miss {
  return { distance, why };
}

function labelCount(name: string): number {
  return name.split('.').length;
}

function lastLabels(name: string, count: number): string {
  let start = name.length;
  for (let label = 0; label < count; label++) {
    start = name.lastIndexOf('.', start - 1);
    if (start === -1) return name;
  }
  return name.slice(start + 1);
}
