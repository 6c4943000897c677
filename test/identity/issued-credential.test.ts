import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type CredentialClaims, maxTtl } from '../../src/identity/credential-claims.ts';
import { credentialKey, credentialKeys } from '../../src/identity/credential-keys.ts';
import {
  CredentialRequestError,
  issueCredential,
  verifyCredential,
} from '../../src/identity/issued-credential.ts';
import { assertEveryCharacterCounts } from '../support/altered.ts';

const first = credentialKey(Buffer.alloc(32, 1));
const second = credentialKey(Buffer.alloc(32, 2));
const stranger = credentialKey(Buffer.alloc(32, 3));
const keys = credentialKeys([first, second], first);

const now = Date.UTC(2026, 10, 22, 12) / 1000;
const claims: CredentialClaims = {
  id: '01JD8Q6Z0000000000000000AB',
  agent: 'demo',
  issuedAt: now,
  expiresAt: now + 3600,
  task: 'OPS-1421 "quoted" ü',
  requestedBy: 'Zoë <zoe@example.com>',
  only: ['registry/npm', 'docs/python'],
  hosts: ['*.example.com', '10.0.0.0/8'],
};
const bare: CredentialClaims = {
  ...claims,
  task: undefined,
  requestedBy: undefined,
  only: undefined,
  hosts: undefined,
};

const verify = (credential: string, at = now): ReturnType<typeof verifyCredential> =>
  verifyCredential(keys, credential, at * 1000);

/** A credential with a right signature around any payload. */
function forge(payload: string | Buffer, key = first): string {
  const signed = `sp1.${Buffer.from(payload).toString('base64url')}`;
  return `${signed}.${createHmac('sha256', key.key).update(signed).digest('base64url')}`;
}

const payload = (over: Record<string, unknown> = {}): Record<string, unknown> => ({
  k: first.id,
  j: claims.id,
  a: 'demo',
  i: now,
  e: now + 3600,
  ...over,
});

describe('an issued credential', () => {
  test('comes back as it was issued', () => {
    const rest = { key: first.id, narrowings: [], expiresAt: (now + 3600) * 1000, expired: false };
    assert.deepEqual(verify(issueCredential(first, claims)), { claims, ...rest });
    assert.deepEqual(verify(issueCredential(first, bare)), { claims: bare, ...rest });
  });

  test('needs no escaping in a URL and stays short', () => {
    const credential = issueCredential(first, bare);
    assert.match(credential, /^sp1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}$/u);
    assert.ok(credential.length < 220, `${credential.length}`);
    const url = new URL(`http://demo:${credential}@127.0.0.1:3128`);
    assert.equal(url.password, credential);
  });

  test('of an older key is accepted, of a strange one not', () => {
    assert.deepEqual(verify(issueCredential(second, bare))?.claims, bare);
    assert.equal(verify(issueCredential(stranger, bare)), null);
  });

  test('ends with the second in which it expires', () => {
    const credential = issueCredential(first, bare);
    assert.equal(verifyCredential(keys, credential, (now + 3600) * 1000 - 1)?.expired, false);
    assert.equal(verifyCredential(keys, credential, (now + 3600) * 1000)?.expired, true);
  });

  test('may come from a clock that is a minute ahead, not more', () => {
    const credential = issueCredential(first, bare);
    assert.notEqual(verify(credential, now - 60), null);
    assert.equal(verify(credential, now - 61), null);
  });
});

