import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type KeySet, readKeySet } from '../../src/identity/key-set.ts';
import { workloadAlgorithms } from '../../src/policy/issuer.ts';
import { keySet, TestKey } from '../support/token-issuer.ts';
import { issuer } from '../support/workload-policy.ts';

const rsa = new TestKey('rsa', 'RS256');
const ec = new TestKey('ec', 'ES256');
const ec384 = new TestKey('ec384', 'ES384');
const edwards = new TestKey('ed', 'EdDSA');
const every = issuer({ algorithms: workloadAlgorithms });

const jwkOf = (type: 'rsa' | 'ec', options: object): object =>
  generateKeyPairSync(type as 'rsa', options as { modulusLength: number }).publicKey.export({
    format: 'jwk',
  });

function read(keys: readonly (TestKey | object)[], definition = every): KeySet | string {
  return readKeySet(Buffer.from(keySet(keys)), definition);
}

/** `kid: algorithms` of the usable keys, or the problem. */
function shown(result: KeySet | string): string[] | string {
  if (typeof result === 'string') return result;
  return result.keys.map(({ kid, algorithms }) => `${kid}: ${algorithms.join(' ')}`);
}

describe('usable keys', () => {
  test('each with the algorithms that it fits', () => {
    assert.deepEqual(shown(read([rsa, ec, ec384, edwards])), [
      'rsa: RS256 RS384 RS512 PS256 PS384 PS512',
      'ec: ES256',
      'ec384: ES384',
      'ed: EdDSA',
    ]);
  });

  test('only those that the issuer may use', () => {
    const one = issuer({ algorithms: ['PS256'] });
    assert.deepEqual(shown(read([rsa, ec], one)), ['rsa: PS256']);
  });

  test('only that of its alg', () => {
    assert.deepEqual(shown(read([rsa.jwk({ alg: 'RS384' })])), ['rsa: RS384']);
  });

  const spiffe = issuer({ issuer: undefined, trustDomain: 'example.com' });
  const both = issuer({ trustDomain: 'example.com' });
  const uses: readonly [string | undefined, ReturnType<typeof issuer>, boolean][] = [
    ['sig', issuer(), true],
    [undefined, issuer(), true],
    ['enc', issuer(), false],
    ['jwt-svid', issuer(), false],
    ['SIG', issuer(), false],
    ['jwt-svid', spiffe, true],
    ['x509-svid', spiffe, false],
    [undefined, spiffe, false],
    [undefined, both, true],
    ['jwt-svid', both, true],
  ];
  for (const [use, definition, usable] of uses) {
    const whose = `${definition.issuer ?? 'no iss'}, ${definition.trustDomain ?? 'no domain'}`;
    test(`use ${use} of ${whose}: ${usable ? 'taken' : 'passed over'}`, () => {
      const found = shown(read([ec.jwk({ use }), rsa.jwk({ use: 'sig' })], definition));
      assert.deepEqual(found, [...(usable ? ['ec: ES256'] : []), 'rsa: RS256']);
    });
  }
});

describe('passed over', () => {
  const others: readonly [string, object][] = [
    ['RSA of 1024 bits', jwkOf('rsa', { modulusLength: 1024 })],
    ['RSA with the exponent 1', { ...rsa.jwk(), e: 'AQ' }],
    ['RSA with a huge exponent', { ...rsa.jwk(), e: Buffer.alloc(64, 255).toString('base64url') }],
    ['another curve', jwkOf('ec', { namedCurve: 'P-521' })],
    ['secp256k1', jwkOf('ec', { namedCurve: 'secp256k1' })],
    ['a point that is not on the curve', { ...ec.jwk(), x: 'AAAA' }],
    ['the curve of another', { ...ec.jwk(), crv: 'P-384' }],
    ['no kty', { kid: 'x', use: 'sig' }],
    ['a kty that nobody knows', { kty: 'AKP', kid: 'x' }],
    ['an alg that it cannot have', ec.jwk({ alg: 'RS256' })],
    ['an alg of HMAC', rsa.jwk({ alg: 'HS256' })],
    ['an alg that is no text', rsa.jwk({ alg: ['RS256'] })],
    ['key_ops without verify', rsa.jwk({ key_ops: ['encrypt'] })],
    ['key_ops that are no list', rsa.jwk({ key_ops: 'verify' })],
    ['a kid that is no text', rsa.jwk({ kid: 7 })],
    ['a kid of 300 characters', rsa.jwk({ kid: 'x'.repeat(300) })],
    ['x5c alone', { kty: 'RSA', kid: 'x', x5c: ['MIIB'] }],
  ];
  for (const [what, jwk] of others) {
    test(what, () => {
      assert.deepEqual(shown(read([{ use: 'sig', ...jwk, spare: 1 }, edwards])), ['ed: EdDSA']);
      assert.match(String(read([{ use: 'sig', ...jwk }])), /^it has no key for /);
    });
  }
});

