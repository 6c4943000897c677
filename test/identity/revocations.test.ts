import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { AgentIdentifier } from '../../src/identity/identify.ts';
import type { ClientCertificate, Identity } from '../../src/identity/identity.ts';
import {
  parseSerial,
  parseTokenId,
  type RevocationEntry,
  Revocations,
} from '../../src/identity/revocations.ts';
import { basic, from, policyOf, sha256 } from '../support/identity-policy.ts';

const second = Date.UTC(2026, 10, 22, 12);
const id = '01JD8Q6Z0000000000000000AA';

const policy = policyOf({ demo: { tokens: ['demo-token'] }, bob: { tokens: ['bob-token'] } });
const [demo, bob] = [...policy.agents.values()] as [Identity['agent'], Identity['agent']];

const identity = (over: Partial<Identity> = {}): Identity => ({
  agent: demo,
  kind: 'issued',
  token: id,
  issuedAt: second + 500,
  expiresAt: second + 3_600_000,
  task: undefined,
  requestedBy: undefined,
  scope: undefined,
  key: undefined,
  ...over,
});
const staticToken: Identity = identity({
  kind: 'static',
  token: `sha256:${sha256('demo-token').slice(0, 12)}`,
  issuedAt: undefined,
});
const certificate = (serial: string, issuedAt = second): ClientCertificate => ({
  serial,
  spiffe: null,
  subject: null,
  issuedAt,
  expiresAt: Infinity,
  isListed: () => false,
});
const entry = (
  kind: RevocationEntry['kind'],
  what: string,
  at: number | undefined = undefined,
): RevocationEntry => ({
  kind,
  id: what,
  at,
  by: undefined,
  why: undefined,
  place: 'revocations.yaml:1',
});

describe('what an entry ends', () => {
  const bare = from(null);
  const shown = from(null, { certificate: certificate('0a1b') });
  const cases: [what: string, RevocationEntry[], Identity, typeof bare, string | null][] = [
    ['nothing is revoked', [], identity(), bare, null],
    ['its id', [entry('token', id)], identity(), bare, 'credential_revoked'],
    ['another id', [entry('token', '01JD8Q6Z0000000000000000AB')], identity(), bare, null],
    [
      'a static token',
      [entry('token', `sha256:${sha256('demo-token').slice(0, 12)}`)],
      staticToken,
      bare,
      'credential_revoked',
    ],
    ['a serial', [entry('certificate', '0a1b')], identity(), shown, 'credential_revoked'],
    ['another serial', [entry('certificate', '0a1c')], identity(), shown, null],
    ['a serial of nobody here', [entry('certificate', '0a1b')], identity(), bare, null],
    ['its agent', [entry('agent', 'demo', second + 1000)], identity(), bare, 'credential_revoked'],
    ['another agent', [entry('agent', 'bob', second + 1000)], identity(), bare, null],
    ['its agent, before it', [entry('agent', 'demo', second - 1)], identity(), bare, null],
    [
      'its agent, in its second, before it',
      [entry('agent', 'demo', second + 499)],
      identity(),
      bare,
      null,
    ],
    [
      'its agent, in its millisecond',
      [entry('agent', 'demo', second + 500)],
      identity(),
      bare,
      'credential_revoked',
    ],
    [
      'its agent, twice, the later time first',
      [entry('agent', 'demo', second + 1000), entry('agent', 'demo', second - 1000)],
      identity(),
      bare,
      'credential_revoked',
    ],
    [
      'its agent, and nobody issued it',
      [entry('agent', 'demo', second + 1000)],
      staticToken,
      bare,
      null,
    ],
    [
      'its agent, and a certificate from before beside it',
      [entry('agent', 'demo', second + 1000)],
      staticToken,
      shown,
      'credential_revoked',
    ],
    ['a quarantine', [entry('quarantine', 'demo')], staticToken, bare, 'agent_quarantined'],
    ['another one’s quarantine', [entry('quarantine', 'bob')], staticToken, bare, null],
    [
      'a quarantine and a revocation',
      [entry('token', id), entry('quarantine', 'demo')],
      identity(),
      bare,
      'agent_quarantined',
    ],
  ];
  for (const [what, entries, who, evidence, expected] of cases) {
    test(`${what}: ${expected}`, () => {
      assert.equal(new Revocations(entries).find(who, evidence), expected);
    });
  }
});

