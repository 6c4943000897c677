import { type ClientHello, parseHelloBody } from './hello-message.ts';

/** `not_tls` as soon as a byte cannot belong to a ClientHello; `malformed` if its inside does not add up. */
export type HelloError = 'not_tls' | 'too_large' | 'malformed';

export type HelloResult =
  | { readonly state: 'more' }
  | {
      readonly state: 'hello';
      readonly hello: ClientHello;
      /** Bytes of the records that carry the hello; what was pushed beyond belongs to the tunnel. */
      readonly length: number;
    }
  | { readonly state: 'error'; readonly error: HelloError };

export interface HelloOptions {
  /**
   * The second hello, after a HelloRetryRequest: one that a change_cipher_spec (RFC 8446 §D.4) or
   * early data that the server will skip (§4.2.10) may precede.
   */
  readonly afterRetry?: boolean;
}

const CHANGE_CIPHER_SPEC = 0x14;
const HANDSHAKE = 0x16;
const APPLICATION_DATA = 0x17;
const CLIENT_HELLO = 1;

const RECORD_HEADER = 5;
const MESSAGE_HEADER = 4;
/** RFC 8446 §5.1: a record carries 1 to 2^14 bytes of plaintext; zero is illegal for handshake data. */
const MAX_RECORD = 16_384;
/** Longest hello body. The largest of real clients (hybrid key share, ticket, ECH) stay below 4 KiB. */
const MAX_BODY = 16_384;
/** Longest hello on the wire: the body and some hundred record headers. */
const MAX_RAW = 20_480;

const more: HelloResult = { state: 'more' };
const notTls: HelloResult = { state: 'error', error: 'not_tls' };
const tooLarge: HelloResult = { state: 'error', error: 'too_large' };
const malformed: HelloResult = { state: 'error', error: 'malformed' };

/**
 * Collects the first bytes of a TLS client until its ClientHello is whole, over any number of
 * segments and records (RFC 8446 §5.1), and reads it. Pure apart from what it holds: at most 20 KiB
 * and one chunk. Never throws; all work together is linear in the bytes pushed, also byte by byte.
 */
export class ClientHelloParser {
  readonly #afterRetry: boolean;
  /** Room for what was pushed, `#length` bytes of it in use. The first chunk is borrowed, not copied. */
  #held: Buffer = Buffer.alloc(0);
  #length = 0;
  #borrowed = true;
  /** Where in `#held` the record begins that is being read. */
  #record = 0;
  /** Pairs of start and end in `#held`: payloads of the records before it. */
  readonly #spans: number[] = [];
  #collected = 0;
  /** Header and body of the handshake message, bytes; 0 while unknown. */
  #expected = 0;
  #result: HelloResult = more;

  constructor(options: HelloOptions = {}) {
    this.#afterRetry = options.afterRetry ?? false;
  }

  /** Everything pushed until now, the hello and what came with it: what goes upstream once it is accepted. */
  get bytes(): Buffer {
    return this.#held.subarray(0, this.#length);
  }

  /**
   * Takes the next bytes of the client. The caller must not change `chunk` afterwards. A result
   * other than `more` is final: later chunks are not kept and change nothing.
   */
  push(chunk: Buffer): HelloResult {
    if (this.#result !== more) return this.#result;
    this.#hold(chunk);
    this.#result = this.#advance();
    return this.#result;
  }

  #hold(chunk: Buffer): void {
    if (this.#length === 0) {
      this.#held = chunk;
      this.#length = chunk.length;
      return;
    }
    const length = this.#length + chunk.length;
    if (this.#borrowed || length > this.#held.length) {
      const room = Buffer.allocUnsafe(Math.max(2 * length, 1024));
      this.#held.copy(room, 0, 0, this.#length);
      this.#held = room;
      this.#borrowed = false;
    }
    chunk.copy(this.#held, this.#length);
    this.#length = length;
  }

  /** Reads record after record until one is incomplete or the hello is whole. */
  #advance(): HelloResult {
    for (;;) {
      const problem = this.#checkHeader();
      if (problem !== null) return problem;
      const start = this.#record + RECORD_HEADER;
      if (this.#length < start) return more;
      const end = start + this.#held.readUInt16BE(start - 2);
      if (end > MAX_RAW) return tooLarge;
      if (this.#held[this.#record] === HANDSHAKE) {
        const result = this.#readFragment(start, end);
        if (result !== null) return result;
      } else if (this.#length < end) {
        return more;
      }
      this.#record = end;
    }
  }

  /** Judges as much of a record's header as is there: the first wrong byte decides. */
  #checkHeader(): HelloResult | null {
    const at = this.#record;
    const there = this.#length - at;
    if (there >= 1 && !this.#mayBegin(this.#held[at] as number)) return notTls;
    if (there >= 2 && this.#held[at + 1] !== 3) return notTls;
    if (there < RECORD_HEADER) return null;
    const length = this.#held.readUInt16BE(at + 3);
    return length === 0 || length > MAX_RECORD ? notTls : null;
  }

  #mayBegin(type: number): boolean {
    if (type === HANDSHAKE) return true;
    const canBeSkipped = type === CHANGE_CIPHER_SPEC || type === APPLICATION_DATA;
    return canBeSkipped && this.#afterRetry && this.#collected === 0;
  }

  /** Null if the record is whole and the message goes on in the next one. */
  #readFragment(start: number, end: number): HelloResult | null {
    const there = Math.min(end, this.#length);
    if (this.#expected === 0) {
      const problem = this.#readMessageHeader(start, there);
      if (problem !== null) return problem;
    }
    // Nothing may stand behind a ClientHello in its record: the keys could change there (§5.1).
    if (this.#expected !== 0 && this.#collected + end - start > this.#expected) return malformed;
    if (this.#length < end) return more;
    this.#spans.push(start, end);
    this.#collected += end - start;
    return this.#collected === this.#expected ? this.#finish(end) : null;
  }

  /** Type and length of the message, as early as its four bytes are there. */
  #readMessageHeader(start: number, there: number): HelloResult | null {
    const head =
      this.#collected === 0 ? this.#held.subarray(start, there) : this.#join(start, there);
    if (head.length >= 1 && head[0] !== CLIENT_HELLO) return notTls;
    if (head.length < MESSAGE_HEADER) return null;
    const length = head.readUIntBE(1, 3);
    if (length > MAX_BODY) return tooLarge;
    this.#expected = MESSAGE_HEADER + length;
    return null;
  }

  #finish(end: number): HelloResult {
    const message =
      this.#spans.length === 2 ? this.#held.subarray(...this.#firstSpan()) : this.#join(end, end);
    const hello = parseHelloBody(message.subarray(MESSAGE_HEADER));
    return hello === null ? malformed : { state: 'hello', hello, length: end };
  }

  #firstSpan(): [number, number] {
    return [this.#spans[0] as number, this.#spans[1] as number];
  }

  /** The payloads collected so far and the bytes from `start` to `end`, in one piece. */
  #join(start: number, end: number): Buffer {
    const parts: Buffer[] = [];
    for (let i = 0; i < this.#spans.length; i += 2) {
      parts.push(this.#held.subarray(this.#spans[i], this.#spans[i + 1]));
    }
    parts.push(this.#held.subarray(start, end));
    return Buffer.concat(parts);
  }
}
