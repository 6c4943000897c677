import type { Socket } from 'node:net';

/**
 * Watches what a client connection does between two requests: says nothing, or sends a head that
 * does not come to its end. To be looked at every few hundred milliseconds; node:http keeps such
 * deadlines only for the connections of a server that listens.
 */
export class HeadWatch {
  readonly #socket: Socket;
  /** Bytes read that belong to what came before. */
  #read: number;
  #quietSince: number;
  /** When the head was first seen; Infinity while nothing of it has come. */
  #headSince: number;

  /** @param early bytes of the first head that were read before. */
  constructor(socket: Socket, early: number, mono: number) {
    this.#socket = socket;
    this.#read = socket.bytesRead - early;
    this.#quietSince = mono;
    this.#headSince = early > 0 ? mono : Infinity;
  }

  /** A request is answered: what comes now is the next head. */
  restart(mono: number): void {
    this.#read = this.#socket.bytesRead;
    this.#quietSince = mono;
    this.#headSince = Infinity;
  }

  /** Milliseconds for which a head has been on its way; negative if none is. */
  headAge(mono: number): number {
    if (this.#headSince === Infinity && this.#socket.bytesRead > this.#read) this.#headSince = mono;
    return mono - this.#headSince;
  }

  /** Milliseconds since the last answer, or since the connection is there. */
  quiet(mono: number): number {
    return mono - this.#quietSince;
  }
}
