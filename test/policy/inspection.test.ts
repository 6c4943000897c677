import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCidr, parseIp } from '../../src/core/ip.ts';
import { buildPolicy, type EntrySpec } from '../../src/policy/build.ts';
import {
  type Decision,
  type DecisionRequest,
  decide,
  HTTP,
  HTTPS,
  TCP,
} from '../../src/policy/decide.ts';
import { agentNeedsInspection, policyNeedsInspection } from '../../src/policy/inspection.ts';
import { agent, bearer, entry, group, policySpec } from '../support/policy-specs.ts';

const withMethods = entry('a.com', { line: 1, methods: ['GET'] });
const withPaths = entry('a.com', { line: 2, paths: ['/a'] });
const withSecret = entry('a.com', { line: 3, inject: [bearer] });

function ask(host: string, fields: Partial<DecisionRequest> = {}): DecisionRequest {
  const base = { host, ip: parseIp(host), port: 443, scheme: 'connect', scope: undefined } as const;
  return { ...base, method: undefined, path: undefined, inspects: true, ...fields };
}

/** The decision on an agent with these entries, for whoever can inspect TLS. */
function inspected(
  allow: readonly EntrySpec[],
  request: DecisionRequest,
  mode: 'enforce' | 'report' = 'enforce',
): Decision {
  const policy = buildPolicy(policySpec({ agents: [agent('a', { allow, mode })] }));
  const compiled = policy.agents.get('a');
  assert.ok(compiled);
  return decide(policy, compiled, request, 1000);
}

/** Verdict, reason, line of the entry, whether it is inspected, schemes. */
function show({ verdict, reason, entry: by, inspect, schemes }: Decision): string {
  return `${verdict} ${reason} ${by?.line ?? '-'} ${inspect} ${schemes}`;
}

describe('entries that need inspection', () => {
  for (const [what, allow, request, expected] of [
    ['a tunnel', [withMethods], ask('a.com'), `allow null 1 true ${HTTPS}`],
    [
      'a request that holds',
      [withPaths, withMethods],
      ask('a.com', { scheme: 'https', method: 'GET', path: '/b' }),
      `allow null 1 true ${HTTPS}`,
    ],
    [
      'another method',
      [withMethods],
      ask('a.com', { scheme: 'https', method: 'POST', path: '/a' }),
      'block method_not_allowed 1 true 0',
    ],
    [
      'another path',
      [withPaths],
      ask('a.com', { scheme: 'https', method: 'GET', path: '/b' }),
      'block path_not_allowed 2 true 0',
    ],
    ['a secret', [withSecret], ask('a.com'), `allow null 3 true ${HTTPS}`],
    [
      'a secret beside a condition',
      [withSecret, withMethods],
      ask('a.com'),
      `allow null 3 true ${HTTPS}`,
    ],
    [
      'an entry that needs none, whatever the order',
      [withMethods, entry('a.com', { line: 4 })],
      ask('a.com'),
      `allow null 4 false ${HTTPS}`,
    ],
    [
      'an entry for anything',
      [withMethods, entry('a.com', { line: 4, scheme: 'tcp' })],
      ask('a.com'),
      `allow null 4 false ${TCP}`,
    ],
    [
      'plain HTTP on the same port',
      [withMethods, entry('a.com', { line: 4, scheme: 'http' })],
      ask('a.com'),
      `allow null 1 true ${HTTPS | HTTP}`,
    ],
    [
      'a wider entry that needs none',
      [withMethods, entry('*.com', { line: 4 })],
      ask('a.com', { scheme: 'https', method: 'POST', path: '/a' }),
      'block method_not_allowed 1 true 0',
    ],
  ] as const) {
    it(`are opened for whoever can inspect: ${what}`, () => {
      assert.equal(show(inspected(allow, request)), expected);
    });
  }

  it('lend their addresses to nothing that passes unread', () => {
    const addresses = [parseCidr('10.0.0.0/8')!];
    const granting = entry('a.com', { line: 1, methods: ['GET'], addresses });
    const free = entry('a.com', { line: 2 });
    assert.deepEqual(inspected([granting, free], ask('a.com')).addresses, []);
    assert.deepEqual(inspected([granting], ask('a.com')).addresses, addresses);
  });

  it('are only reported on in report mode', () => {
    const request = ask('a.com', { scheme: 'https', method: 'POST', path: '/a' });
    const decision = inspected([withMethods], request, 'report');
    assert.equal(show(decision), `allow method_not_allowed 1 true ${HTTPS}`);
    assert.equal(decision.report, true);
  });
});

describe('who needs inspection', () => {
  const grants = [{ group: 'g', until: Number.POSITIVE_INFINITY }];
  for (const [what, allow, groups, expected] of [
    ['nobody by plain entries', [entry('a.com', {})], [], false],
    [
      'nobody by conditions on plain HTTP',
      [entry('a.com', { scheme: 'http', methods: ['GET'] })],
      [],
      false,
    ],
    ['an agent by an entry of its own', [withPaths], [], true],
    ['an agent by an entry of a group', [], grants, true],
  ] as const) {
    it(what, () => {
      const own = agent('a', { allow, groups });
      const groupsOf = [group('g', { allow: [withMethods] })];
      const policy = buildPolicy(policySpec({ groups: groupsOf, agents: [own] }));
      const compiled = policy.agents.get('a');
      assert.ok(compiled);
      assert.equal(agentNeedsInspection(compiled), expected);
      assert.equal(policyNeedsInspection(policy), expected);
    });
  }
});
