import type { Cidr, Ip } from '../core/ip.ts';
import type { Hits } from './hits.ts';
import { maskWord } from './mask-word.ts';

/** The networks of one prefix length, sorted, side by side. */
interface Networks {
  readonly prefix: number;
  /** One word (IPv4) or four (IPv6) a network. */
  readonly words: Uint32Array;
  /** Terminal of the first network; the others follow. */
  readonly firstTerminal: number;
}

/**
 * Sealed networks of both families. A look-up is one binary search for each prefix length that
 * occurs, shortest first, so that the longest prefix ends up in front.
 */
export class CidrTable {
  readonly #networks: Readonly<Record<4 | 6, readonly Networks[]>>;
  readonly #key: number[] = [0, 0, 0, 0];

  /** `cidrs` are unique. Their terminals are numbered from `firstTerminal` on. */
  constructor(cidrs: readonly Cidr[], firstTerminal: number) {
    const sorted = cidrs.toSorted(compareCidrs);
    const v4 = groupByPrefix(sorted, 4, firstTerminal);
    const count4 = sorted.filter((cidr) => cidr.ip.family === 4).length;
    this.#networks = { 4: v4, 6: groupByPrefix(sorted, 6, firstTerminal + count4) };
  }

  /** Bytes of the sealed arrays. */
  get byteLength(): number {
    const all = [...this.#networks[4], ...this.#networks[6]];
    return all.reduce((sum, { words }) => sum + words.byteLength, 0);
  }

  /** Terminals that one address can reach, at most. */
  get mostHits(): number {
    return Math.max(this.#networks[4].length, this.#networks[6].length);
  }

  /** Fills `hits` with the networks that contain `ip`, longest prefix first. */
  match(ip: Ip, hits: Hits): void {
    hits.clear();
    for (const networks of this.#networks[ip.family]) {
      const index = this.#find(networks, ip);
      if (index !== -1) hits.prepend(networks.firstTerminal + index, networks.prefix);
    }
  }

  /** The terminal of a network that is in the table. */
  terminalOf(cidr: Cidr): number {
    for (const networks of this.#networks[cidr.ip.family]) {
      if (networks.prefix !== cidr.prefix) continue;
      const index = this.#find(networks, cidr.ip);
      if (index !== -1) return networks.firstTerminal + index;
    }
    throw new RangeError(`${cidr.text} is not in the table`);
  }

  #find(networks: Networks, ip: Ip): number {
    const width = ip.words.length;
    const key = this.#key;
    for (let i = 0; i < width; i++)
      key[i] = maskWord(ip.words[i] as number, networks.prefix - 32 * i);
    let low = 0;
    let high = networks.words.length / width - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const order = compareAt(networks.words, middle * width, key, width);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}

function groupByPrefix(sorted: readonly Cidr[], family: 4 | 6, firstTerminal: number): Networks[] {
  const groups: Networks[] = [];
  const own = sorted.filter((cidr) => cidr.ip.family === family);
  for (let from = 0; from < own.length; ) {
    const prefix = (own[from] as Cidr).prefix;
    let to = from;
    while (to < own.length && (own[to] as Cidr).prefix === prefix) to++;
    const words = Uint32Array.from(own.slice(from, to).flatMap((cidr) => [...cidr.ip.words]));
    groups.push({ prefix, words, firstTerminal: firstTerminal + from });
    from = to;
  }
  return groups;
}

/** By family, prefix, then address. */
function compareCidrs(a: Cidr, b: Cidr): number {
  if (a.ip.family !== b.ip.family) return a.ip.family - b.ip.family;
  if (a.prefix !== b.prefix) return a.prefix - b.prefix;
  for (let i = 0; i < a.ip.words.length; i++) {
    const difference = (a.ip.words[i] as number) - (b.ip.words[i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

function compareAt(
  words: Uint32Array,
  offset: number,
  key: readonly number[],
  width: number,
): number {
  for (let i = 0; i < width; i++) {
    const difference = (words[offset + i] as number) - (key[i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}
