import type { Live, LiveDescription, Services } from '../proxy/services.ts';

/**
 * A client connection that has not asked for anything yet: it has until `limits.head-timeout` for
 * that, and at the cap the one that waits longest makes room for a newcomer.
 */
export abstract class Waiting implements Live {
  protected readonly services: Services;
  readonly #queue: Set<Waiting>;
  /** Set at the first sweep, whose clock it uses. */
  #until = 0;
  #over = false;

  /** @param queue all that wait, oldest first. */
  constructor(services: Services, queue: Set<Waiting>) {
    this.services = services;
    this.#queue = queue;
    queue.add(this);
    services.live.add(this);
  }

  /** Ends the connection; nothing if it waits no more. */
  abstract giveUp(): void;

  tick(mono: number): void {
    if (this.#until === 0) this.#until = mono + this.services.limits.headTimeout;
    else if (mono >= this.#until) this.giveUp();
  }

  rejudge(): void {}

  cut(): void {
    this.giveUp();
  }

  describe(): LiveDescription | null {
    return null;
  }

  protected get over(): boolean {
    return this.#over;
  }

  /** It waits no more: it has asked, or is gone. */
  protected leave(): void {
    this.#over = true;
    this.#queue.delete(this);
    this.services.live.delete(this);
  }
}
