import { hashLabel } from './label-hash.ts';
import { NodeTable, ROOT } from './node-table.ts';
import type { AnyPattern, NamePattern } from './pattern.ts';
import { STAR, STAR_HASH } from './star-walk.ts';
import {
  APEX_AND_BELOW,
  BELOW,
  EXACT,
  FLAG_BITS,
  LITERAL_CHILD,
  STAR_CHILD,
  type TerminalKind,
  terminalOf,
} from './terminals.ts';
import { LabelTrie } from './trie.ts';

const TERMINAL_KINDS = EXACT | APEX_AND_BELOW | BELOW;
const MOST_TERMINALS = 2 ** (31 - FLAG_BITS);
/** A place is node × this + kind. */
const PLACES_PER_NODE = 8;

/** Collects name patterns; `seal` makes the trie. Use no builder after that. */
export class TrieBuilder {
  readonly #nodes = new NodeTable();
  /** Star shapes (depth and positions of stars) of the nodes that are reached through a star. */
  readonly #shapes = new Map<number, Set<string>>();

  /** Equal patterns have equal places; the sealed trie turns a place into a terminal. */
  add(pattern: NamePattern | AnyPattern): number {
    if (pattern.kind === 'any') return this.#mark(ROOT, BELOW);
    let node = ROOT;
    let shape = '';
    for (let depth = 0; depth < pattern.labels.length; depth++) {
      const label = pattern.labels[depth] as string;
      node = this.#child(node, label);
      if (label === STAR) shape += `${depth} `;
      if (shape !== '') this.#noteShape(depth, shape);
    }
    return this.#mark(node, kindOf(pattern));
  }

  /** Throws a RangeError beyond 67 million different patterns. */
  seal(): { trie: LabelTrie; terminalOf: (place: number) => number } {
    const nodes = this.#nodes;
    let terminals = 0;
    for (let node = 0; node < nodes.count; node++) {
      const flags = nodes.payloadOf(node);
      nodes.setPayload(node, (terminals << FLAG_BITS) | flags);
      terminals += bitCount(flags & TERMINAL_KINDS);
      if (terminals >= MOST_TERMINALS) throw new RangeError('too many host patterns in one policy');
    }
    nodes.seal();
    return {
      trie: new LabelTrie(nodes, terminals, this.#starWidth()),
      terminalOf: (place) => {
        const kind = place % PLACES_PER_NODE;
        return terminalOf(nodes.payloadOf((place - kind) / PLACES_PER_NODE), kind as TerminalKind);
      },
    };
  }

  #child(parent: number, label: string): number {
    const star = label === STAR;
    const hash = star ? STAR_HASH : hashLabel(label, 0, label.length);
    const child = this.#nodes.find(parent, hash, label, 0, label.length);
    if (child !== 0) return child;
    this.#flag(parent, star ? STAR_CHILD : LITERAL_CHILD);
    return this.#nodes.append(parent, hash, label);
  }

  #mark(node: number, kind: TerminalKind): number {
    this.#flag(node, kind);
    return node * PLACES_PER_NODE + kind;
  }

  #flag(node: number, flag: number): void {
    this.#nodes.setPayload(node, this.#nodes.payloadOf(node) | flag);
  }

  #noteShape(depth: number, shape: string): void {
    const shapes = this.#shapes.get(depth);
    if (shapes === undefined) this.#shapes.set(depth, new Set([shape]));
    else shapes.add(shape);
  }

  /** A host reaches at most one node for each shape. */
  #starWidth(): number {
    let width = 0;
    for (const shapes of this.#shapes.values()) width = Math.max(width, shapes.size);
    return width;
  }
}

function kindOf(pattern: NamePattern): TerminalKind {
  if (pattern.suffix === 'exact') return EXACT;
  return pattern.suffix === 'below' ? BELOW : APEX_AND_BELOW;
}

function bitCount(flags: number): number {
  return (flags & 1) + ((flags >> 1) & 1) + ((flags >> 2) & 1);
}
