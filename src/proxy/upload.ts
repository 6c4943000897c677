import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

/**
 * The body of a client's request, as undici reads it. undici destroys the body of a request that
 * fails, and a destroyed IncomingMessage takes the client's socket with it, answer and all: this
 * stands in between. Once destroyed it lets the client send the rest into nowhere.
 *
 * Who pauses whom: what undici does not take at once stops the request until it asks for more.
 */
export class Upload extends Readable {
  readonly #request: IncomingMessage;

  /** @param counted is told of every chunk, in bytes, before it is passed on. */
  constructor(request: IncomingMessage, counted: (bytes: number) => void) {
    super();
    this.#request = request;
    request.on('data', (chunk: Buffer) => {
      if (this.destroyed) return;
      counted(chunk.length);
      if (!this.destroyed && !this.push(chunk)) request.pause();
    });
    request.on('end', () => this.push(null));
    request.on('error', () => {});
    request.on('close', () => {
      if (!request.complete) this.destroy(new Error('the client went away in its body'));
    });
  }

  override _read(): void {
    this.#request.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#request.resume();
    done(error);
  }
}
