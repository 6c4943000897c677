import type { Clock } from '../core/clock.ts';

/** Milliseconds for which the same thing is not told again. */
const quiet = 60_000;

/** Keeps strangers, who can repeat anything, from filling the operations log. */
export class OnceAMinute {
  readonly #clock: Clock;
  readonly #most: number;
  readonly #toldAt = new Map<string, number>();

  /** @param most different things told in a minute: the number that strangers can make up has no end of its own */
  constructor(clock: Clock, most: number) {
    this.#clock = clock;
    this.#most = most;
  }

  /** Is this to be told now? If so it counts as told. */
  isDue(what: string): boolean {
    const now = this.#clock.monotonic();
    if (now - (this.#toldAt.get(what) ?? Number.NEGATIVE_INFINITY) < quiet) return false;
    for (const [told, at] of this.#toldAt) if (now - at >= quiet) this.#toldAt.delete(told);
    if (this.#toldAt.size >= this.#most) return false;
    this.#toldAt.set(what, now);
    return true;
  }
}
