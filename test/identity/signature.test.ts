import assert from 'node:assert/strict';
import { createSecretKey, generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { isSignedBy, keyFits } from '../../src/identity/signature.ts';
import { type WorkloadAlgorithm, workloadAlgorithms } from '../../src/policy/issuer.ts';
import { type TestAlgorithm, TestKey } from '../support/token-issuer.ts';

const text = 'header.claims';
const fitting: Readonly<Record<TestAlgorithm, readonly WorkloadAlgorithm[]>> = {
  RS256: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  RS512: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  PS256: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ES256: ['ES256'],
  ES384: ['ES384'],
  EdDSA: ['EdDSA'],
};

for (const [name, fits] of Object.entries(fitting) as [TestAlgorithm, WorkloadAlgorithm[]][]) {
  describe(`a key for ${name}`, () => {
    const key = new TestKey('k', name);
    const signature = key.sign(text);
    for (const algorithm of workloadAlgorithms) {
      test(`${algorithm}: ${fits.includes(algorithm) ? 'fits' : 'does not fit'}`, () => {
        assert.equal(keyFits(algorithm, key.publicKey), fits.includes(algorithm));
        const genuine = isSignedBy(algorithm, key.publicKey, text, signature);
        assert.equal(genuine, algorithm === name);
        assert.equal(isSignedBy(algorithm, key.publicKey, `${text}x`, signature), false);
        assert.equal(isSignedBy(algorithm, key.publicKey, text, Buffer.alloc(0)), false);
      });
    }
  });
}

describe('keys that fit nothing', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const keys = {
    'a private key': rsa.privateKey,
    'a secret': createSecretKey(Buffer.alloc(32)),
    'RSA of 1024 bits': generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey,
    'RSA-PSS': generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey,
    Ed448: generateKeyPairSync('ed448').publicKey,
    X25519: generateKeyPairSync('x25519').publicKey,
    'P-521': generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey,
  };
  for (const [what, key] of Object.entries(keys)) {
    test(what, () => {
      for (const algorithm of workloadAlgorithms) {
        assert.equal(keyFits(algorithm, key), false, algorithm);
        assert.equal(isSignedBy(algorithm, key, text, Buffer.alloc(64)), false, algorithm);
      }
    });
  }

  test('a good signature by a key that is too short', () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const key = new TestKey('k', 'RS256');
    const short = Object.assign(Object.create(key) as TestKey, { privateKey });
    assert.equal(isSignedBy('RS256', publicKey, text, short.sign(text)), false);
  });
});
