import type { Clock } from '../../src/core/clock.ts';

/** A clock that stands still until it is told the time. */
export class FakeClock implements Clock {
  time = Date.UTC(2026, 0, 1);
  #monotonic = 0;

  now(): number {
    return this.time;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** Milliseconds. */
  advance(ms: number): void {
    this.time += ms;
    this.#monotonic += ms;
  }
}
