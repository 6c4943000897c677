import type { Cidr } from '../core/ip.ts';
import type { EntrySpec } from './build.ts';
import { CidrTable } from './cidr-table.ts';
import { type CompiledConditions, compileConditions } from './conditions.ts';
import { frozenConditions, isConditional } from './entry-conditions.ts';
import { Matcher } from './matcher.ts';
import type { Agent, Entry } from './policy.ts';
import { type RuleTable, type ScopeGrant, ScopeTable } from './scopes.ts';
import { TrieBuilder } from './trie-builder.ts';

/** Compiles entries list by list and remembers where each belongs; `seal` makes the matcher. */
export class RuleCollector {
  readonly #entries: Entry[] = [];
  readonly #scopes: number[] = [];
  /** A place in the trie, or -1 - index of a network. */
  readonly #places: number[] = [];
  readonly #trie = new TrieBuilder();
  readonly #networks: Cidr[] = [];
  readonly #networkIndexes = new Map<string, number>();
  readonly #conditions = new Map<Entry, CompiledConditions>();
  /** Equal lists of ports are one array. */
  readonly #ports = new Map<string, readonly number[]>();

  /** Lists must come in order of scope. Throws a TypeError, see `buildPolicy`. */
  addList(
    specs: readonly EntrySpec[],
    action: Entry['action'],
    scope: number,
    group: string | undefined,
  ): readonly Entry[] {
    const entries = specs.map((spec) => {
      const entry = this.#compile(spec, action, group);
      this.#entries.push(entry);
      this.#scopes.push(scope);
      this.#places.push(this.#placeOf(spec));
      return entry;
    });
    return Object.freeze(entries);
  }

  /** `agents[i].index` is i; `grants[i]` are its lists in its own order. */
  seal(agents: readonly Agent[], grants: readonly (readonly ScopeGrant[])[]): Matcher {
    const { trie, terminalOf } = this.#trie.seal();
    const networks = new CidrTable(this.#networks, trie.terminalCount);
    const terminals = Uint32Array.from(this.#places, (place) => {
      return place >= 0
        ? terminalOf(place)
        : networks.terminalOf(this.#networks[-1 - place] as Cidr);
    });
    const rules = this.#sortRules(terminals, trie.terminalCount + this.#networks.length);
    return new Matcher(trie, networks, rules, new ScopeTable(agents, grants));
  }

  /** Counting sort by terminal; it is stable, so that scope and order stay sorted within. */
  #sortRules(terminals: Uint32Array, terminalCount: number): RuleTable {
    const starts = new Uint32Array(terminalCount + 1);
    for (const terminal of terminals) starts[terminal + 1] = (starts[terminal + 1] as number) + 1;
    for (let i = 0; i < terminalCount; i++) {
      starts[i + 1] = (starts[i + 1] as number) + (starts[i] as number);
    }
    const next = starts.slice();
    const entries = this.#entries.slice();
    const scopes = new Uint32Array(terminals.length);
    const orders = new Uint32Array(terminals.length);
    for (let order = 0; order < terminals.length; order++) {
      const terminal = terminals[order] as number;
      const rule = next[terminal] as number;
      next[terminal] = rule + 1;
      entries[rule] = this.#entries[order] as Entry;
      scopes[rule] = this.#scopes[order] as number;
      orders[rule] = order;
    }
    return { entries, scopes, orders, starts, conditions: this.#conditions };
  }

  #compile(spec: EntrySpec, action: Entry['action'], group: string | undefined): Entry {
    const at = `${spec.file}:${spec.line}`;
    if (action === 'allow' && (spec.scheme === undefined || spec.ports === undefined)) {
      throw new TypeError(`${at}: an allow entry has a scheme and ports`);
    }
    const entry: Entry = Object.freeze({
      action,
      pattern: spec.pattern.text,
      scheme: spec.scheme,
      ports: this.#sharedPorts(spec.ports),
      addresses: addressesOf(spec, action),
      until: spec.until,
      conditional: isConditional(spec),
      ...frozenConditions(spec),
      upload: spec.upload,
      note: spec.note,
      file: spec.file,
      line: spec.line,
      at,
      group,
    });
    const compiled = compileConditions(spec, at);
    if (compiled !== null) this.#conditions.set(entry, compiled);
    return entry;
  }

  #placeOf(spec: EntrySpec): number {
    const { pattern } = spec;
    if (pattern.kind !== 'cidr') return this.#trie.add(pattern);
    const known = this.#networkIndexes.get(pattern.cidr.text);
    if (known !== undefined) return -1 - known;
    this.#networkIndexes.set(pattern.cidr.text, this.#networks.length);
    return -this.#networks.push(pattern.cidr);
  }

  #sharedPorts(ports: readonly number[] | undefined): readonly number[] | undefined {
    if (ports === undefined) return undefined;
    const sorted = [...new Set(ports)].sort((a, b) => a - b);
    const key = sorted.join();
    const known = this.#ports.get(key);
    if (known !== undefined) return known;
    this.#ports.set(key, Object.freeze(sorted));
    return sorted;
  }
}

const noAddresses: readonly Cidr[] = Object.freeze([]);

/** An entry that is an address or a network grants exactly that, if it names nothing else. */
function addressesOf(spec: EntrySpec, action: Entry['action']): readonly Cidr[] {
  if (action === 'deny') return noAddresses;
  if (spec.addresses.length > 0) return Object.freeze([...spec.addresses]);
  return spec.pattern.kind === 'cidr' ? Object.freeze([spec.pattern.cidr]) : noAddresses;
}
