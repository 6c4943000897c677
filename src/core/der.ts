/** Bytes that are not the DER that belongs there. The message is a phrase: what is wrong with them. */
export class DerError extends Error {
  override readonly name = 'DerError';
}

/** First bytes of elements (X.680 §8.6, X.690 §8.1.2), as certificates use them. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** No certificate and no list that is read here comes near 4 GiB. */
const MAX_LENGTH_BYTES = 4;

/**
 * Reads elements one after the other, as the distinguished encoding rules (X.690 §10) have them:
 * definite lengths in their shortest form, tags of one byte, nothing beyond the end of what surrounds
 * it. Own and small rather than a library's, because it must not accept more than one encoding of a
 * value, must not copy (a revocation list has ten megabytes), and what proves an identity may not
 * depend on how a library shows names as text. Every method throws DerError and leaves no result.
 */
export class DerReader {
  readonly bytes: Buffer;
  #at: number;
  readonly #end: number;
  /** Where the content of the last element began. */
  #content: number;

  /** Reads `bytes` from `start` up to, not including, `end`. */
  constructor(bytes: Buffer, start = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.#at = start;
    this.#content = start;
    this.#end = end;
  }

  get atEnd(): boolean {
    return this.#at === this.#end;
  }

  /** Tag of the next element; -1 at the end. */
  peek(): number {
    return this.#at < this.#end ? (this.bytes[this.#at] as number) : -1;
  }

  /** Offset in `bytes` of the content of the element that was read last, … */
  get contentStart(): number {
    return this.#content;
  }

  /** … and of the first byte behind it. */
  get contentEnd(): number {
    return this.#at;
  }

  /** Steps over an element, which must have this tag. */
  skip(tag: number): void {
    if ((tag & 0x1f) === 0x1f) throw new DerError('a tag of several bytes');
    if (this.peek() !== tag) {
      const found = this.atEnd ? 'the end' : `tag ${hexByte(this.peek())}`;
      throw new DerError(`tag ${hexByte(tag)} belongs where ${found} is`);
    }
    const length = this.#readLength(this.#at + 1);
    if (length > this.#end - this.#content)
      throw new DerError('an element is longer than its place');
    this.#at = this.#content + length;
  }

  /** The content of an element with this tag. */
  read(tag: number): Buffer {
    this.skip(tag);
    return this.bytes.subarray(this.#content, this.#at);
  }

  /** The same, or null if another element, or none, stands here. */
  readOptional(tag: number): Buffer | null {
    return this.peek() === tag ? this.read(tag) : null;
  }

  /** The whole element, tag and length included. */
  readElement(tag: number): Buffer {
    const start = this.#at;
    this.skip(tag);
    return this.bytes.subarray(start, this.#at);
  }

  /** A reader of what is inside an element with this tag. */
  enter(tag: number): DerReader {
    this.skip(tag);
    return new DerReader(this.bytes, this.#content, this.#at);
  }

  /** @throws DerError if anything is left */
  finish(): void {
    if (!this.atEnd) throw new DerError('something stands behind the last element');
  }

  #readLength(at: number): number {
    if (at >= this.#end) throw new DerError('an element ends within its head');
    const first = this.bytes[at] as number;
    this.#content = at + 1;
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > MAX_LENGTH_BYTES)
      throw new DerError('a length in a form that is not DER');
    if (count > this.#end - this.#content) throw new DerError('an element ends within its head');
    const length = this.bytes.readUIntBE(this.#content, count);
    this.#content += count;
    const shortest = length < 0x80 ? 0 : Math.ceil((32 - Math.clz32(length)) / 8);
    if (count !== shortest) throw new DerError('a length that is not in its shortest form');
    return length;
  }
}

/** The one element that `bytes` are, and must be entirely. */
export function enterWhole(bytes: Buffer, tag: number): DerReader {
  const outer = new DerReader(bytes);
  const inner = outer.enter(tag);
  outer.finish();
  return inner;
}

/** The content of the one element that `bytes` are. */
export function readWhole(bytes: Buffer, tag: number): Buffer {
  const outer = new DerReader(bytes);
  const content = outer.read(tag);
  outer.finish();
  return content;
}

/** DER has 00 and FF only; that a default is spelled out, which DER forbids, changes no meaning and is common. */
export function readBoolean(reader: DerReader): boolean {
  const content = reader.read(tags.boolean);
  if (content.length === 1 && (content[0] === 0 || content[0] === 0xff)) return content[0] === 0xff;
  throw new DerError('a truth value that is neither true nor false');
}

/** An object identifier in dots (X.690 §8.19). */
export function readObjectId(reader: DerReader): string {
  const content = reader.read(tags.oid);
  const last = content.at(-1);
  if (last === undefined || last >= 0x80 || content.length > 64) throw badObjectId();
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of content) {
    if (arc === 0n && byte === 0x80) throw badObjectId();
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if (byte >= 0x80) continue;
    arcs.push(arc);
    arc = 0n;
  }
  // The first two arcs share one number: 0 to 2, and below 40 under the first two of these.
  const [both = 0n, ...rest] = arcs;
  const root = both < 80n ? both / 40n : 2n;
  return [root, both - root * 40n, ...rest].join('.');
}

function badObjectId(): DerError {
  return new DerError('an object identifier that is none');
}

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
