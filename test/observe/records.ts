import type { EgressRecord } from '../../src/observe/egress-log.ts';
import type { Agent } from '../../src/policy/policy.ts';

export function agentNamed(id: string): Agent {
  return {
    id,
    owner: 'web-platform@example.com',
    purpose: 'Move the storefront to React',
    mode: 'enforce',
    credentials: {
      issued: true,
      tokens: [],
      certificates: [],
      workloads: [],
      sources: [],
      sourcesAlone: false,
    },
    limits: {
      connections: undefined,
      connectionsPerSecond: undefined,
      uploadPerTunnel: undefined,
    },
    groups: [],
    allow: [],
    deny: [],
    index: 0,
    at: 'agents.yaml:1',
  };
}

/** A record with every field. */
export const fullRecord: Required<EgressRecord> = {
  event: 'open',
  id: '01JD5Z3V9M7QK2W8R4T6Y0XABC',
  agent: agentNamed('demo'),
  verdict: 'allow',
  reason: 'host_not_allowed',
  scheme: 'https',
  host: 'registry.npm.example',
  port: 443,
  method: 'CONNECT',
  path: '/a/b?c=d',
  tool: 'create_issue',
  params: '{"repo":"storefront"}',
  status: 200,
  entry: 'registries.yaml:12',
  group: 'registry/npm',
  policy: '3f9c2a71b0de',
  task: 'OPS-1421',
  requestedBy: 'ann@example.com',
  token: 'sha256:0123456789ab',
  client: '10.20.0.17:51234',
  address: '[2606:4700::1111]:443',
  sni: 'registry.npm.example',
  bytesUp: 1200,
  bytesDown: 34_000,
  ms: 12.42,
  dnsMs: 0.04,
  dialMs: 8.1,
  end: 'client',
  report: true,
};
