import { Worker as Thread } from 'node:worker_threads';
import type { CompileResult } from '../config/compile.ts';
import type { MetricsSnapshot } from '../observe/metrics-snapshot.ts';
import type { LiveDescription } from '../proxy/services.ts';
import type { Worker } from './control-plane.ts';
import type { ListenOn } from './data-plane.ts';
import type { FromThread, ThreadAnswer, ThreadData, ToThread } from './thread-protocol.ts';

interface Waiting {
  resolve(value: ThreadAnswer): void;
  reject(error: Error): void;
}

type Call = Extract<ToThread, { call: number }>;

/** A worker in a thread of its own, as the main thread sees it. */
export class ThreadWorker implements Worker {
  readonly #thread: Thread;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #gone = false;

  /** @param ended called if the thread ends by itself: out of memory, or a fault of ours. */
  constructor(data: ThreadData, ended: (error: Error | null) => void) {
    let fault: Error | null = null;
    this.#thread = new Thread(new URL('./worker-thread.ts', import.meta.url), { workerData: data });
    this.#thread.on('message', (message: FromThread) => this.#answered(message));
    this.#thread.on('error', (error) => {
      fault = error;
    });
    this.#thread.on('exit', () => {
      this.#gone = true;
      for (const waiting of this.#waiting.values()) {
        waiting.reject(fault ?? new Error('the worker thread has ended'));
      }
      this.#waiting.clear();
      ended(fault);
    });
  }

  start(): Promise<boolean> {
    return this.#call<boolean>((call) => ({ order: 'start', call }));
  }

  /** @returns the same addresses, with the ports that were taken. */
  listen(on: readonly ListenOn[]): Promise<readonly ListenOn[]> {
    return this.#call<readonly ListenOn[]>((call) => ({ order: 'listen', call, on }));
  }

  setOwnListeners(listeners: readonly ListenOn[]): void {
    this.#send({ order: 'own', listeners });
  }

  apply(compiled: CompileResult): void {
    this.#send({ order: 'apply', files: compiled.files });
  }

  refuseReload(entry: string | undefined): void {
    this.#send({ order: 'refuse', entry });
  }

  reopenLog(): void {
    this.#send({ order: 'reopen' });
  }

  snapshot(): Promise<MetricsSnapshot> {
    return this.#call<MetricsSnapshot>((call) => ({ order: 'snapshot', call }));
  }

  connections(): Promise<LiveDescription[]> {
    return this.#call<LiveDescription[]>((call) => ({ order: 'connections', call }));
  }

  drain(): void {
    this.#send({ order: 'drain' });
  }

  open(): Promise<number> {
    return this.#gone
      ? Promise.resolve(0)
      : this.#call<number>((call) => ({ order: 'open', call }));
  }

  async stop(): Promise<void> {
    if (this.#gone) return;
    await this.#call<boolean>((call) => ({ order: 'stop', call }));
    await this.#thread.terminate();
  }

  #send(message: ToThread): void {
    if (!this.#gone) this.#thread.postMessage(message);
  }

  #call<T extends ThreadAnswer>(message: (call: number) => Call): Promise<T> {
    if (this.#gone) return Promise.reject(new Error('the worker thread has ended'));
    this.#calls++;
    const call = this.#calls;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(call, { resolve: (value) => resolve(value as T), reject });
      this.#thread.postMessage(message(call));
    });
  }

  #answered(message: FromThread): void {
    const waiting = this.#waiting.get(message.call);
    this.#waiting.delete(message.call);
    if (waiting === undefined) return;
    if ('error' in message) waiting.reject(new Error(message.error));
    else waiting.resolve(message.value);
  }
}
