import type { AgentSpec, EntrySpec, GroupSpec, PolicySpec } from '../../src/policy/build.ts';
import { unconditional } from '../../src/policy/entry-conditions.ts';
import type { Injection } from '../../src/policy/injection.ts';
import { type HostPattern, isHostPattern, parsePattern } from '../../src/policy/pattern.ts';

/** The pattern of a text that must be valid. */
export function pattern(text: string): HostPattern {
  const read = parsePattern(text);
  if (!isHostPattern(read)) throw new Error(`${text}: ${read.message}`);
  return read;
}

/** A bearer token from the environment. */
export const bearer: Injection = {
  header: 'authorization',
  scheme: { kind: 'template', value: 'Bearer {secret}' },
  secret: { kind: 'env', name: 'TOKEN' },
};

/** An https entry on 443 without conditions, in `test.yaml`, unless told otherwise. */
export function entry(host: string, fields: Partial<EntrySpec> = {}): EntrySpec {
  return {
    pattern: pattern(host),
    scheme: 'https',
    ports: [443],
    addresses: [],
    until: Number.POSITIVE_INFINITY,
    ...unconditional,
    upload: undefined,
    note: undefined,
    file: 'test.yaml',
    line: 1,
    ...fields,
  };
}

/** A deny entry for every scheme and port. */
export function denial(host: string, fields: Partial<EntrySpec> = {}): EntrySpec {
  return entry(host, { scheme: undefined, ports: undefined, ...fields });
}

export function group(name: string, fields: Partial<GroupSpec> = {}): GroupSpec {
  return { name, about: undefined, allow: [], deny: [], at: 'test.yaml:1', ...fields };
}

export function agent(id: string, fields: Partial<AgentSpec> = {}): AgentSpec {
  return {
    id,
    owner: 'owner@example.com',
    purpose: 'test',
    mode: 'enforce',
    credentials: {
      issued: true,
      tokens: [],
      certificates: [],
      workloads: [],
      sources: [],
      sourcesAlone: false,
    },
    limits: { connections: undefined, connectionsPerSecond: undefined, uploadPerTunnel: undefined },
    groups: [],
    allow: [],
    deny: [],
    at: 'test.yaml:1',
    ...fields,
  };
}

export function policySpec(fields: Partial<PolicySpec> = {}): PolicySpec {
  return { digest: '0123456789ab', groups: [], agents: [], deny: [], issuers: [], ...fields };
}
