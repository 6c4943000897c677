import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseIp } from '../../src/core/ip.ts';
import { agentBySource, sourceAllowed } from '../../src/identity/source-address.ts';
import type { Agent } from '../../src/policy/policy.ts';
import { policyOf } from '../support/identity-policy.ts';

const policy = policyOf({
  anywhere: {},
  office: { sources: ['10.20.0.0/24', '2001:db8:1::/48'] },
  runner: { sources: ['10.30.0.7'], sourcesAlone: true },
  lab: { sources: ['10.30.1.0/24', '2001:db8:2::/48'], sourcesAlone: true },
  twin: { sources: ['10.30.1.128/25'], sourcesAlone: true },
});
const agent = (id: string): Agent => policy.agents.get(id) as Agent;

describe('sources narrow a credential', () => {
  const cases: readonly [string, string | null, boolean][] = [
    ['anywhere', '192.0.2.1', true],
    ['anywhere', null, true],
    ['office', '10.20.0.0', true],
    ['office', '10.20.0.255', true],
    ['office', '10.20.1.0', false],
    ['office', '10.19.255.255', false],
    ['office', '2001:db8:1:ffff::1', true],
    ['office', '2001:db8:2::1', false],
    ['office', '::ffff:10.20.0.9', true],
    ['office', '::ffff:10.21.0.9', false],
    ['office', '64:ff9b::10.20.0.9', false],
    ['office', '::10.20.0.9', false],
    ['office', null, false],
  ];
  for (const [id, source, expected] of cases) {
    test(`${id} from ${source}: ${expected}`, () =>
      assert.equal(sourceAllowed(agent(id), source === null ? null : parseIp(source)), expected));
  }
});

describe('a source alone names an agent', () => {
  const cases: readonly [string | null, string | undefined][] = [
    ['10.30.0.7', 'runner'],
    ['::ffff:10.30.0.7', 'runner'],
    ['10.30.0.8', undefined],
    ['10.30.1.1', 'lab'],
    ['2001:db8:2::9', 'lab'],
    ['10.30.1.200', undefined],
    ['10.20.0.1', undefined],
    [null, undefined],
  ];
  for (const [source, expected] of cases) {
    test(`${source}: ${expected}`, () => {
      const found = agentBySource(policy.sourceAgents, source === null ? null : parseIp(source));
      assert.equal(found?.id, expected);
    });
  }
});
