import type { Clock } from '../core/clock.ts';
import type { Agent } from '../policy/policy.ts';

interface AgentState {
  /** Connections, tunnels and requests that the agent holds open now. */
  active: number;
  /** Theoretical arrival time of the generic cell rate algorithm, monotonic milliseconds. */
  nextAt: number;
}

/**
 * Counts and paces what each agent holds open. State is kept by agent id, so that a reload does
 * not forget it; ids come from the allowlists only, so the map cannot be grown from outside.
 */
export class AgentLimiter {
  readonly #clock: Clock;
  readonly #defaultConnections: number;
  readonly #share: number;
  readonly #states = new Map<string, AgentState>();

  /**
   * @param defaultConnections cap for an agent that names none: all but a reserve of the global
   *   cap, so that one agent alone cannot lock out the others.
   * @param workers processes or threads that share the traffic; rates and caps are split evenly.
   */
  constructor(clock: Clock, defaultConnections: number, workers: number) {
    this.#clock = clock;
    this.#defaultConnections = defaultConnections;
    this.#share = workers;
  }

  /** Spends one arrival of `connections-per-second` (a burst of one second's worth is allowed). */
  arrive(agent: Agent): boolean {
    const rate = agent.limits.connectionsPerSecond;
    if (rate === undefined) return true;
    const state = this.#state(agent.id);
    const now = this.#clock.monotonic();
    const interval = (1000 * this.#share) / rate;
    const start = Math.max(state.nextAt, now);
    // A burst of one second: after `rate` arrivals at once the next must wait for an interval.
    if (start - now > 1000 - interval + 1e-6 && start > now) return false;
    state.nextAt = start + interval;
    return true;
  }

  /** Takes a place for one connection; `release` gives it back. False if the agent holds all it may. */
  acquire(agent: Agent): boolean {
    const state = this.#state(agent.id);
    const cap =
      agent.limits.connections === undefined
        ? this.#defaultConnections
        : Math.max(1, Math.ceil(agent.limits.connections / this.#share));
    if (state.active >= cap) return false;
    state.active++;
    return true;
  }

  release(agent: Agent): void {
    const state = this.#states.get(agent.id);
    if (state !== undefined && state.active > 0) state.active--;
  }

  #state(id: string): AgentState {
    let state = this.#states.get(id);
    if (state === undefined) {
      state = { active: 0, nextAt: 0 };
      this.#states.set(id, state);
    }
    return state;
  }
}
