import type { Hits } from './hits.ts';
import { addToHash, EMPTY_HASH } from './label-hash.ts';
import { type NodeTable, ROOT } from './node-table.ts';
import { StarWalk } from './star-walk.ts';
import {
  APEX_AND_BELOW,
  BELOW,
  EXACT,
  LITERAL_CHILD,
  STAR_CHILD,
  terminalOf,
  tierOf,
} from './terminals.ts';

/** A name has 253 characters: at most 127 labels. */
const MOST_LABELS = 127;
const LONGEST_HOST = 253;
/** No node: the walk without stars has ended. The root is nobody's child. */
const NOWHERE = 0;

const DOT = 0x2e;

/**
 * A sealed trie over the labels of names, from right to left. A node has up to three terminals:
 * the name itself, the name and all below, all below. Walking is iterative, allocates nothing and
 * takes time linear in the length of the host, times the number of star shapes in the policy.
 */
export class LabelTrie {
  readonly terminalCount: number;
  /** Terminals that one host can reach, at most. */
  readonly mostHits: number;
  readonly #nodes: NodeTable;
  readonly #stars: StarWalk;

  /** `starWidth`: most nodes that one host can reach through stars at one depth. */
  constructor(nodes: NodeTable, terminalCount: number, starWidth: number) {
    this.#nodes = nodes;
    this.#stars = new StarWalk(nodes, starWidth);
    this.terminalCount = terminalCount;
    this.mostHits = (starWidth + 1) * (2 * (MOST_LABELS + 1) + 1);
  }

  /**
   * Fills `hits` with the terminals whose pattern covers `host`. The order is the contract's: exact
   * before one-label star before longer suffix before shorter, then fewer stars, then `*.x` before
   * `.x`. `host` must be canonical; one with an empty label on the way reaches nothing.
   */
  match(host: string, hits: Hits): void {
    hits.clear();
    if (host === '' || host.length > LONGEST_HOST) return;
    const nodes = this.#nodes;
    const stars = this.#stars;
    stars.clear();
    let payload = nodes.payloadOf(ROOT);
    let node = ROOT;
    if ((payload & BELOW) !== 0) hits.prepend(terminalOf(payload, BELOW), tierOf(BELOW, 0, 0));
    let end = host.length;
    for (let depth = 1; end > 0; depth++) {
      let hash = EMPTY_HASH;
      let start = end;
      for (; start > 0; start--) {
        const code = host.charCodeAt(start - 1);
        if (code === DOT) break;
        hash = addToHash(hash, code);
      }
      if (start === end || start === 1) return hits.clear();
      const starParent = (payload & STAR_CHILD) === 0 ? -1 : node;
      if (stars.active || starParent !== -1) stars.step(starParent, hash, host, start, end);
      node = (payload & LITERAL_CHILD) === 0 ? NOWHERE : nodes.find(node, hash, host, start, end);
      if (node === NOWHERE && !stars.active) return;
      payload = node === NOWHERE ? 0 : nodes.payloadOf(node);
      this.#collect(hits, depth, payload, start > 0);
      end = start - 1;
    }
  }

  /** Bytes of the sealed arrays. */
  get byteLength(): number {
    return this.#nodes.byteLength;
  }

  /** Prepends the terminals of this depth; `more`: labels are left. */
  #collect(hits: Hits, depth: number, payload: number, more: boolean): void {
    const starred = this.#stars.active;
    if (starred) this.#stars.collectSuffixes(hits, depth, more);
    if ((payload & APEX_AND_BELOW) !== 0) {
      hits.prepend(terminalOf(payload, APEX_AND_BELOW), tierOf(APEX_AND_BELOW, depth, 0));
    }
    if (more) {
      if ((payload & BELOW) === 0) return;
      hits.prepend(terminalOf(payload, BELOW), tierOf(BELOW, depth, 0));
      return;
    }
    if (starred) this.#stars.collectExact(hits);
    if ((payload & EXACT) !== 0) hits.prepend(terminalOf(payload, EXACT), tierOf(EXACT, depth, 0));
  }
}