describe('refused whole', () => {
  const sets: readonly [string, string, RegExp][] = [
    ['no JSON', '<html>', /not a JWK Set/],
    ['a list', '[]', /not a JWK Set/],
    ['no keys', '{}', /not a JWK Set/],
    ['keys that are no list', '{"keys":{}}', /not a JWK Set/],
    ['a key that is no object', '{"keys":[1]}', /not an object/],
    ['keys twice', '{"keys":[],"keys":[]}', /not a JWK Set/],
    ['a member of a key twice', '{"keys":[{"kty":"RSA","kty":"EC"}]}', /not a JWK Set/],
    ['none', '{"keys":[]}', /it has no key for RS256/],
    ['101 keys', keySet(new Array(101).fill({})), /more than 100 keys/],
    ['too much', `{"keys":[],"x":"${'x'.repeat(262_144)}"}`, /more than 256 KiB/],
    ['a symmetric key', keySet([rsa, { kty: 'oct', k: 'c2VjcmV0' }]), /private or symmetric/],
    ['a private key', keySet([ec, ec384.privateKey.export({ format: 'jwk' })]), /private/],
    ['only the d of one', keySet([rsa.jwk({ d: '' })]), /private/],
    ['two with one kid', keySet([rsa, ec.jwk({ kid: 'rsa' })]), /same kid/],
  ];
  for (const [what, text, why] of sets) {
    test(what, () => {
      const result = readKeySet(Buffer.from(text), every);
      assert.equal(typeof result, 'string');
      assert.match(String(result), why);
    });
  }
});

describe('find', () => {
  const set = read([rsa, ec, ec384]) as KeySet;
  const cases: readonly [string | undefined, 'RS256' | 'ES256' | 'EdDSA', string | undefined][] = [
    ['rsa', 'RS256', 'rsa'],
    ['rsa', 'ES256', undefined],
    ['ec', 'RS256', undefined],
    ['rs', 'RS256', undefined],
    ['RSA', 'RS256', undefined],
    ['', 'RS256', undefined],
    ['__proto__', 'RS256', undefined],
    [undefined, 'RS256', 'rsa'],
    [undefined, 'EdDSA', undefined],
  ];
  for (const [kid, algorithm, found] of cases) {
    test(`${kid} ${algorithm}: ${found}`, () => {
      assert.equal(set.find(kid, algorithm)?.kid, found);
    });
  }

  test('without kid, one of two is nobody', () => {
    const two = read([rsa, new TestKey('other', 'RS256')]) as KeySet;
    assert.equal(two.find(undefined, 'RS256'), null);
    assert.notEqual(two.find('other', 'RS256'), null);
  });

  test('a key without kid is not found by one', () => {
    const bare = read([rsa.jwk({ kid: undefined })]) as KeySet;
    assert.equal(bare.find('rsa', 'RS256'), null);
    assert.notEqual(bare.find(undefined, 'RS256'), null);
  });

  test('the same key has the same id in every set', () => {
    const [one] = (read([rsa.jwk({ kid: 'a' })]) as KeySet).keys;
    assert.ok(one !== undefined);
    assert.ok(set.has(one.id));
    assert.ok(!set.has((read([edwards]) as KeySet).keys[0]?.id ?? ''));
  });
});

test('no bytes make it throw', () => {
  const member = fc.constantFrom('kty', 'kid', 'use', 'alg', 'n', 'e', 'x', 'y', 'crv', 'key_ops');
  const value = fc.oneof(
    fc.constantFrom('RSA', 'EC', 'OKP', 'P-256', 'Ed25519', 'AQAB'),
    fc.json(),
  );
  const jwk = fc.dictionary(member, value);
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.array(jwk).map(keySet)), (text) => {
      readKeySet(Buffer.from(text), every);
    }),
  );
});
