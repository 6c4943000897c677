/** No slot of the table, as no serial number stands at the very beginning of a list. */
const EMPTY = 0;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * Serial numbers where they stand in a revocation list: eight bytes for each beside the list itself,
 * one step to find one. The list is signed by its authority, so that nobody chooses numbers to
 * collide.
 */
export class SerialSet {
  readonly size: number;
  readonly #bytes: Buffer;
  /** Offsets of contents in `#bytes`; open addressing, half of it empty. */
  readonly #slots: Uint32Array;
  readonly #mask: number;

  /**
   * @param offsets where the content of an INTEGER of at most 20 bytes begins; its length stands
   * before it in one byte
   */
  constructor(bytes: Buffer, offsets: readonly number[]) {
    this.#bytes = bytes;
    this.size = offsets.length;
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(offsets.length * 2 + 2)));
    this.#mask = this.#slots.length - 1;
    for (const offset of offsets) this.#slots[this.#slotOf(this.#at(offset))] = offset;
  }

  /** @param serial lower-case hexadecimal digits, two for each byte, as `serialText` writes them */
  has(serial: string): boolean {
    // An INTEGER is signed: a number whose first bit is set has a zero before it.
    const content = Buffer.from(serial >= '8' ? `00${serial}` : serial, 'hex');
    return this.#slots[this.#slotOf(content)] !== EMPTY;
  }

  /** The slot that holds this number, or in which it would go. */
  #slotOf(content: Buffer): number {
    let slot = hashOf(content) & this.#mask;
    for (;;) {
      const offset = this.#slots[slot] as number;
      if (offset === EMPTY || this.#at(offset).equals(content)) return slot;
      slot = (slot + 1) & this.#mask;
    }
  }

  #at(offset: number): Buffer {
    return this.#bytes.subarray(offset, offset + (this.#bytes[offset - 1] as number));
  }
}

/** FNV-1a of 32 bits. */
function hashOf(content: Buffer): number {
  let hash = FNV_OFFSET;
  for (const byte of content) hash = Math.imul(hash ^ byte, FNV_PRIME);
  return hash >>> 0;
}
