import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { Worker } from 'node:worker_threads';

/** Listens with the shortest backlog and then sleeps for good, so that nothing is ever accepted. */
const SLEEPER = `
  const { createServer } = require('node:net');
  const { parentPort, workerData } = require('node:worker_threads');
  const { address, port, wake } = workerData;
  const server = createServer().listen({ host: address, port, backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    setImmediate(() => Atomics.wait(new Int32Array(wake), 0, 0));
  });
`;
/** More than any kernel takes for a backlog of one. */
const FILLERS = 8;

/** A port of this machine at which connecting neither succeeds nor fails. */
export class BlackHole implements AsyncDisposable {
  readonly port: number;
  readonly #worker: Worker;
  readonly #wake: SharedArrayBuffer;
  readonly #fillers: readonly Socket[];

  constructor(port: number, worker: Worker, wake: SharedArrayBuffer, fillers: readonly Socket[]) {
    this.port = port;
    this.#worker = worker;
    this.#wake = wake;
    this.#fillers = fillers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const filler of this.#fillers) filler.destroy();
    const view = new Int32Array(this.#wake);
    Atomics.store(view, 0, 1);
    Atomics.notify(view, 0);
    await this.#worker.terminate();
  }
}

export async function openBlackHole(address: string, port = 0): Promise<BlackHole> {
  const wake = new SharedArrayBuffer(4);
  const worker = new Worker(SLEEPER, { eval: true, workerData: { address, port, wake } });
  const [bound] = (await once(worker, 'message')) as [number];
  const fillers = Array.from({ length: FILLERS }, () =>
    connect({ host: address, port: bound }).on('error', () => {}),
  );
  // The first of them is in: by then the SYNs of all have been sent.
  await once(fillers[0] as Socket, 'connect');
  return new BlackHole(bound, worker, wake, fillers);
}
