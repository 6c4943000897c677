import { quantile } from '../support/stats.ts';
import type { Meter, Reading } from './meter.ts';
import type { Window } from './trial-types.ts';

/** Called when one operation is over: how long its client waited, milliseconds, or what went wrong. */
export type Done = (waited: number, problem: string | null) => void;

export interface LoopResult {
  readonly reading: Reading;
  readonly operations: number;
  /** From the start of the warm-up; they are not among the operations. */
  readonly failures: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** More failures than this and the trial is worth nothing. */
const mostFailures = 10;

/**
 * A closed loop: as many operations at a time as asked, each followed by the next, over a warm-up
 * and a measured window. One generator of load, one way to count.
 */
export class ClosedLoop {
  readonly #operation: (turn: number, done: Done) => void;
  readonly #meter: Meter;
  #waits: number[] = [];
  #turn = 0;
  #failures = 0;
  #running = true;
  readonly #failed = Promise.withResolvers<never>();

  constructor(operation: (turn: number, done: Done) => void, meter: Meter) {
    this.#operation = operation;
    this.#meter = meter;
    this.#failed.promise.catch(() => undefined);
  }

  /** @throws Error if operations fail. */
  async run(concurrency: number, window: Window): Promise<LoopResult> {
    for (let at = 0; at < concurrency; at++) this.#next();
    await this.#warmUp(window);
    this.#waits = [];
    this.#meter.begin();
    await this.#during(window.measured);
    const reading = this.#meter.read();
    this.#running = false;
    const waits = Float64Array.from(this.#waits);
    return {
      reading,
      operations: waits.length,
      failures: this.#failures,
      p50: quantile(waits, 0.5),
      p99: quantile(waits, 0.99),
    };
  }

  async #warmUp({ warmUp, rehearsal = 0 }: Window): Promise<void> {
    await this.#during(warmUp);
    const end = performance.now() + 3000 * warmUp;
    while (this.#turn < rehearsal && performance.now() < end) await this.#during(0.2);
  }

  #during(seconds: number): Promise<unknown> {
    const over = new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    return Promise.race([over, this.#failed.promise]);
  }

  #next(): void {
    if (this.#running) this.#operation(this.#turn++, this.#done);
  }

  readonly #done: Done = (waited, problem) => {
    if (problem === null) {
      this.#waits.push(waited);
    } else if (++this.#failures > mostFailures && this.#running) {
      this.#running = false;
      this.#failed.reject(new Error(problem));
    }
    this.#next();
  };
}
