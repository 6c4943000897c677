import type { Socket } from 'node:net';
import type { Reason } from '../core/reasons.ts';
import type { Exchange } from './exchange.ts';
import { isDestinationsFault } from './refuse.ts';

/** How a tunnel ended, as its close line says it. */
export interface TunnelEnd {
  readonly end: string;
  readonly cut: Reason | undefined;
}

/**
 * The HTTP inside a tunnel, as the tunnel's own log line counts it: bytes of the client's socket or,
 * where TLS was ended here, bytes inside it.
 */
export class InnerHttp {
  readonly #socket: Socket;
  readonly #readBefore: number;
  readonly #writtenBefore: number;
  #refused: Reason | null = null;

  /** @param first bytes of the first request that were read before. */
  constructor(socket: Socket, first: Buffer) {
    this.#socket = socket;
    this.#readBefore = socket.bytesRead - first.length;
    this.#writtenBefore = socket.bytesWritten;
  }

  /** The last answer was a refusal, or told of a failure. */
  refused(reason: Reason): void {
    this.#refused = reason;
  }

  measure(exchange: Exchange): void {
    exchange.bytesUp = this.#socket.bytesRead - this.#readBefore;
    exchange.bytesDown = this.#socket.bytesWritten - this.#writtenBefore;
  }

  /** Why the tunnel is over, now that its socket has closed. */
  get end(): TunnelEnd {
    const refused = this.#refused;
    if (refused === null) return { end: 'client', cut: undefined };
    if (isDestinationsFault(refused)) return { end: 'origin', cut: undefined };
    return { end: refused, cut: refused };
  }
}
