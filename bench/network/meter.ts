import process from 'node:process';
import { cpuNanoseconds, machineBusyMs, processTree } from '../support/cpu.ts';

/** What a window of time cost. */
export interface Reading {
  readonly seconds: number;
  /** CPU nanoseconds of the proxy, all its processes and threads. */
  readonly proxy: number;
  /** CPU nanoseconds of load and origin. */
  readonly load: number;
  /** CPU milliseconds of everything else on the machine. */
  readonly others: number;
}

interface Snapshot {
  readonly at: number;
  readonly proxy: number;
  readonly load: number;
  readonly machine: number;
}

/** Reads the CPU clocks of a trial. Lives in the load's process, so that a reading is exactly then. */
export class Meter {
  readonly #proxy: readonly number[];
  readonly #load: readonly number[];
  #from: Snapshot;

  /** Helpers that the proxy starts must run by now. */
  constructor(proxyPid: number, originPid: number) {
    this.#proxy = processTree(proxyPid);
    this.#load = [process.pid, originPid];
    this.#from = this.#look();
  }

  get proxyPids(): readonly number[] {
    return this.#proxy;
  }

  begin(): void {
    this.#from = this.#look();
  }

  /** Since `begin`. */
  read(): Reading {
    const { at, proxy, load, machine } = this.#look();
    const reading = { proxy: proxy - this.#from.proxy, load: load - this.#from.load };
    const ours = (reading.proxy + reading.load) / 1e6;
    return {
      ...reading,
      seconds: (at - this.#from.at) / 1000,
      others: Math.max(0, machine - this.#from.machine - ours),
    };
  }

  #look(): Snapshot {
    return {
      at: performance.now(),
      proxy: cpuNanoseconds(this.#proxy),
      load: cpuNanoseconds(this.#load),
      machine: machineBusyMs(),
    };
  }
}
