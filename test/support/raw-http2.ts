import type net from 'node:net';
import { patience, until } from './deadline.ts';

/** RFC 9113 §6. */
export const frameTypes = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Flags of DATA and HEADERS; ACK of SETTINGS and PING is the same bit as END_STREAM. */
export const endStream = 0x1;
export const endHeaders = 0x4;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export type Fields = readonly (readonly [name: string, value: string])[];

/** A table of no entries for the other side's header blocks (RFC 9113 §6.5.2): `statusOf` has none. */
const settings = frame(frameTypes.settings, 0, 0, Buffer.of(0, 1, 0, 0, 0, 0));

/** What a client says before its first frame, with its settings behind it (RFC 9113 §3.4). */
export const preface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), settings]);

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Unsigned 32 bits, as the payload of RST_STREAM and WINDOW_UPDATE. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/**
 * A header block of literals without indexing, names and values Latin-1 as they stand here (RFC 7541
 * §6.2.2): what no library sends can stand in it.
 */
export function block(fields: Fields): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [Buffer.of(0), ...text(name), ...text(value)]),
  );
}

/** One HEADERS frame with all of the block. `end`: the stream ends with it. */
export function headers(stream: number, fields: Fields, end = true): Buffer {
  return frame(frameTypes.headers, endHeaders | (end ? endStream : 0), stream, block(fields));
}

export function data(stream: number, bytes: string | Uint8Array, end = false): Buffer {
  return frame(
    frameTypes.data,
    end ? endStream : 0,
    stream,
    Buffer.from(bytes as string, 'latin1'),
  );
}

/** Length of seven bits and the string (RFC 7541 §5.1, §5.2), no Huffman. */
function text(value: string): Buffer[] {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return [Buffer.of(bytes.length), bytes];
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
  return [Buffer.from([...length, rest]), bytes];
}

/** The `:status` that an answer's header block begins with; 0 if it is none. */
export function statusOf(payload: Buffer): number {
  let at = 0;
  // A change of the table's size (RFC 7541 §6.3).
  while (((payload[at] ?? 0) & 0xe0) === 0x20) at++;
  const first = payload[at] ?? 0;
  if ((first & 0x80) !== 0) return staticStatus[first & 0x7f] ?? 0;
  const length = payload[at + 1] ?? 0;
  const value = payload.subarray(at + 2, at + 2 + (length & 0x7f));
  return Number((length & 0x80) === 0 ? value.toString('latin1') : huffmanDigits(value));
}

/** RFC 7541, Appendix A. */
const staticStatus: Readonly<Record<number, number>> = {
  8: 200,
  9: 204,
  10: 206,
  11: 304,
  12: 400,
  13: 404,
  14: 500,
};

/** RFC 7541, Appendix B: 0, 1 and 2 are five bits, the other digits six. */
function huffmanDigits(bytes: Buffer): string {
  const stream = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  let digits = '';
  for (let at = 0; digits.length < 3; ) {
    const short = Number.parseInt(stream.slice(at, at + 5), 2);
    const long = Number.parseInt(stream.slice(at, at + 6), 2) - 0b011001 + 3;
    digits += short < 3 ? short : long;
    at += short < 3 ? 5 : 6;
  }
  return digits;
}

/** One side of an HTTP/2 connection: writes the frames it is told to, and keeps those that come. */
export class RawHttp2 {
  readonly socket: net.Socket;
  readonly frames: Frame[] = [];
  #rest = Buffer.alloc(0);
  #closed = false;
  /** Bytes before the first frame: the preface of a client. */
  #skip: number;

  /** @param side whose frames are written; a `server` skips the preface that comes first. */
  constructor(socket: net.Socket, side: 'client' | 'server') {
    this.socket = socket;
    this.#skip = side === 'server' ? 24 : 0;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
    });
    socket.on('end', () => {
      this.#closed = true;
    });
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    if (side === 'client') this.write(preface);
    else this.write(settings);
  }

  get closed(): boolean {
    return this.#closed;
  }

  write(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  of(stream: number, type: number): Frame[] {
    return this.frames.filter((one) => one.stream === stream && one.type === type);
  }

  /** The statuses of all heads that came on the stream; 0 for trailers. */
  statuses(stream: number): number[] {
    return this.of(stream, frameTypes.headers).map(({ payload }) => statusOf(payload));
  }

  /** The stream has ended, was reset, or the connection is over; of a stream that is none, the connection alone. */
  isOver(stream: number): boolean {
    return this.#closed || this.#goneAway() || this.frames.some((one) => ends(one, stream));
  }

  async untilOver(stream: number, deadline = patience): Promise<void> {
    await until(
      () => this.isOver(stream),
      () => `stream ${stream} is open: ${JSON.stringify(this.frames.slice(-5))}`,
      deadline,
    );
  }

  #goneAway(): boolean {
    return this.frames.some(({ type }) => type === frameTypes.goAway);
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const skipped = Math.min(this.#skip, this.#rest.length);
    this.#skip -= skipped;
    this.#rest = this.#rest.subarray(skipped);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      this.#take({
        type: this.#rest[3] ?? 0,
        flags: this.#rest[4] ?? 0,
        stream: this.#rest.readUInt32BE(5) & 0x7fffffff,
        payload: Buffer.from(this.#rest.subarray(9, 9 + length)),
      });
      this.#rest = this.#rest.subarray(9 + length);
    }
  }

  #take(one: Frame): void {
    this.frames.push(one);
    if (one.type === frameTypes.settings && (one.flags & 1) === 0) {
      this.write(frame(frameTypes.settings, 1, 0));
    }
  }
}

function ends({ type, flags, stream }: Frame, wanted: number): boolean {
  if (stream !== wanted) return false;
  if (type === frameTypes.reset) return true;
  const carries = type === frameTypes.data || type === frameTypes.headers;
  return carries && (flags & endStream) !== 0;
}
