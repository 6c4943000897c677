import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CommandError } from '../../src/cli/io.ts';
import { type CredentialRequest, issueFor, parseTtl } from '../../src/cli/issue.ts';
import { parseCredentialKeys } from '../../src/identity/credential-keys.ts';
import { verifyCredential } from '../../src/identity/issued-credential.ts';
import { policyOf } from '../support/identity-policy.ts';

const keys = parseCredentialKeys('a'.repeat(64), 'credentials.key');
const policy = policyOf({
  demo: { groups: ['registry/npm', 'docs/python'] },
  bare: {},
  static: { issued: false },
});
const now = Date.UTC(2026, 10, 22, 12) + 250;

const error = (status: number, message: RegExp) => (thrown: unknown) =>
  thrown instanceof CommandError && thrown.exitStatus === status && message.test(thrown.message);

describe('issueFor', () => {
  test('gives what the proxy accepts, from now on', () => {
    const request = {
      agent: 'demo',
      ttl: 60,
      task: 'T-1',
      requestedBy: 'ann',
      only: ['docs/python'],
    };
    const issued = issueFor(policy, keys, request, now);
    const verified = verifyCredential(keys, issued.credential, now);
    assert.deepEqual(verified?.claims, {
      id: issued.id,
      agent: 'demo',
      issuedAt: Math.floor(now / 1000),
      expiresAt: Math.floor(now / 1000) + 60,
      task: 'T-1',
      requestedBy: 'ann',
      only: ['docs/python'],
      hosts: undefined,
    });
    assert.equal(verified?.expired, false);
    assert.equal(issued.expiresAt, verified?.claims.expiresAt && verified.claims.expiresAt * 1000);
    assert.equal(issued.agent, 'demo');
  });

  test('never gives the same twice', () => {
    const request = { agent: 'demo', ttl: 60 };
    const [one, two] = [issueFor(policy, keys, request, now), issueFor(policy, keys, request, now)];
    assert.notEqual(one.id, two.id);
    assert.notEqual(one.credential, two.credential);
  });

  const refused: readonly [string, Partial<CredentialRequest>, RegExp][] = [
    ['an unknown agent', { agent: 'dmeo' }, /no agent "dmeo".*did you mean `demo`/u],
    [
      'an agent that is like no other',
      { agent: 'zzzzzz' },
      /no agent "zzzzzz" in the allowlists\.$/u,
    ],
    [
      'an agent without issued credentials',
      { agent: 'static' },
      /static takes no issued.*agents\.yaml:3/u,
    ],
    [
      'a group of nobody',
      { only: ['registry/nmp'] },
      /no group "registry\/nmp".*did you mean `registry\/npm`/u,
    ],
    [
      'one wrong group of two',
      { only: ['registry/npm', 'x'] },
      /no group "x".*registry\/npm, docs\/python/u,
    ],
    [
      'a group of an agent that has none',
      { agent: 'bare', only: ['x'] },
      /it has none\. For a host write `host:PATTERN`\.$/u,
    ],
    ['a group twice', { only: ['docs/python', 'docs/python'] }, /twice/u],
    ['a long task', { task: 'x'.repeat(200) }, /200 bytes, 128/u],
    ['a requester with an escape', { requestedBy: '\x1b[0m' }, /cannot be printed/u],
  ];
  for (const [what, over, message] of refused) {
    test(`refuses ${what}`, () =>
      assert.throws(
        () => issueFor(policy, keys, { agent: 'demo', ttl: 60, ...over }, now),
        error(1, message),
      ));
  }
});

describe('parseTtl', () => {
  const good: readonly [string, number][] = [
    ['1s', 1],
    ['90s', 90],
    ['15m', 900],
    ['8h', 28_800],
    ['30d', 2_592_000],
    ['720h', 2_592_000],
  ];
  for (const [text, seconds] of good) {
    test(text, () => assert.equal(parseTtl(text), seconds));
  }
  for (const text of [
    '',
    '8',
    'h',
    '0h',
    '-1h',
    '+8h',
    '08h',
    '1.5h',
    '8 h',
    '8H',
    '1h30m',
    '500ms',
    '1w',
    '1e3s',
    '٨h',
  ]) {
    test(`refuses ${JSON.stringify(text)}`, () =>
      assert.throws(() => parseTtl(text), error(2, /whole number and a unit/u)));
  }
  for (const text of ['31d', '721h', '999999999d']) {
    test(`refuses ${text}`, () =>
      assert.throws(() => parseTtl(text), error(2, /30d is the most/u)));
  }
});
