import type { Hits } from './hits.ts';
import { hashLabel } from './label-hash.ts';
import type { NodeTable } from './node-table.ts';
import {
  APEX_AND_BELOW,
  BELOW,
  EXACT,
  LITERAL_CHILD,
  STAR_CHILD,
  type TerminalKind,
  terminalOf,
  tierOf,
} from './terminals.ts';

/** The label of a child that stands for exactly one label of any text. No host contains it. */
export const STAR = '*';
export const STAR_HASH = hashLabel(STAR, 0, 1);

/**
 * The nodes of a trie that a walk has reached through one or two stars. Most policies have no
 * such nodes, and most walks reach none.
 */
export class StarWalk {
  active = false;
  readonly #nodes: NodeTable;
  /** Nodes reached through one star, then those through two; and room for the next ones. */
  #reached: Int32Array;
  #next: Int32Array;
  #ones = 0;
  #count = 0;

  /** `width`: most nodes that a walk can reach through stars at one depth. */
  constructor(nodes: NodeTable, width: number) {
    this.#nodes = nodes;
    this.#reached = new Int32Array(width);
    this.#next = new Int32Array(width);
  }

  clear(): void {
    this.active = false;
    this.#ones = 0;
    this.#count = 0;
  }

  /**
   * One label further down. `parent` is the node reached without stars if it has a star child,
   * else -1. The label is `host[start…end)`.
   */
  step(parent: number, hash: number, host: string, start: number, end: number): void {
    const next = this.#next;
    let count = 0;
    if (parent !== -1) next[count++] = this.#nodes.find(parent, STAR_HASH, STAR, 0, 1);
    count = this.#literals(0, this.#ones, count, hash, host, start, end);
    const ones = count;
    for (let i = 0; i < this.#ones; i++) {
      const node = this.#reached[i] as number;
      if ((this.#nodes.payloadOf(node) & STAR_CHILD) === 0) continue;
      next[count++] = this.#nodes.find(node, STAR_HASH, STAR, 0, 1);
    }
    count = this.#literals(this.#ones, this.#count, count, hash, host, start, end);
    this.#next = this.#reached;
    this.#reached = next;
    this.#ones = ones;
    this.#count = count;
    this.active = count > 0;
  }

  /** Adds the suffix terminals, the less specific ones first. */
  collectSuffixes(hits: Hits, depth: number, more: boolean): void {
    for (let stars = 2; stars >= 1; stars--) {
      this.#collect(hits, stars, APEX_AND_BELOW, tierOf(APEX_AND_BELOW, depth, stars));
      if (more) this.#collect(hits, stars, BELOW, tierOf(BELOW, depth, stars));
    }
  }

  collectExact(hits: Hits): void {
    for (let stars = 2; stars >= 1; stars--) {
      this.#collect(hits, stars, EXACT, tierOf(EXACT, 0, stars));
    }
  }

  #literals(
    from: number,
    to: number,
    count: number,
    hash: number,
    host: string,
    start: number,
    end: number,
  ): number {
    let added = count;
    for (let i = from; i < to; i++) {
      const node = this.#reached[i] as number;
      if ((this.#nodes.payloadOf(node) & LITERAL_CHILD) === 0) continue;
      const child = this.#nodes.find(node, hash, host, start, end);
      if (child !== 0) this.#next[added++] = child;
    }
    return added;
  }

  #collect(hits: Hits, stars: number, kind: TerminalKind, tier: number): void {
    const from = stars === 1 ? 0 : this.#ones;
    const to = stars === 1 ? this.#ones : this.#count;
    for (let i = from; i < to; i++) {
      const payload = this.#nodes.payloadOf(this.#reached[i] as number);
      if ((payload & kind) !== 0) hits.prepend(terminalOf(payload, kind), tier);
    }
  }
}
