import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '../../src/core/ip.ts';
import type { Narrowing } from '../../src/identity/credential-claims.ts';
import { credentialKey, credentialKeys } from '../../src/identity/credential-keys.ts';
import { AgentIdentifier } from '../../src/identity/identify.ts';
import { type Identity, isFailure } from '../../src/identity/identity.ts';
import { attenuateCredential, issueCredential } from '../../src/identity/issued-credential.ts';
import { buildPolicy } from '../../src/policy/build.ts';
import { decide } from '../../src/policy/decide.ts';
import { hostPattern } from '../../src/policy/pattern.ts';
import { basic, from } from '../support/identity-policy.ts';
import { agent, denial, entry, group, policySpec } from '../support/policy-specs.ts';

const start = Date.UTC(2026, 10, 22, 12);
const key = credentialKey(Buffer.alloc(32, 1));
const groups = [
  group('g', { allow: [entry('.a.test'), entry('10.0.0.0/8')] }),
  group('h', { allow: [entry('x.a.test', { methods: ['GET'] }), entry('b.test')] }),
];
const policy = buildPolicy(
  policySpec({
    groups,
    agents: (['enforce', 'report'] as const).map((mode) =>
      agent(mode, {
        mode,
        groups: groups.map(({ name }) => ({ group: name, until: Number.POSITIVE_INFINITY })),
        allow: [entry('own.test', { until: start + 90_000 })],
        deny: [denial('no.a.test')],
      }),
    ),
  }),
);

const hosts = [
  'a.test',
  'x.a.test',
  'y.a.test',
  'no.a.test',
  'b.test',
  'own.test',
  'c.test',
  '10.1.1.1',
];
const times = [start, start + 60_000, start + 120_000, start + 3_700_000];

const step: fc.Arbitrary<Narrowing> = fc
  .record(
    {
      expiresAt: fc.option(
        fc.constantFrom(60, 120, 9999).map((s) => start / 1000 + s),
        { nil: undefined },
      ),
      only: fc.option(fc.uniqueArray(fc.constantFrom('g', 'h', 'unknown'), { minLength: 1 }), {
        nil: undefined,
      }),
      hosts: fc.option(
        fc.uniqueArray(
          fc.constantFrom(
            '*',
            '.a.test',
            '*.a.test',
            'x.a.test',
            'c.test',
            'own.test',
            '10.1.0.0/16',
          ),
          { minLength: 1 },
        ),
        { nil: undefined },
      ),
    },
    { noNullPrototype: true },
  )
  .filter(({ expiresAt, only, hosts: names }) => (expiresAt ?? only ?? names) !== undefined);

const identifiers = times.map((now) => ({
  now,
  identifier: new AgentIdentifier({
    keys: credentialKeys([key], key),
    clock: { now: () => now, monotonic: () => now },
    patternOf: hostPattern,
  }),
}));

/** All that a credential opens, as `time host port`. */
function opens(credential: string, agentId: string): string[] {
  return identifiers.flatMap(({ now, identifier }) => {
    const identity = identifier.identify(policy, basic(agentId, credential), from(null));
    return isFailure(identity) ? [] : opened(identity, now);
  });
}

function opened({ agent: who, scope }: Identity, now: number): string[] {
  const rest = { scheme: 'connect', method: undefined, path: undefined, scope } as const;
  return hosts.flatMap((host) =>
    [443, 22]
      .filter((port) => {
        const request = { host, ip: parseIp(host), port, ...rest };
        return decide(policy, who, request, now).verdict === 'allow';
      })
      .map((port) => `${now} ${host} ${port}`),
  );
}

describe('a credential, narrowed by its holders', () => {
  it('opens with every step a part of what it opened before', () => {
    let taken = 0;
    let left = 0;
    fc.assert(
      fc.property(
        fc.constantFrom('enforce', 'report'),
        fc.array(step, { minLength: 1, maxLength: 4 }),
        (agentId, steps) => {
          let credential = issueCredential(key, {
            id: '01JD8Q6Z0000000000000000AB',
            agent: agentId,
            issuedAt: start / 1000,
            expiresAt: start / 1000 + 3600,
            task: undefined,
            requestedBy: undefined,
            only: undefined,
            hosts: undefined,
          });
          let wide = new Set(opens(credential, agentId));
          for (const narrowing of steps) {
            credential = attenuateCredential(credential, narrowing);
            const narrow = opens(credential, agentId);
            for (const target of narrow) assert.ok(wide.has(target), target);
            taken += wide.size - narrow.length;
            left += narrow.length;
            wide = new Set(narrow);
          }
        },
      ),
      { numRuns: 300 },
    );
    assert.ok(taken > 1000 && left > 1000, `${taken} taken, ${left} left`);
  });
});
