import { createHash } from 'node:crypto';
import { type Ip, parseCidr } from '../../src/core/ip.ts';
import type { Evidence } from '../../src/identity/identity.ts';
import type { Issuer, WorkloadRule } from '../../src/policy/issuer.ts';
import type { Agent, AgentCredentials, GroupGrant, Policy } from '../../src/policy/policy.ts';

export interface AgentSketch {
  readonly issued?: boolean;
  /** Static tokens in clear: the policy gets their digests. */
  readonly tokens?: readonly string[];
  readonly certificates?: readonly string[];
  readonly workloads?: readonly WorkloadRule[];
  readonly sources?: readonly string[];
  readonly sourcesAlone?: boolean;
  /** Names of groups that the agent has. */
  readonly groups?: readonly string[];
}

/** A policy with as much in it as identification looks at: agents and their credentials, no entries. */
export function policyOf(
  sketches: Readonly<Record<string, AgentSketch>>,
  issuers: readonly Issuer[] = [],
): Policy {
  const agents = Object.entries(sketches).map(([id, sketch], index) => agentOf(id, sketch, index));
  return {
    digest: '0123456789ab',
    agents: new Map(agents.map((agent) => [agent.id, agent])),
    groups: new Map(),
    deny: [],
    // Identification never decides about a target.
    matcher: null as unknown as Policy['matcher'],
    tokens: new Map(
      agents.flatMap((agent) => agent.credentials.tokens.map((digest) => [digest, agent] as const)),
    ),
    certificates: new Map(
      agents.flatMap((agent) =>
        agent.credentials.certificates.map((name) => [name, agent] as const),
      ),
    ),
    sourceAgents: agents.filter((agent) => agent.credentials.sourcesAlone),
    issuers: new Map(issuers.map((issuer) => [issuer.name, issuer])),
  };
}

/** What a plain connection from this address shows. */
export function from(source: Ip | null, more: Partial<Evidence> = {}): Evidence {
  return { source, certificate: null, listener: null, ...more };
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export function basic(agentId: string, secret: string): string {
  return `Basic ${Buffer.from(`${agentId}:${secret}`, 'latin1').toString('base64')}`;
}

function agentOf(id: string, sketch: AgentSketch, index: number): Agent {
  return {
    id,
    owner: 'owner@example.com',
    purpose: 'a test',
    mode: 'enforce',
    credentials: credentialsOf(sketch),
    limits: { connections: undefined, connectionsPerSecond: undefined, uploadPerTunnel: undefined },
    groups: (sketch.groups ?? []).map(grantOf),
    allow: [],
    deny: [],
    index,
    at: `agents.yaml:${index + 1}`,
  };
}

function grantOf(name: string): GroupGrant {
  const group = { name, about: undefined, allow: [], deny: [], at: 'groups.yaml:1' };
  return { group, until: Number.POSITIVE_INFINITY };
}

function credentialsOf(sketch: AgentSketch): AgentCredentials {
  const sources = (sketch.sources ?? []).map((text) => {
    const cidr = parseCidr(text);
    if (cidr === null) throw new Error(`${text} is not a range`);
    return cidr;
  });
  return {
    issued: sketch.issued ?? true,
    tokens: (sketch.tokens ?? []).map(sha256),
    certificates: sketch.certificates ?? [],
    workloads: sketch.workloads ?? [],
    sources,
    sourcesAlone: sketch.sourcesAlone ?? false,
  };
}
