import { Worker as Thread } from 'node:worker_threads';
import type { CompileResult } from '../config/compile.ts';
import type { HostPort, ListenSetting } from '../config/listen-address.ts';
import type { RevocationEntry } from '../identity/revocations.ts';
import type { MetricsSnapshot } from '../observe/metrics-snapshot.ts';
import type { LiveDescription } from '../proxy/services.ts';
import type { CutOrder } from './connections.ts';
import type { Worker } from './control-plane.ts';
import type { RevocationChange } from './revocation-plane.ts';
import type { FromThread, ThreadAnswer, ThreadData, ToThread } from './thread-protocol.ts';

interface Waiting {
  resolve(value: ThreadAnswer): void;
  reject(error: Error): void;
}

type Call = Extract<ToThread, { call: number }>;

/** What a thread worker tells while it runs. */
export interface ThreadObserver {
  /** The thread has ended by itself (out of memory, or a fault of ours) and is being replaced. */
  failed(error: Error | null): void;
  /** Its replacement serves, or cannot: then the next try follows. */
  restarted(error: Error | null): void;
}

/** Milliseconds before a thread that has failed is replaced: a fault at start must not spin. */
const restartDelay = 500;

/**
 * A worker in a thread of its own, as the main thread sees it. A thread that fails takes its
 * connections with it and is replaced by one that listens on the same addresses.
 */
export class ThreadWorker implements Worker {
  readonly #options: ThreadData['options'];
  readonly #observer: ThreadObserver;
  #files: ThreadData['files'];
  #revocations: ThreadData['revocations'];
  #thread: Thread;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #gone = false;
  #stopping = false;
  #listeners: readonly ListenSetting[] = [];
  #own: readonly HostPort[] = [];

  constructor(data: ThreadData, observer: ThreadObserver) {
    this.#options = data.options;
    this.#files = data.files;
    this.#revocations = data.revocations;
    this.#observer = observer;
    this.#thread = this.#spawn();
  }

  /** Writes the start line; false if the egress log cannot be written. */
  start(): Promise<boolean> {
    return this.#call<boolean>((call) => ({ order: 'start', call }));
  }

  /** @returns the same addresses, with the ports that were taken. */
  async listen(on: readonly ListenSetting[]): Promise<readonly ListenSetting[]> {
    this.#listeners = await this.#call<readonly ListenSetting[]>((call) => ({
      order: 'listen',
      call,
      on,
    }));
    return this.#listeners;
  }

  setOwnListeners(listeners: readonly HostPort[]): void {
    this.#own = listeners;
    this.#send({ order: 'own', listeners });
  }

  apply(compiled: CompileResult): void {
    this.#files = compiled.files;
    this.#send({ order: 'apply', files: compiled.files });
  }

  /** A thread that has just ended is replaced by one that begins with these entries. */
  async revoke(
    entries: readonly RevocationEntry[],
    changes: readonly RevocationChange[],
  ): Promise<number> {
    this.#revocations = entries;
    return await this.#call<number>((call) => ({ order: 'revoke', call, entries, changes })).catch(
      () => 0,
    );
  }

  async cut(cut: CutOrder): Promise<readonly string[]> {
    return await this.#call<readonly string[]>((call) => ({ order: 'cut', call, cut })).catch(
      () => [],
    );
  }

  refuseReload(entry: string | undefined): void {
    this.#send({ order: 'refuse', entry });
  }

  useKeys(): void {
    this.#send({ order: 'keys' });
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
    this.#stopping = true;
    if (this.#gone) return;
    await this.#call<boolean>((call) => ({ order: 'stop', call }));
    await this.#thread.terminate();
  }

  #spawn(): Thread {
    let fault: Error | null = null;
    const thread = new Thread(new URL('./worker-thread.ts', import.meta.url), {
      workerData: {
        options: this.#options,
        files: this.#files,
        revocations: this.#revocations,
      } satisfies ThreadData,
    });
    this.#gone = false;
    thread.on('message', (message: FromThread) => this.#answered(message));
    thread.on('error', (error: Error) => {
      fault = error;
    });
    thread.on('exit', () => this.#ended(fault));
    return thread;
  }

  #ended(fault: Error | null): void {
    this.#gone = true;
    for (const waiting of this.#waiting.values()) {
      waiting.reject(fault ?? new Error('the worker thread has ended'));
    }
    this.#waiting.clear();
    // Before it listens there is nothing to replace: the proxy is still starting, and hears of it.
    if (this.#stopping || this.#listeners.length === 0) return;
    this.#observer.failed(fault);
    setTimeout(() => this.#replace(), restartDelay).unref();
  }

  #replace(): void {
    if (this.#stopping) return;
    this.#thread = this.#spawn();
    this.setOwnListeners(this.#own);
    this.listen(this.#listeners)
      .then(() => this.start())
      .then(
        () => this.#observer.restarted(null),
        (error: Error) => this.#observer.restarted(error),
      );
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
