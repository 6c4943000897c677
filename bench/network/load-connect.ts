import type { Socket } from 'node:net';
import { captureClientHello } from '../support/client-hello.ts';
import { AnswerReader } from './answer-reader.ts';
import { connectHead, isEstablished, openConnection } from './client.ts';
import type { Done } from './closed-loop.ts';
import { allowedNames, blockedName } from './plan.ts';
import { ping, serverFlight } from './wire.ts';

/** What goes through a tunnel: the bytes sent, and how many come back. */
interface Exchange {
  readonly head: string;
  readonly request: Buffer;
  readonly answerLength: number;
}

/** CONNECT, one exchange, close; then the next. */
export async function connectLoad(
  entry: 'tcp' | 'https',
): Promise<(turn: number, done: Done) => void> {
  const exchanges = await Promise.all(allowedNames(entry).map((name) => exchangeFor(entry, name)));
  return (turn, done) => {
    new Visit(exchanges[turn % exchanges.length] as Exchange, done);
  };
}

async function exchangeFor(entry: 'tcp' | 'https', name: string): Promise<Exchange> {
  const head = connectHead(name);
  if (entry === 'tcp') return { head, request: ping, answerLength: ping.length };
  const request = await captureClientHello(name);
  return { head, request, answerLength: serverFlight.length };
}

/** One tunnel from its first byte to both its ends. */
class Visit {
  readonly #exchange: Exchange;
  readonly #done: Done;
  readonly #socket: Socket;
  readonly #startedAt = performance.now();
  #established = false;
  #missing: number;
  #waited = 0;
  #problem: string | null = null;

  constructor(exchange: Exchange, done: Done) {
    this.#exchange = exchange;
    this.#done = done;
    this.#missing = exchange.answerLength;
    this.#socket = openConnection();
    this.#socket.on('data', (chunk) => this.#onData(chunk));
    this.#socket.on('error', (error) => {
      this.#problem ??= error.message;
    });
    this.#socket.on('close', () => this.#onClose());
    this.#socket.write(exchange.head, 'latin1');
  }

  #onData(chunk: Buffer): void {
    if (this.#established) {
      this.#missing -= chunk.length;
      if (this.#missing > 0) return;
      this.#waited = performance.now() - this.#startedAt;
      this.#socket.end();
    } else if (isEstablished(chunk)) {
      this.#established = true;
      this.#socket.write(this.#exchange.request);
    } else {
      this.#problem = `no tunnel: ${chunk.toString('latin1', 0, 200)}`;
      this.#socket.destroy();
    }
  }

  #onClose(): void {
    const whole = this.#missing === 0 ? null : 'the answer in a tunnel was not whole';
    this.#done(this.#waited, this.#problem ?? whole);
  }
}

/** A CONNECT that is refused, each on a connection of its own. */
export function denyLoad(): (turn: number, done: Done) => void {
  const head = connectHead(blockedName);
  return (_turn, done) => {
    const startedAt = performance.now();
    const socket = openConnection();
    const answer = new AnswerReader();
    let waited = 0;
    socket.on('data', (chunk) => {
      if (!answer.push(chunk)) return;
      waited = performance.now() - startedAt;
      // Squid would keep the connection.
      socket.end();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      const refused = answer.whole && answer.status === '403';
      done(waited, refused ? null : `not a whole refusal: ${answer.text.slice(0, 200)}`);
    });
    socket.write(head, 'latin1');
  };
}
