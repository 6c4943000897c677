import type { Hits } from './hits.ts';
import { addToHash, EMPTY_HASH, hashLabel } from './label-hash.ts';
import { type NodeTable, ROOT } from './node-table.ts';

/** Bits of a node's payload; the number of its first terminal stands above them. */
export const EXACT = 1;
export const APEX_AND_BELOW = 2;
export const BELOW = 4;
export const LITERAL_CHILD = 8;
export const STAR_CHILD = 16;
export const FLAG_BITS = 5;

export type TerminalKind = typeof EXACT | typeof APEX_AND_BELOW | typeof BELOW;

/** The label of a child that stands for exactly one label of any text. No host contains it. */
export const STAR = '*';
export const STAR_HASH = hashLabel(STAR, 0, 1);

/** One-label stars that one pattern may have. */
export const MOST_STARS = 2;
/** A name has 253 characters: at most 127 labels. */
const MOST_LABELS = 127;

const DOT = 0x2e;

/** Number of the terminal of this kind at a node with this payload. The kind must be there. */
export function terminalOf(payload: number, kind: TerminalKind): number {
  const first = payload >>> FLAG_BITS;
  if (kind === EXACT) return first;
  const afterExact = first + (payload & EXACT);
  return kind === APEX_AND_BELOW ? afterExact : afterExact + ((payload & APEX_AND_BELOW) >> 1);
}

/**
 * A sealed trie over the labels of names, from right to left. A node has up to three terminals:
 * the name itself, the name and all below, all below. Walking is iterative and takes time linear
 * in the length of the host, times the number of star shapes in the policy.
 */
export class LabelTrie {
  readonly terminalCount: number;
  readonly #nodes: NodeTable;
  /** Nodes reached with the labels read so far, those with fewer stars first; and the next ones. */
  #reached: Int32Array;
  #next: Int32Array;
  /** `ends[s]`: end of the nodes with at most s stars in `reached` and `next`. */
  #reachedEnds = new Int32Array(MOST_STARS + 1);
  #nextEnds = new Int32Array(MOST_STARS + 1);

  /** `width`: most nodes that one host can reach at one depth. */
  constructor(nodes: NodeTable, terminalCount: number, width: number) {
    this.#nodes = nodes;
    this.terminalCount = terminalCount;
    this.#reached = new Int32Array(width);
    this.#next = new Int32Array(width);
  }

  /** Terminals that one host can reach, at most. */
  get mostHits(): number {
    return (MOST_LABELS + 1) * 2 * this.#reached.length + this.#reached.length;
  }

  /**
   * Fills `hits` with the terminals whose pattern covers `host`. The order is the contract's: exact
   * before one-label star before longer suffix before shorter, then fewer stars, then `*.x` before
   * `.x`. `host` must be canonical; one with an empty label on the way reaches nothing.
   */
  match(host: string, hits: Hits): void {
    hits.clear();
    this.#reached[0] = ROOT;
    this.#reachedEnds.fill(1);
    if (host === '' || host.length > 2 * MOST_LABELS) return;
    this.#collect(hits, 0, BELOW);
    let end = host.length;
    for (let depth = 1; depth <= MOST_LABELS; depth++) {
      let hash = EMPTY_HASH;
      let start = end;
      for (; start > 0; start--) {
        const code = host.charCodeAt(start - 1);
        if (code === DOT) break;
        hash = addToHash(hash, code);
      }
      if (start === end) {
        hits.clear();
        return;
      }
      if (!this.#step(hash, host, start, end)) return;
      if (start === 0) {
        this.#collect(hits, depth, APEX_AND_BELOW);
        this.#collectExact(hits);
        return;
      }
      this.#collect(hits, depth, APEX_AND_BELOW | BELOW);
      end = start - 1;
    }
    hits.clear();
  }

  /** Bytes of the sealed arrays. */
  get byteLength(): number {
    return this.#nodes.byteLength + this.#reached.byteLength + this.#next.byteLength;
  }

  /** One label further down. False if no pattern goes on. */
  #step(hash: number, host: string, start: number, end: number): boolean {
    const nodes = this.#nodes;
    const reached = this.#reached;
    const next = this.#next;
    let count = 0;
    for (let stars = 0; stars <= MOST_STARS; stars++) {
      const from = stars === 0 ? 0 : (this.#reachedEnds[stars - 1] as number);
      const to = this.#reachedEnds[stars] as number;
      for (let i = from; i < to; i++) {
        const node = reached[i] as number;
        if ((nodes.payloadOf(node) & LITERAL_CHILD) === 0) continue;
        const child = nodes.find(node, hash, host, start, end);
        if (child !== 0) next[count++] = child;
      }
      if (stars > 0) count = this.#stepByStar(stars - 1, count);
      this.#nextEnds[stars] = count;
    }
    this.#reached = next;
    this.#next = reached;
    const ends = this.#reachedEnds;
    this.#reachedEnds = this.#nextEnds;
    this.#nextEnds = ends;
    return count > 0;
  }

  /** Adds the star children of the nodes with `stars` stars to `next`. Returns its new count. */
  #stepByStar(stars: number, count: number): number {
    const from = stars === 0 ? 0 : (this.#reachedEnds[stars - 1] as number);
    const to = this.#reachedEnds[stars] as number;
    let added = count;
    for (let i = from; i < to; i++) {
      const node = this.#reached[i] as number;
      if ((this.#nodes.payloadOf(node) & STAR_CHILD) === 0) continue;
      this.#next[added++] = this.#nodes.find(node, STAR_HASH, STAR, 0, 1);
    }
    return added;
  }

  /** Prepends the suffix terminals at this depth; tiers: depth, stars, kind. */
  #collect(hits: Hits, depth: number, kinds: number): void {
    for (let stars = MOST_STARS; stars >= 0; stars--) {
      const tier = (depth * (MOST_STARS + 1) + stars) * 2;
      if ((kinds & APEX_AND_BELOW) !== 0) this.#collectKind(hits, stars, APEX_AND_BELOW, tier);
      if ((kinds & BELOW) !== 0) this.#collectKind(hits, stars, BELOW, tier + 1);
    }
  }

  #collectExact(hits: Hits): void {
    for (let stars = MOST_STARS; stars >= 0; stars--) {
      this.#collectKind(hits, stars, EXACT, -1 - stars);
    }
  }

  #collectKind(hits: Hits, stars: number, kind: TerminalKind, tier: number): void {
    const from = stars === 0 ? 0 : (this.#reachedEnds[stars - 1] as number);
    const to = this.#reachedEnds[stars] as number;
    for (let i = from; i < to; i++) {
      const payload = this.#nodes.payloadOf(this.#reached[i] as number);
      if ((payload & kind) !== 0) hits.prepend(terminalOf(payload, kind), tier);
    }
  }
}
