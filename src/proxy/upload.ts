import { Readable } from 'node:stream';
import type { Inbound } from './inbound.ts';

/**
 * The body of a client's request, as undici reads it. undici destroys the body of a request that
 * fails, and a destroyed IncomingMessage takes the client's socket with it, answer and all: this
 * stands in between. Once destroyed it lets the client send the rest into nowhere.
 *
 * Who pauses whom: what undici does not take at once stops the request until it asks for more.
 */
export class Upload extends Readable {
  readonly #body: Readable;

  /** @param counted is told of every chunk, in bytes, before it is passed on. */
  constructor(inbound: Inbound, counted: (bytes: number) => void) {
    super();
    const { body } = inbound;
    this.#body = body;
    body.on('data', (chunk: Buffer) => {
      if (this.destroyed) return;
      counted(chunk.length);
      if (!this.destroyed && !this.push(chunk)) body.pause();
    });
    // An empty body in HTTP/2 may have come to its end while the origin was dialled.
    if (body.readableEnded) this.push(null);
    else body.on('end', () => this.push(null));
    body.on('error', () => {});
    // undici listens only for as long as it has a use for the body.
    this.on('error', () => {});
    body.on('close', () => {
      if (!inbound.received) this.destroy(new Error('the client went away in its body'));
    });
  }

  override _read(): void {
    this.#body.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#body.resume();
    done(error);
  }
}
