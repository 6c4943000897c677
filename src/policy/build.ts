import type { Cidr } from '../core/ip.ts';
import type { HostPattern } from './pattern.ts';
import type { AgentCredentials, AgentLimits, Scheme } from './policy.ts';

/**
 * What allowlist files say, as plain values: validated and with every default filled in, but not
 * yet compiled. Lists keep the order of the files; it decides ties in attribution.
 */
export interface PolicySpec {
  /** Twelve hexadecimal digits that name the policy. */
  readonly digest: string;
  readonly groups: readonly GroupSpec[];
  readonly agents: readonly AgentSpec[];
  /** Top-level deny entries: for every agent. */
  readonly deny: readonly EntrySpec[];
}

export interface GroupSpec {
  readonly name: string;
  readonly about: string | undefined;
  readonly allow: readonly EntrySpec[];
  readonly deny: readonly EntrySpec[];
  /** `file:line` of the group's definition. */
  readonly at: string;
}

export interface AgentSpec {
  readonly id: string;
  readonly owner: string;
  readonly purpose: string;
  readonly mode: 'enforce' | 'report';
  readonly credentials: AgentCredentials;
  readonly limits: AgentLimits;
  /** In the order of the agent's allow list. */
  readonly groups: readonly GroupReference[];
  /** The agent's own entries, without the group references. */
  readonly allow: readonly EntrySpec[];
  readonly deny: readonly EntrySpec[];
  /** `file:line` of the agent's definition. */
  readonly at: string;
}

/** `- group: NAME`, with `until` if the grant has an end. */
export interface GroupReference {
  readonly group: string;
  /** Ms since the epoch; Infinity if it has no end. The group's deny entries hold beyond it. */
  readonly until: number;
}

/** One line of an allow or deny list. Which of the two it is follows from the list it stands in. */
export interface EntrySpec {
  readonly pattern: HostPattern;
  /** Undefined only on a deny entry: every scheme. */
  readonly scheme: Scheme | undefined;
  /** 1–65535, in any order. Undefined only on a deny entry: every port. */
  readonly ports: readonly number[] | undefined;
  /** `addresses` as written; an IP or CIDR entry needs none, it grants itself. */
  readonly addresses: readonly Cidr[];
  /** Ms since the epoch; Infinity if it has no end. Always Infinity on a deny entry. */
  readonly until: number;
  /** Upper-case method names; undefined = any. */
  readonly methods: readonly string[] | undefined;
  /** Path patterns that `parsePathPattern` accepts; undefined = any. */
  readonly paths: readonly string[] | undefined;
  /** The entry carries `inject`. */
  readonly inject: boolean;
  /** Upload cap of one tunnel or request, bytes. */
  readonly upload: number | undefined;
  readonly note: string | undefined;
  /** Path relative to the allowlists directory. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
}
