import { headEnd } from './wire.ts';

/** Collects one HTTP answer that says its length. */
export class AnswerReader {
  #text = '';
  /** Characters, once the head is there. */
  #length = Number.POSITIVE_INFINITY;

  /** What has come so far, as Latin-1. */
  get text(): string {
    return this.#text;
  }

  /** The three digits. */
  get status(): string {
    return this.#text.slice(9, 12);
  }

  get whole(): boolean {
    return this.#text.length >= this.#length;
  }

  /** True once the answer is whole. */
  push(chunk: Buffer): boolean {
    this.#text += chunk.toString('latin1');
    if (this.#length === Number.POSITIVE_INFINITY) this.#length = lengthOf(this.#text);
    return this.whole;
  }
}

/** Of head and body; Infinity while the head is not whole, or if it names no length. */
function lengthOf(text: string): number {
  const end = text.indexOf(headEnd);
  if (end === -1) return Number.POSITIVE_INFINITY;
  const body = /^content-length: *(\d+)\r?$/imu.exec(text.slice(0, end))?.[1];
  if (body === undefined) return Number.POSITIVE_INFINITY;
  return end + headEnd.length + Number(body);
}
