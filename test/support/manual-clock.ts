import type { Clock } from '../../src/core/clock.ts';

/** A clock that stands still until it is told to go on. Starts at 2026-01-01T00:00:00Z. */
export class ManualClock implements Clock {
  #wall = Date.UTC(2026, 0, 1);
  #monotonic = 1000;

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** Milliseconds, on both clocks. */
  advance(ms: number): void {
    this.#wall += ms;
    this.#monotonic += ms;
  }
}
