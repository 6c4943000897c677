import type { Cidr } from '../core/ip.ts';
import type { EntryConditions } from './entry-conditions.ts';
import type { Issuer } from './issuer.ts';
import type { HostPattern } from './pattern.ts';
import type {
  Agent,
  AgentCredentials,
  AgentLimits,
  Group,
  GroupGrant,
  Policy,
  Scheme,
} from './policy.ts';
import { RuleCollector } from './rule-collector.ts';
import { type ScopeGrant, TOP_SCOPE } from './scopes.ts';

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
  /** Other issuers of tokens. */
  readonly issuers: readonly Issuer[];
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
export interface EntrySpec extends EntryConditions {
  readonly pattern: HostPattern;
  /** Undefined only on a deny entry: every scheme. */
  readonly scheme: Scheme | undefined;
  /** 1–65535, in any order. Undefined only on a deny entry: every port. */
  readonly ports: readonly number[] | undefined;
  /** `addresses` as written; an IP or CIDR entry needs none, it grants itself. */
  readonly addresses: readonly Cidr[];
  /** Ms since the epoch; Infinity if it has no end. Always Infinity on a deny entry. */
  readonly until: number;
  /** Upload cap of one tunnel or request, bytes. */
  readonly upload: number | undefined;
  readonly note: string | undefined;
  /** Path relative to the allowlists directory. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

/**
 * Compiles a policy. Entries, agents and groups come out frozen. Throws a TypeError for what
 * `PolicySpec` rules out but its types do not: a name twice, an unknown group, a token or
 * certificate of two agents, a path pattern that does not parse, an allow entry without scheme or ports. Those are
 * mistakes of the caller; mistakes of admins are found and positioned before.
 */
export function buildPolicy(spec: PolicySpec): Policy {
  const rules = new RuleCollector();
  const deny = rules.addList(spec.deny, 'deny', TOP_SCOPE, undefined);
  const groups = buildGroups(spec.groups, rules);
  const { agents, grants } = buildAgents(spec.agents, groups, rules);
  return Object.freeze({
    digest: spec.digest,
    agents: new Map(agents.map((agent) => [agent.id, agent])),
    groups,
    deny,
    matcher: rules.seal(agents, grants),
    tokens: ownersOf(agents, 'tokens'),
    certificates: ownersOf(agents, 'certificates'),
    sourceAgents: Object.freeze(agents.filter((agent) => agent.credentials.sourcesAlone)),
    issuers: new Map(spec.issuers.map((issuer) => [issuer.name, Object.freeze(issuer)])),
  });
}

/** Scope of a group = its place in the map, from 1. */
function buildGroups(specs: readonly GroupSpec[], rules: RuleCollector): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const spec of specs) {
    if (groups.has(spec.name)) throw new TypeError(`group ${spec.name} is there twice`);
    const scope = groups.size + 1;
    const allow = rules.addList(spec.allow, 'allow', scope, spec.name);
    const deny = rules.addList(spec.deny, 'deny', scope, spec.name);
    const { name, about, at } = spec;
    groups.set(name, Object.freeze({ name, about, allow, deny, at }));
  }
  return groups;
}

function buildAgents(
  specs: readonly AgentSpec[],
  groups: ReadonlyMap<string, Group>,
  rules: RuleCollector,
): { agents: Agent[]; grants: ScopeGrant[][] } {
  const scopes = new Map([...groups.keys()].map((name, index) => [name, index + 1]));
  const agents: Agent[] = [];
  const grants: ScopeGrant[][] = [];
  for (const spec of specs.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    const index = agents.length;
    if (agents[index - 1]?.id === spec.id) throw new TypeError(`agent ${spec.id} is there twice`);
    const own = groups.size + 1 + index;
    const granted = grantsOf(spec, groups);
    agents.push(
      Object.freeze({
        id: spec.id,
        owner: spec.owner,
        purpose: spec.purpose,
        mode: spec.mode,
        credentials: Object.freeze({ ...spec.credentials }),
        limits: Object.freeze({ ...spec.limits }),
        groups: granted,
        allow: rules.addList(spec.allow, 'allow', own, undefined),
        deny: rules.addList(spec.deny, 'deny', own, undefined),
        index,
        at: spec.at,
      }),
    );
    const ofGroups = granted.map(({ group, until }) => {
      return { scope: scopes.get(group.name) as number, until };
    });
    const endless = [own, TOP_SCOPE].map((scope) => ({ scope, until: Number.POSITIVE_INFINITY }));
    grants.push([...ofGroups, ...endless]);
  }
  return { agents, grants };
}

/** A group that is named twice stands where it is named first and holds as long as either says. */
function grantsOf(spec: AgentSpec, groups: ReadonlyMap<string, Group>): readonly GroupGrant[] {
  const untils = new Map<string, number>();
  for (const { group, until } of spec.groups) {
    untils.set(group, Math.max(untils.get(group) ?? Number.NEGATIVE_INFINITY, until));
  }
  const grants = [...untils].map(([name, until]) => {
    const group = groups.get(name);
    if (group === undefined) throw new TypeError(`agent ${spec.id} names no group: ${name}`);
    return Object.freeze({ group, until });
  });
  return Object.freeze(grants);
}

/** What names its agent by itself → that agent. */
function ownersOf(agents: readonly Agent[], key: 'tokens' | 'certificates'): Map<string, Agent> {
  const owners = new Map<string, Agent>();
  for (const agent of agents) {
    for (const proof of agent.credentials[key]) {
      const other = owners.get(proof) ?? agent;
      if (other !== agent) throw new TypeError(`${other.id} and ${agent.id} share one of ${key}`);
      owners.set(proof, agent);
    }
  }
  return owners;
}
