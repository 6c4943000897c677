import type { Ip } from '../core/ip.ts';
import type { CidrTable } from './cidr-table.ts';
import type { CompiledConditions } from './conditions.ts';
import { Hits } from './hits.ts';
import type { Agent, Entry } from './policy.ts';
import type { RuleTable, RuleVisitor, ScopeTable } from './scopes.ts';
import { Survey } from './survey.ts';
import type { LabelTrie } from './trie.ts';

/**
 * The sealed index of a policy: which entries of one agent have a host pattern that covers a
 * target. Matching is synchronous and not reentrant: it reuses the buffers of the last match.
 */
export class Matcher {
  /** The scratch pad of `decide`. */
  readonly survey: Survey;
  readonly #trie: LabelTrie;
  readonly #networks: CidrTable;
  readonly #rules: RuleTable;
  readonly #scopes: ScopeTable;
  readonly #hits: Hits;

  constructor(trie: LabelTrie, networks: CidrTable, rules: RuleTable, scopes: ScopeTable) {
    this.#trie = trie;
    this.#networks = networks;
    this.#rules = rules;
    this.#scopes = scopes;
    this.survey = new Survey(rules.conditions);
    this.#hits = new Hits(Math.max(trie.mostHits, networks.mostHits));
  }

  /** Patterns of an entry of this policy; undefined if it has none. */
  conditionsOf(entry: Entry): CompiledConditions | undefined {
    return this.#rules.conditions.get(entry);
  }

  /** True if the agent is one of this policy: the very object, not one of the same name. */
  knows(agent: Agent): boolean {
    return this.#scopes.knows(agent);
  }

  /**
   * Calls `visitor.visit` for every entry of the agent's lists, of its groups and of the top level
   * whose pattern covers the target, most specific pattern first; in no order among entries of
   * equally specific patterns. `host` is canonical and used if `ip` is null: names match no
   * network, addresses no name. An agent of another policy has no entries.
   * Ends early once `visitor.done` is true at the end of a tier.
   */
  visit(agent: Agent, host: string, ip: Ip | null, visitor: RuleVisitor): void {
    if (!this.#scopes.knows(agent)) return;
    const hits = this.#hits;
    if (ip === null) this.#trie.match(host, hits);
    else this.#networks.match(ip, hits);
    const { starts } = this.#rules;
    for (let i = 0; i < hits.count; i++) {
      if (i > 0 && hits.tier(i) !== hits.tier(i - 1)) {
        if (visitor.done) return;
        visitor.nextTier();
      }
      const terminal = hits.terminal(i);
      const from = starts[terminal] as number;
      const to = starts[terminal + 1] as number;
      this.#scopes.visit(agent, this.#rules, from, to, visitor);
    }
  }

  /** Bytes of the sealed arrays, the entries themselves apart. */
  get byteLength(): number {
    const { scopes, orders, starts } = this.#rules;
    const rules = scopes.byteLength + orders.byteLength + starts.byteLength;
    return this.#trie.byteLength + this.#networks.byteLength + rules + this.#scopes.byteLength;
  }
}
