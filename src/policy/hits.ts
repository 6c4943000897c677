/**
 * The terminals that one target reaches in a matcher, from the most specific pattern to the least.
 * One instance is filled again for every match, so that matching allocates nothing.
 */
export class Hits {
  count = 0;
  readonly #terminals: Int32Array;
  readonly #tiers: Int32Array;

  /** `capacity`: most terminals that any target can reach. */
  constructor(capacity: number) {
    this.#terminals = new Int32Array(capacity);
    this.#tiers = new Int32Array(capacity);
  }

  terminal(index: number): number {
    return this.#terminals[this.#terminals.length - this.count + index] as number;
  }

  /** Equal for patterns that are equally specific; otherwise different. */
  tier(index: number): number {
    return this.#tiers[this.#terminals.length - this.count + index] as number;
  }

  clear(): void {
    this.count = 0;
  }

  /** Adds a terminal that is at least as specific as all before: walks begin with the wide ones. */
  prepend(terminal: number, tier: number): void {
    const at = this.#terminals.length - ++this.count;
    this.#terminals[at] = terminal;
    this.#tiers[at] = tier;
  }
}
