import type { Duplex } from 'node:stream';

/** Most bytes of interim answers that are skipped for one request. */
const maxSkipped = 16_384;
const continuing = /^HTTP\/1\.[01] 100[ \r]/;
const longestStart = 'HTTP/1.1 100 '.length;

/**
 * Keeps `100 Continue` from undici, which takes it for a broken response although a client must
 * be able to skip it (RFC 9110 §15.2): some servers send it to every request with a body. undici
 * reads by `socket.read()`, so that is where the head of each response is looked at.
 */
export class InterimFilter {
  #looking = false;
  #held: Buffer | null = null;
  #skipped = 0;

  /** @param socket nothing of it may have been read yet. */
  constructor(socket: Duplex) {
    const read = socket.read.bind(socket);
    socket.read = (size?: number): Buffer | null => {
      for (;;) {
        const chunk = read(size) as Buffer | null;
        if (chunk === null || !this.#looking) return chunk;
        const passed = this.#look(chunk);
        if (passed !== null) return passed;
      }
    };
  }

  /** A request is on its way: what is read next is the head of its answer. */
  expect(): void {
    this.#looking = true;
    this.#held = null;
    this.#skipped = 0;
  }

  /** What undici may see; null while that is not known. */
  #look(chunk: Buffer): Buffer | null {
    let bytes = this.#held === null ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = null;
    for (;;) {
      const start = bytes.toString('latin1', 0, longestStart);
      const more = start.length < longestStart && isBeginning(start);
      const end = continuing.test(start) ? bytes.indexOf('\r\n\r\n', 0, 'latin1') : 0;
      if ((more || end < 0) && this.#skipped + bytes.length <= maxSkipped) {
        this.#held = bytes.length === 0 ? null : bytes;
        return null;
      }
      if (end <= 0 || this.#skipped > maxSkipped) {
        this.#looking = false;
        return bytes;
      }
      this.#skipped += end + 4;
      bytes = bytes.subarray(end + 4);
    }
  }
}

/** Could these few bytes become `HTTP/1.1 100`? */
function isBeginning(start: string): boolean {
  return 'HTTP/1.1 100'.startsWith(start) || 'HTTP/1.0 100'.startsWith(start);
}
