import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Exchange } from './exchange.ts';
import { passUpgrade } from './upgrade.ts';

/** The two joined connections of an upgrade: their byte counts, and their end. */
export class Upgraded {
  readonly #exchange: Exchange;
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #readBefore: number;
  readonly #writtenBefore: number;

  constructor(exchange: Exchange, client: Socket, upstream: Duplex) {
    this.#exchange = exchange;
    this.#client = client;
    // What the dialer gives is a socket, or has all that one has.
    this.#upstream = upstream as Socket;
    this.#readBefore = client.bytesRead;
    this.#writtenBefore = client.bytesWritten;
  }

  /**
   * Sends the request over the origin's connection and joins the two, once it answers.
   * @param head what the client sent behind the head of its request.
   * @param headers name, value, name, value …, as the origin gets them.
   * @param ended the origin's side is over, or never came to be; may be called again.
   */
  begin(
    request: IncomingMessage,
    head: Buffer,
    headers: readonly string[],
    ended: () => void,
  ): void {
    const exchange = this.#exchange;
    this.#upstream.once('close', ended);
    passUpgrade(request, this.#client, head, this.#upstream, {
      path: exchange.path ?? '/',
      headers,
      onStatus: (status) => {
        exchange.status = status;
      },
      onFailure: ended,
    });
  }

  /** Reads the byte counts off the client's socket into the exchange; true if they have grown. */
  measure(): boolean {
    const exchange = this.#exchange;
    const before = exchange.bytesUp + exchange.bytesDown;
    exchange.bytesUp = this.#client.bytesRead - this.#readBefore;
    exchange.bytesDown = this.#client.bytesWritten - this.#writtenBefore;
    return exchange.bytesUp + exchange.bytesDown !== before;
  }

  /** Lets the origin have what is on its way, then ends its connection. */
  destroySoon(): void {
    this.#upstream.destroySoon();
  }

  destroy(): void {
    this.#upstream.destroy();
  }
}
