import type { Socket } from 'node:net';
import { AnswerReader } from './answer-reader.ts';
import { getRequest, openConnection } from './client.ts';
import type { Done } from './closed-loop.ts';
import { allowedNames } from './plan.ts';

/** Small GETs on connections that are kept: one connection per operation at a time. */
export function httpLoad(): (turn: number, done: Done) => void {
  const requests = allowedNames('http').map(getRequest);
  const idle: Client[] = [];
  return (turn, done) => {
    const client = idle.pop() ?? new Client();
    client.ask(requests[turn % requests.length] ?? '', (waited, problem) => {
      if (problem === null) idle.push(client);
      done(waited, problem);
    });
  };
}

/** One connection to the proxy: a request, its whole answer, and again. */
class Client {
  readonly #socket: Socket;
  #done: Done | null = null;
  #startedAt = 0;
  #answer = new AnswerReader();

  constructor() {
    this.#socket = openConnection();
    this.#socket.on('data', (chunk) => this.#onData(chunk));
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => this.#finish('the connection was closed'));
  }

  ask(request: string, done: Done): void {
    this.#done = done;
    this.#answer = new AnswerReader();
    this.#startedAt = performance.now();
    this.#socket.write(request, 'latin1');
  }

  #onData(chunk: Buffer): void {
    if (!this.#answer.push(chunk)) return;
    this.#finish(this.#answer.status === '200' ? null : this.#answer.text.slice(0, 200));
  }

  #finish(problem: string | null): void {
    const done = this.#done;
    this.#done = null;
    done?.(performance.now() - this.#startedAt, problem);
    if (problem !== null) this.#socket.destroy();
  }
}
