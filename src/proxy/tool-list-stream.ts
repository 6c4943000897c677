import { type AdmitsTool, filterToolText, mayHoldTools } from './tool-list.ts';

export interface ToolListStreamOptions {
  readonly admits: AdmitsTool;
  /**
   * Bytes that one event may have, and so what is held of it; each of its lines, and each piece in
   * which they come, counts for 64 more. Default 4 MiB.
   */
  readonly longestEvent?: number;
}

/** One line of an event, without and with its end. */
interface Line {
  readonly content: Buffer;
  readonly end: Buffer;
  readonly data: string | null;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const byteOrderMark = Buffer.from('\ufeff');
const nothing = Buffer.alloc(0);

/** What a line, and a piece of one, counts for besides its bytes: many empty ones fill memory too. */
const pieceCost = 64;

/**
 * A `text/event-stream` answer (HTML Living Standard §9.2), with its content coding undone, without the
 * tools that are not admitted. Lines before the first `data` of an event are passed on as they end, so
 * that comments keep connections alive; from there to the blank line the event is held, then passed on
 * byte by byte, or, if it held a list that lost tools, with one `data` line in the place of its own.
 *
 * Data that is not JSON (the `endpoint` event of MCP 2024-11-05) stays as it is. See `filterToolText`
 * for what is refused; so is any other line that looks like a list, because some readers also end lines
 * at U+2028 and the like, or trim them. After a problem the stream is over: it must be cut.
 */
export class ToolListStream {
  readonly #admits: AdmitsTool;
  readonly #longestEvent: number;
  /** What has come of the line that has not ended. */
  #parts: Buffer[] = [];
  /** Lines from the first `data` of the event that has not ended. */
  #held: Line[] = [];
  #size = 0;
  #first = true;
  /** The last byte was a carriage return: a line feed after it belongs to it. */
  #afterReturn = false;

  constructor({ admits, longestEvent = 4 * 1024 * 1024 }: ToolListStreamOptions) {
    this.#admits = admits;
    this.#longestEvent = longestEvent;
  }

  /** @returns what can go on to the client by now, or a sentence about what is wrong. */
  push(chunk: Buffer): Buffer | string {
    const out: Buffer[] = [];
    let at = this.#restOfEnd(chunk, out);
    while (at < chunk.length) {
      const end = endOfLine(chunk, at);
      this.#parts.push(chunk.subarray(at, end));
      this.#size += end - at + pieceCost;
      if (this.#size > this.#longestEvent) return this.#tooLong();
      if (end === chunk.length) break;
      at = end + endLength(chunk, end);
      this.#afterReturn = at === chunk.length && chunk[at - 1] === carriageReturn;
      const problem = this.#line(chunk.subarray(end, at), out);
      if (problem !== null) return problem;
    }
    return Buffer.concat(out);
  }

  /**
   * The stream has ended. An event without its blank line does not count (§9.2.6), but some clients
   * count it: what is left of one is filtered like the others.
   */
  end(): Buffer | string {
    const out: Buffer[] = [];
    const problem = this.#line(nothing, out) ?? this.#finish(out);
    return problem ?? Buffer.concat(out);
  }

  /** The line feed of a line end that was split between two chunks. */
  #restOfEnd(chunk: Buffer, out: Buffer[]): number {
    if (!this.#afterReturn || chunk.length === 0) return 0;
    this.#afterReturn = false;
    if (chunk[0] !== lineFeed) return 0;
    const rest = chunk.subarray(0, 1);
    const last = this.#held.pop();
    if (last === undefined) out.push(rest);
    else this.#held.push({ ...last, end: Buffer.concat([last.end, rest]) });
    return 1;
  }

  #line(end: Buffer, out: Buffer[]): string | null {
    const content = Buffer.concat(this.#parts);
    this.#parts = [];
    const text = this.#textOf(content);
    const data = dataOf(text);
    if (text === '') return this.#blank(content, end, out);
    if (data === null && mayHoldTools(text)) {
      return 'a line of the event stream that is no data may hold a list of tools';
    }
    if (data === null && this.#held.length === 0) {
      out.push(content, end);
      this.#size = 0;
      return null;
    }
    this.#held.push({ content, end, data });
    return null;
  }

  #blank(content: Buffer, end: Buffer, out: Buffer[]): string | null {
    // At the end of the stream nothing ends the event that is held.
    const problem = end.length === 0 ? null : this.#finish(out);
    out.push(content, end);
    return problem;
  }

  /** The event that is held is whole. */
  #finish(out: Buffer[]): string | null {
    const held = this.#held;
    this.#held = [];
    this.#size = 0;
    const text = held.flatMap(({ data }) => data ?? []).join('\n');
    const filtered = filterToolText(text, this.#admits);
    if (typeof filtered === 'string') return `the data of an event ${filtered}`;
    if (filtered === null) for (const { content, end } of held) out.push(content, end);
    else rewrite(held, filtered.text, out);
    return null;
  }

  /** Bytes that are not UTF-8 become U+FFFD, as for every client; a byte order mark counts once. */
  #textOf(content: Buffer): string {
    const marked = this.#first && content.subarray(0, 3).equals(byteOrderMark);
    this.#first = false;
    return content.toString('utf8', marked ? 3 : 0);
  }

  #tooLong(): string {
    return `an event is longer than ${this.#longestEvent} bytes`;
  }
}

/**
 * The event with this data in one line. A carriage return alone does not stay: with lines taken out, a
 * line feed may come to stand behind it, and both together end one line instead of two.
 */
function rewrite(lines: readonly Line[], data: string, out: Buffer[]): void {
  let written = false;
  for (const line of lines) {
    if (line.data !== null && written) continue;
    out.push(line.data === null ? line.content : Buffer.from(`data: ${data}`));
    out.push(line.end.toString() === '\r' ? Buffer.from('\n') : line.end);
    written ||= line.data !== null;
  }
}

/** The value of a `data` field; null if the line is another one. */
function dataOf(line: string): string | null {
  if (line === 'data') return '';
  if (!line.startsWith('data:')) return null;
  return line.slice(line[5] === ' ' ? 6 : 5);
}

/** Index of the byte that ends the line; the chunk's length if none does. */
function endOfLine(chunk: Buffer, from: number): number {
  for (let at = from; at < chunk.length; at++) {
    if (chunk[at] === lineFeed || chunk[at] === carriageReturn) return at;
  }
  return chunk.length;
}

function endLength(chunk: Buffer, at: number): number {
  return chunk[at] === carriageReturn && chunk[at + 1] === lineFeed ? 2 : 1;
}
