import type { CompiledConditions } from './conditions.ts';
import type { Agent, Entry } from './policy.ts';

/** The list of the top level. Groups follow from 1 on, then the agents' own lists. */
export const TOP_SCOPE = 0;

/** Every entry of a policy, sorted by terminal, then scope, then order; rule = index in `entries`. */
export interface RuleTable {
  readonly entries: readonly Entry[];
  /** The list (top level, group, agent) that each rule stands in. */
  readonly scopes: Uint32Array;
  /** Position among all rules as the files order them: earlier is smaller within one scope. */
  readonly orders: Uint32Array;
  /** Terminal → its first rule; one more at the end. */
  readonly starts: Uint32Array;
  /** Of the entries whose conditions have patterns. */
  readonly conditions: ReadonlyMap<Entry, CompiledConditions>;
}

/** Receives the rules that a target reaches. */
export interface RuleVisitor {
  /** True if the tiers that follow cannot change anything. */
  readonly done: boolean;
  /** The rules from here on have less specific patterns. */
  nextTier(): void;
  /**
   * @param rank place of the entry's list in the agent's order: groups, own list, top level
   * @param order earlier entries of one list have smaller ones
   * @param until end of the grant through which the agent has the list, ms since the epoch
   */
  visit(entry: Entry, rank: number, order: number, until: number): void;
}

/** A list that an agent has, as the builder gives it. */
export interface ScopeGrant {
  readonly scope: number;
  readonly until: number;
}

/** Which lists each agent has: its groups, its own, and the top level, in flat arrays. */
export class ScopeTable {
  readonly #agents: readonly Agent[];
  /** Agent index → its first list; one more at the end. */
  readonly #starts: Uint32Array;
  /** Sorted within one agent. */
  readonly #scopes: Uint32Array;
  readonly #ranks: Uint32Array;
  readonly #untils: Float64Array;

  /** `grants[agent.index]`: the agent's lists in its own order, each once. */
  constructor(agents: readonly Agent[], grants: readonly (readonly ScopeGrant[])[]) {
    const total = grants.reduce((sum, list) => sum + list.length, 0);
    this.#agents = agents;
    this.#starts = new Uint32Array(agents.length + 1);
    this.#scopes = new Uint32Array(total);
    this.#ranks = new Uint32Array(total);
    this.#untils = new Float64Array(total);
    let at = 0;
    for (const [index, list] of grants.entries()) {
      this.#starts[index] = at;
      const ranked = list.map((grant, rank) => ({ ...grant, rank }));
      for (const { scope, rank, until } of ranked.sort((a, b) => a.scope - b.scope)) {
        this.#scopes[at] = scope;
        this.#ranks[at] = rank;
        this.#untils[at++] = until;
      }
    }
    this.#starts[agents.length] = at;
  }

  knows(agent: Agent): boolean {
    return this.#agents[agent.index] === agent;
  }

  get byteLength(): number {
    const own = this.#starts.byteLength + this.#scopes.byteLength;
    return own + this.#ranks.byteLength + this.#untils.byteLength;
  }

  /**
   * Visits the rules from…to (one terminal, sorted by scope) that stand in a list of the agent.
   * The shorter of the two sorted lists is walked, the longer one searched.
   */
  visit(agent: Agent, rules: RuleTable, from: number, to: number, visitor: RuleVisitor): void {
    const first = this.#starts[agent.index] as number;
    const end = this.#starts[agent.index + 1] as number;
    if (to - from <= end - first) {
      for (let rule = from; rule < to; rule++) {
        const wanted = rules.scopes[rule] as number;
        const at = lowerBound(this.#scopes, wanted, first, end);
        if (at < end && this.#scopes[at] === wanted) this.#visitRule(rules, rule, at, visitor);
      }
      return;
    }
    let rule = from;
    for (let at = first; at < end && rule < to; at++) {
      const scope = this.#scopes[at] as number;
      rule = lowerBound(rules.scopes, scope, rule, to);
      while (rule < to && rules.scopes[rule] === scope) {
        this.#visitRule(rules, rule++, at, visitor);
      }
    }
  }

  #visitRule(rules: RuleTable, rule: number, at: number, visitor: RuleVisitor): void {
    visitor.visit(
      rules.entries[rule] as Entry,
      this.#ranks[at] as number,
      rules.orders[rule] as number,
      this.#untils[at] as number,
    );
  }
}

/** First index in `sorted[from…to)` whose value is at least `wanted`; `to` if there is none. */
function lowerBound(sorted: Uint32Array, wanted: number, from: number, to: number): number {
  if (from < to && (sorted[from] as number) >= wanted) return from;
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
