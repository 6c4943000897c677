/**
 * The time as the whole proxy sees it. Tests replace it; nothing else calls `Date.now()`.
 * Cannot fail.
 */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. Decisions (`until`, credential expiry) and log lines use it. */
  now(): number;
  /** Monotonic clock, milliseconds from an arbitrary start. Deadlines and durations use it. */
  monotonic(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};
