import type { Clock } from '../core/clock.ts';

export interface Expiring {
  /** On the monotonic clock, milliseconds. Never changes while it is in the sweep. */
  readonly expiresAt: number;
  expire(): void;
}

/** Milliseconds by which a deadline may be late. */
const SWEEP_EVERY_MS = 200;

/**
 * Deadlines of equal length for many short-lived things: one timer for all of them that looks at
 * the oldest now and then, instead of a timer each. The timer does not keep the process alive and
 * is gone while there is nothing to wait for.
 */
export class DeadlineSweep {
  readonly #clock: Clock;
  /** In order of insertion, which is the order of their deadlines. */
  readonly #items = new Set<Expiring>();
  #timer: NodeJS.Timeout | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Items must be added in the order of their deadlines. */
  add(item: Expiring): void {
    this.#items.add(item);
    this.#timer ??= setInterval(this.#sweep, SWEEP_EVERY_MS).unref();
  }

  /** No-op if it is not there. An empty sweep ends at its next turn, so that busy times keep one timer. */
  delete(item: Expiring): void {
    this.#items.delete(item);
  }

  readonly #sweep = (): void => {
    const now = this.#clock.monotonic();
    for (const item of this.#items) {
      if (item.expiresAt > now) break;
      this.#items.delete(item);
      item.expire();
    }
    if (this.#items.size === 0 && this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  };
}
