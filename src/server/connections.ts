import type { Clock } from '../core/clock.ts';
import type { Policy } from '../policy/policy.ts';
import type { CutReason, Live, LiveDescription, LiveRegistry } from '../proxy/services.ts';

/** Live connections that somebody wants ended. */
export interface CutOrder {
  readonly ids: readonly string[];
  readonly by: string | undefined;
  readonly why: string | undefined;
}

/** Milliseconds between two sweeps: the precision of every deadline that is not a timer's own. */
const sweepEvery = 200;

/**
 * Every live connection of this worker. One timer ticks them all, so that ten thousand idle tunnels
 * cost no timers; a reload re-judges them all; a drain cuts what is left.
 */
export class Connections implements LiveRegistry {
  readonly #clock: Clock;
  readonly #live = new Set<Live>();
  readonly #timer: NodeJS.Timeout;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#timer = setInterval(() => this.#sweep(), sweepEvery);
    this.#timer.unref();
  }

  add(live: Live): void {
    this.#live.add(live);
  }

  delete(live: Live): void {
    this.#live.delete(live);
  }

  get size(): number {
    return this.#live.size;
  }

  /** Judges every live connection again, under a policy that has just taken effect. */
  rejudge(policy: Policy): void {
    const now = this.#clock.now();
    for (const live of this.#live) live.rejudge(policy, now);
  }

  /** Ends what carries nothing now: kept-alive clients between requests, heads not yet sent. */
  closeIdle(): void {
    const mono = this.#clock.monotonic();
    for (const live of [...this.#live]) {
      if (live.describe(mono) === null) live.cut('draining');
    }
  }

  /** Ends those that `chosen` picks, after it has seen what each one is. */
  cutWhere(chosen: (live: LiveDescription) => boolean, reason: CutReason): void {
    const mono = this.#clock.monotonic();
    for (const live of [...this.#live]) {
      const row = live.describe(mono);
      if (row !== null && chosen(row)) live.cut(reason);
    }
  }

  cutAll(reason: CutReason): void {
    for (const live of [...this.#live]) live.cut(reason);
  }

  describe(): LiveDescription[] {
    const mono = this.#clock.monotonic();
    const rows: LiveDescription[] = [];
    for (const live of this.#live) {
      const row = live.describe(mono);
      if (row !== null) rows.push(row);
    }
    return rows;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #sweep(): void {
    const mono = this.#clock.monotonic();
    const now = this.#clock.now();
    for (const live of this.#live) live.tick(mono, now);
  }
}