describe('the identifier', () => {
  const clock = { now: () => second, monotonic: () => 0 };
  const header = basic('demo', 'demo-token');

  test('asks at every request, remembered or not, and again for what is live', () => {
    const identifier = new AgentIdentifier({ keys: null, clock });
    const first = identifier.identify(policy, header, from(null));
    assert.ok('kind' in first);
    identifier.revoke(new Revocations([entry('quarantine', 'demo')]));
    const stopped = identifier.identify(policy, header, from(null));
    assert.deepEqual(stopped, {
      reason: 'agent_quarantined',
      agent: demo,
      token: staticToken.token,
    });
    assert.equal(identifier.recheck(policy, first, from(null)), 'agent_quarantined');
    const other = identifier.identify(policy, basic('bob', 'bob-token'), from(null));
    assert.equal('kind' in other && other.agent, bob);
    identifier.revoke(new Revocations([]));
    assert.equal(identifier.recheck(policy, first, from(null)), null);
    assert.ok('kind' in identifier.identify(policy, header, from(null)));
  });

  test('says that an agent is quarantined only to who has proven to be it', () => {
    const identifier = new AgentIdentifier({ keys: null, clock });
    identifier.revoke(new Revocations([entry('quarantine', 'demo')]));
    for (const wrong of [basic('demo', 'guess'), 'Bearer guess', undefined]) {
      const result = identifier.identify(policy, wrong, from(null));
      assert.ok('reason' in result && result.reason !== 'agent_quarantined');
    }
  });
});

describe('ids as people write them', () => {
  const digest = sha256('x');
  const tokens: [string, string | null][] = [
    ['01JD8Q6Z0000000000000000AB', '01JD8Q6Z0000000000000000AB'],
    ['01jd8q6z0000000000000000ab', '01JD8Q6Z0000000000000000AB'],
    [`sha256:${digest}`, `sha256:${digest.slice(0, 12)}`],
    [`sha256:${digest.slice(0, 12).toUpperCase()}`, `sha256:${digest.slice(0, 12)}`],
    ['jwt:issuer.example/abc', 'jwt:issuer.example/abc'],
    [`sha256:${digest.slice(0, 13)}`, null],
    ['81JD8Q6Z0000000000000000AB', null],
    ['01JD8Q6Z0000000000000000A', null],
    ['jwt:', null],
    ['jwt:a b', null],
    ['sp1.abc.def', null],
    ['', null],
  ];
  for (const [text, expected] of tokens) {
    test(`token ${JSON.stringify(text)}`, () => assert.equal(parseTokenId(text), expected));
  }

  const serials: [string, string | null][] = [
    ['0a1b', '0a1b'],
    ['A1B', '0a1b'],
    ['0A:1B', '0a1b'],
    ['00:0A:1B', '0a1b'],
    ['0', '00'],
    ['0:1', null],
    ['a:1b', '0a1b'],
    ['0a:1b:', null],
    ['', null],
    [':', null],
    ['xyz', null],
    ['ab'.repeat(21), 'ab'.repeat(21)],
    ['ab'.repeat(22), null],
  ];
  for (const [text, expected] of serials) {
    test(`serial ${JSON.stringify(text)}`, () => assert.equal(parseSerial(text), expected));
  }

  test('any spelling of a serial finds the certificate', () => {
    const digits = fc
      .uint8Array({ minLength: 1, maxLength: 20 })
      .map((bytes) => Buffer.from(bytes).toString('hex'));
    fc.assert(
      fc.property(digits, fc.boolean(), fc.boolean(), (hex, upper, colons) => {
        const spaced = colons ? hex.replace(/..(?=.)/g, '$&:') : hex;
        const serial = parseSerial(upper ? spaced.toUpperCase() : spaced);
        assert.ok(serial !== null);
        const revocations = new Revocations([entry('certificate', serial)]);
        const shown = from(null, { certificate: certificate(hex) });
        assert.equal(revocations.find(identity(), shown), 'credential_revoked');
      }),
    );
  });

  test('any text is read without a throw, in time', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 2000 }), (text) => {
        parseTokenId(text);
        parseSerial(text);
      }),
    );
    const started = performance.now();
    for (const text of ['a'.repeat(1e6), 'a:'.repeat(5e5), '0'.repeat(1e6), 'ab:'.repeat(3e5)]) {
      assert.equal(parseSerial(text), null);
      assert.equal(parseTokenId(text), null);
    }
    assert.ok(performance.now() - started < 2000);
  });
});
