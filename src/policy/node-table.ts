import { randomInt } from 'node:crypto';

/** Node 0 is the root; it has no label and is no child. */
export const ROOT = 0;

/** Words of one node in `NodeTable.words`. */
const STRIDE = 4;
const PARENT = 0;
const HASH = 1;
const LABEL = 2;
const PAYLOAD = 3;

/** Slots visited until a child is found or known to be missing, at most, once sealed. */
const LONGEST_PROBE = 96;
const SEEDS_PER_SIZE = 4;
/** Slots per node beyond which no better seed is looked for. */
const MOST_SLOTS_PER_NODE = 16;

/**
 * The nodes of a trie of labels, in flat arrays, and one open-addressing table from (parent, label)
 * to child. Takes 16 bytes a node, its label with a length byte, and two to four slots of 4 bytes.
 * Grows while a trie is built; `seal` trims it, and from then on it is only read.
 */
export class NodeTable {
  count = 1;
  #words = new Int32Array(64 * STRIDE);
  /** Each label once per node: a length byte, then its ASCII characters. */
  #labels = new Uint8Array(1024);
  #labelsEnd = 1;
  /** Node numbers; 0 = empty, as the root is nobody's child. */
  #slots = new Int32Array(128);
  #shift = 32 - 7;
  #seed = drawSeed();
  #probeLimit = Number.MAX_SAFE_INTEGER;

  /** The child of `parent` whose label is `text[start…end)` with that hash; 0 if there is none. */
  find(parent: number, hash: number, text: string, start: number, end: number): number {
    const slots = this.#slots;
    const words = this.#words;
    const mask = slots.length - 1;
    let slot = this.#slotOf(parent, hash);
    for (let left = this.#probeLimit; left > 0; left--, slot = (slot + 1) & mask) {
      const node = slots[slot] as number;
      if (node === 0) return 0;
      const at = node * STRIDE;
      if (words[at + HASH] !== hash || words[at + PARENT] !== parent) continue;
      if (this.#sameLabel(words[at + LABEL] as number, text, start, end)) return node;
    }
    return 0;
  }

  /** Adds a child that `find` does not find. Returns its number. `label` is ASCII, 1–63 characters. */
  append(parent: number, hash: number, label: string): number {
    if (2 * this.count >= this.#slots.length) this.#rehash(this.#slots.length * 2);
    const node = this.count++;
    const at = node * STRIDE;
    if (at + STRIDE > this.#words.length) this.#words = doubled(this.#words);
    this.#words[at + PARENT] = parent;
    this.#words[at + HASH] = hash;
    this.#words[at + LABEL] = this.#storeLabel(label);
    this.#insert(node);
    return node;
  }

  /** A number of the trie's own, 0 until set. */
  payloadOf(node: number): number {
    return this.#words[node * STRIDE + PAYLOAD] as number;
  }

  setPayload(node: number, payload: number): void {
    this.#words[node * STRIDE + PAYLOAD] = payload;
  }

  /** Gives spare room back and draws seeds until no probe is longer than `LONGEST_PROBE`. */
  seal(): void {
    this.#words = this.#words.slice(0, this.count * STRIDE);
    this.#labels = this.#labels.slice(0, this.#labelsEnd);
    let size = this.#slots.length;
    let probe = this.#longestProbe();
    for (let tries = 1; probe > LONGEST_PROBE; tries++) {
      if (tries % SEEDS_PER_SIZE === 0) size *= 2;
      // Children of one parent with equal hashes collide under every seed.
      if (size > MOST_SLOTS_PER_NODE * this.count) break;
      this.#rehash(size);
      probe = this.#longestProbe();
    }
    this.#probeLimit = probe;
  }

  /** Bytes of all arrays. */
  get byteLength(): number {
    return this.#words.byteLength + this.#labels.byteLength + this.#slots.byteLength;
  }

  #slotOf(parent: number, hash: number): number {
    return Math.imul(hash ^ Math.imul(parent, 0x9e3779b1), this.#seed) >>> this.#shift;
  }

  #sameLabel(offset: number, text: string, start: number, end: number): boolean {
    const labels = this.#labels;
    if (labels[offset] !== end - start) return false;
    for (let at = start, byte = offset + 1; at < end; at++, byte++) {
      if (labels[byte] !== text.charCodeAt(at)) return false;
    }
    return true;
  }

  #storeLabel(label: string): number {
    const offset = this.#labelsEnd;
    while (offset + 1 + label.length > this.#labels.length) this.#labels = doubled(this.#labels);
    this.#labels[offset] = label.length;
    for (let i = 0; i < label.length; i++) this.#labels[offset + 1 + i] = label.charCodeAt(i);
    this.#labelsEnd = offset + 1 + label.length;
    return offset;
  }

  #insert(node: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = this.#homeOf(node);
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = node;
  }

  #homeOf(node: number): number {
    const at = node * STRIDE;
    return this.#slotOf(this.#words[at + PARENT] as number, this.#words[at + HASH] as number);
  }

  #rehash(size: number): void {
    this.#slots = new Int32Array(size);
    this.#shift = 32 - Math.log2(size);
    this.#seed = drawSeed();
    for (let node = 1; node < this.count; node++) this.#insert(node);
  }

  #longestProbe(): number {
    const mask = this.#slots.length - 1;
    let longest = 0;
    for (let slot = 0; slot <= mask; slot++) {
      const node = this.#slots[slot] as number;
      if (node === 0) continue;
      longest = Math.max(longest, ((slot - this.#homeOf(node)) & mask) + 1);
    }
    return longest;
  }
}

function doubled<A extends Int32Array | Uint8Array>(array: A): A {
  const grown =
    array instanceof Int32Array
      ? new Int32Array(array.length * 2)
      : new Uint8Array(array.length * 2);
  grown.set(array);
  return grown as A;
}

/** An odd int32. */
function drawSeed(): number {
  return randomInt(0x80000000) | 1;
}
