import type { Cidr } from '../core/ip.ts';
import type { EntryConditions } from './entry-conditions.ts';
import type { Issuer, WorkloadRule } from './issuer.ts';
import type { Matcher } from './matcher.ts';

/**
 * The compiled, immutable result of all allowlist files. An exchange keeps the policy it began
 * with until a reload re-judges it against the new one; nothing here is ever mutated.
 */
export interface Policy {
  /** Twelve hexadecimal digits that name this policy in every log line. */
  readonly digest: string;
  readonly agents: ReadonlyMap<string, Agent>;
  readonly groups: ReadonlyMap<string, Group>;
  /** Deny entries at the top level: for every agent. */
  readonly deny: readonly Entry[];
  /** The sealed index over every entry of every agent, group and the top level. */
  readonly matcher: Matcher;
  /** SHA-256 digest (64 lower-case hex digits) of a static token → the agent that it names. */
  readonly tokens: ReadonlyMap<string, Agent>;
  /** SPIFFE id or subject of client certificates, as agents name them → the agent. */
  readonly certificates: ReadonlyMap<string, Agent>;
  /** Agents that their source address alone identifies (`sources-alone: true`). */
  readonly sourceAgents: readonly Agent[];
  /** Other issuers of tokens, by name. */
  readonly issuers: ReadonlyMap<string, Issuer>;
}

export type Scheme = 'https' | 'http' | 'tcp';

export interface Agent {
  readonly id: string;
  readonly owner: string;
  readonly purpose: string;
  readonly mode: 'enforce' | 'report';
  readonly credentials: AgentCredentials;
  readonly limits: AgentLimits;
  /** Groups in the order in which the agent names them. */
  readonly groups: readonly GroupGrant[];
  readonly allow: readonly Entry[];
  readonly deny: readonly Entry[];
  /** Dense number of this agent in its policy, in order of id: 0 … agents.size - 1. */
  readonly index: number;
  /** `file:line` of the agent's definition. */
  readonly at: string;
}

export interface GroupGrant {
  readonly group: Group;
  /** The grant holds while now < until (ms since the epoch); Infinity if it has no end. */
  readonly until: number;
}

export interface Group {
  readonly name: string;
  readonly about: string | undefined;
  readonly allow: readonly Entry[];
  readonly deny: readonly Entry[];
  readonly at: string;
}

export interface AgentCredentials {
  /** Credentials of `sallyport token issue` are accepted. */
  readonly issued: boolean;
  /** SHA-256 digests, 64 lower-case hex digits. */
  readonly tokens: readonly string[];
  readonly certificates: readonly string[];
  /** Tokens of other issuers. */
  readonly workloads: readonly WorkloadRule[];
  /** Source ranges that narrow every credential; empty = anywhere. */
  readonly sources: readonly Cidr[];
  readonly sourcesAlone: boolean;
}

/** Undefined = no limit of its own (the proxy's global ones hold). */
export interface AgentLimits {
  readonly connections: number | undefined;
  readonly connectionsPerSecond: number | undefined;
  /** Bytes. */
  readonly uploadPerTunnel: number | undefined;
}

/** One line of an allow or deny list, compiled. */
export interface Entry extends EntryConditions {
  readonly action: 'allow' | 'deny';
  /** The host pattern in canonical spelling, as `explain` and messages print it. */
  readonly pattern: string;
  /** Undefined only on a deny entry: every scheme. */
  readonly scheme: Scheme | undefined;
  /** Sorted, unique. Undefined only on a deny entry: every port. */
  readonly ports: readonly number[] | undefined;
  /** Otherwise refused ranges that this entry's names may resolve into. */
  readonly addresses: readonly Cidr[];
  /** The entry holds while now < until (ms since the epoch); Infinity if it has no end. */
  readonly until: number;
  /** It has conditions or injects: on https, its traffic must be inspected. */
  readonly conditional: boolean;
  /** Upload cap of one tunnel or request, bytes. */
  readonly upload: number | undefined;
  readonly note: string | undefined;
  /** Where it stands: path relative to the allowlists directory, and line. `at` is `file:line`. */
  readonly file: string;
  readonly line: number;
  readonly at: string;
  /** Name of the group it belongs to; undefined if it is the agent's own or top-level. */
  readonly group: string | undefined;
}