describe('is refused', () => {
  const good = issueCredential(first, bare);
  const [, body, signature] = good.split('.') as [string, string, string];
  const text = JSON.stringify(payload());
  assert.deepEqual(verify(forge(text))?.claims, bare, 'the forge works');

  const cases: readonly [string, string][] = [
    ['empty', ''],
    ['the prefix alone', 'sp1.'],
    ['two parts', `sp1.${body}`],
    ['an empty signature', `sp1.${body}.`],
    ['an empty payload', `sp1..${signature}`],
    ['four parts', `${good}.${signature}`],
    ['another version', good.replace('sp1', 'sp2')],
    ['an upper-case prefix', good.replace('sp1', 'SP1')],
    ['a space behind', `${good} `],
    ['padding', `${good}=`],
    ['the signature cut', good.slice(0, -1)],
    ['the signature in plain Base64', `sp1.${body}.${signature.slice(0, -1)}+`],
    ['another signature of the same length', `sp1.${body}.${'A'.repeat(43)}`],
    [
      'the payload of another agent',
      `sp1.${Buffer.from(text.replace('demo', 'evil')).toString('base64url')}.${signature}`,
    ],
    ['longer than 1,024 characters', forge(JSON.stringify(payload({ t: 'a'.repeat(1024) })))],
    ['a payload that is no JSON', forge(text.slice(0, -1))],
    ['a payload that is a number', forge('{"k":"12345678')],
    ['nesting', forge(text.replace('"demo"', '['.repeat(300)))],
    ['white space in the payload', forge(text.replace('{"k":"', '{"k": "'))],
    ['white space behind the payload', forge(`${text} `)],
    ['a duplicate claim', forge(text.replace('"a":"demo"', '"a":"demo","a":"evil"'))],
    [
      'a duplicate claim with the last one right',
      forge(text.replace('"a":"demo"', '"a":"evil","a":"demo"')),
    ],
    [
      'claims in another order',
      forge(JSON.stringify({ k: first.id, a: 'demo', j: claims.id, i: now, e: now + 3600 })),
    ],
    ['an unknown claim', forge(JSON.stringify(payload({ x: 1 })))],
    ['__proto__', forge(text.replace('}', ',"__proto__":{}}'))],
    ['an escaped spelling', forge(text.replace('demo', '\\u0064emo'))],
    ['no expiry', forge(JSON.stringify(payload({ e: undefined })))],
    ['an expiry as text', forge(JSON.stringify(payload({ e: String(now + 3600) })))],
    ['an expiry with a fraction', forge(JSON.stringify(payload({ e: now + 0.5 })))],
    ['an expiry of 1e300', forge(text.replace(String(now + 3600), '1e300'))],
    ['an expiry of null', forge(JSON.stringify(payload({ e: null })))],
    ['an expiry at the issue', forge(JSON.stringify(payload({ e: now })))],
    ['an expiry before the issue', forge(JSON.stringify(payload({ e: now - 1 })))],
    ['a life over 30 days', forge(JSON.stringify(payload({ e: now + maxTtl + 1 })))],
    ['no issue time', forge(JSON.stringify(payload({ i: undefined })))],
    ['a negative issue time', forge(JSON.stringify(payload({ i: -1 })))],
    ['an issue time in the future', forge(JSON.stringify(payload({ i: now + 61 })))],
    ['no id', forge(JSON.stringify(payload({ j: undefined })))],
    ['an id that is no ULID', forge(JSON.stringify(payload({ j: 'x' })))],
    ['no agent', forge(JSON.stringify(payload({ a: undefined })))],
    ['an agent list', forge(JSON.stringify(payload({ a: ['demo'] })))],
    ['an upper-case agent', forge(JSON.stringify(payload({ a: 'Demo' })))],
    ['an empty task', forge(JSON.stringify(payload({ t: '' })))],
    ['a line break in the task', forge(JSON.stringify(payload({ t: 'a\nb' })))],
    ['an empty list of hosts', forge(JSON.stringify(payload({ h: [] })))],
    ['a host with a space', forge(JSON.stringify(payload({ h: ['a b'] })))],
    ['a host twice', forge(JSON.stringify(payload({ h: ['a.com', 'a.com'] })))],
    [
      '33 hosts',
      forge(JSON.stringify(payload({ h: Array.from({ length: 33 }, (_, i) => `h${i}`) }))),
    ],
    ['an empty list of groups', forge(JSON.stringify(payload({ o: [] })))],
    ['a group that is a number', forge(JSON.stringify(payload({ o: [1] })))],
    ['the key id of another key', forge(JSON.stringify(payload({ k: second.id })))],
    ['an unknown key id', forge(JSON.stringify(payload({ k: '../../de' })))],
  ];
  for (const [what, credential] of cases) {
    test(what, () => assert.equal(verify(credential), null));
  }

  test('any change to any character', () => {
    assertEveryCharacterCounts(good, verify);
  });

  test('whatever is signed, nothing throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (inside) => {
        assert.equal(verify(forge(`{"k":"${first.id}",${inside}`)), null);
      }),
    );
  });
});

describe('cannot be issued', () => {
  const cases: readonly [string, Partial<CredentialClaims>, RegExp][] = [
    ['for 31 days', { expiresAt: now + 31 * 86_400 }, /30 days/u],
    ['without life', { expiresAt: now }, /expire after/u],
    ['with a task of 129 bytes', { task: 'a'.repeat(129) }, /129 bytes, 128/u],
    ['with a task of 65 two-byte letters', { task: 'é'.repeat(65) }, /130 bytes, 128/u],
    ['with a requester of 257 bytes', { requestedBy: 'a'.repeat(257) }, /257 bytes, 256/u],
    ['with a line break in the task', { task: 'a\nb' }, /cannot be printed/u],
    ['with an escape in the requester', { requestedBy: '\x1b[31mroot' }, /cannot be printed/u],
    ['with a C1 control', { task: 'a\x9bb' }, /cannot be printed/u],
    ['with a bidi override', { task: 'a\u202eb' }, /cannot be printed/u],
    ['with a line separator', { task: 'a\u2028b' }, /cannot be printed/u],
    ['with half a surrogate pair', { task: 'a\ud800b' }, /cannot be printed/u],
    ['with an empty task', { task: '' }, /leave it out/u],
    ['for no group', { only: [] }, /no group/u],
    ['for one group twice', { only: ['a', 'a'] }, /twice/u],
    ['for an odd group', { only: ['A b'] }, /not a group name/u],
    ['for no host', { hosts: [] }, /no host/u],
    ['for an odd host', { hosts: ['A b'] }, /not a host pattern/u],
    ['for an odd agent', { agent: 'Demo' }, /not an agent id/u],
    [
      'with too many long groups',
      { only: Array.from({ length: 20 }, (_, i) => `g${i}-${'x'.repeat(50)}`) },
      /1024 are the most/u,
    ],
    ['with half a second', { issuedAt: now + 0.5 }, /whole seconds/u],
    ['with an odd id', { id: 'x' }, /ULID/u],
  ];
  for (const [what, over, message] of cases) {
    test(what, () =>
      assert.throws(
        () => issueCredential(first, { ...bare, ...over }),
        (error) => error instanceof CredentialRequestError && message.test(error.message),
      ),
    );
  }

  test('the longest allowed texts fit', () => {
    const credential = issueCredential(first, {
      ...claims,
      agent: 'a'.repeat(63),
      task: 't'.repeat(128),
      requestedBy: 'r'.repeat(256),
      only: ['registry/npm'],
    });
    assert.ok(credential.length <= 1024);
    assert.notEqual(verify(credential), null);
  });
});
