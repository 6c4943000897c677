import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export type TestAlgorithm = 'RS256' | 'RS512' | 'PS256' | 'ES256' | 'ES384' | 'EdDSA';

/** A key of a token issuer that lives for one test; made and used without the code under test. */
export class TestKey {
  readonly kid: string;
  readonly algorithm: TestAlgorithm;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;

  constructor(kid: string, algorithm: TestAlgorithm = 'ES256') {
    this.kid = kid;
    this.algorithm = algorithm;
    const pair = pairFor(algorithm);
    this.publicKey = pair.publicKey;
    this.privateKey = pair.privateKey;
  }

  /** As a JWK Set lists it. */
  jwk(more: object = {}): object {
    return { ...this.publicKey.export({ format: 'jwk' }), kid: this.kid, use: 'sig', ...more };
  }

  /** A signed token; `header` and `claims` are over the usual ones, and text stands for itself. */
  token(claims: object | string, header: object | string = {}): string {
    const head =
      typeof header === 'string'
        ? header
        : JSON.stringify({ alg: this.algorithm, kid: this.kid, typ: 'JWT', ...header });
    const body = typeof claims === 'string' ? claims : JSON.stringify(claims);
    const signed = `${encode(head)}.${encode(body)}`;
    return `${signed}.${this.sign(signed).toString('base64url')}`;
  }

  sign(text: string): Buffer {
    const key = this.privateKey;
    const bytes = Buffer.from(text);
    switch (this.algorithm) {
      case 'EdDSA':
        return sign(null, bytes, key);
      case 'PS256':
        return sign('sha256', bytes, { key, padding: 6, saltLength: 32 });
      case 'RS512':
        return sign('sha512', bytes, key);
      case 'ES384':
        return sign('sha384', bytes, { key, dsaEncoding: 'ieee-p1363' });
      case 'ES256':
        return sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' });
      case 'RS256':
        return sign('sha256', bytes, key);
    }
  }
}

/** The text of a JWK Set. */
export function keySet(keys: readonly (TestKey | object)[]): string {
  return JSON.stringify({ keys: keys.map((key) => (key instanceof TestKey ? key.jwk() : key)) });
}

export function encode(text: string | Uint8Array): string {
  return Buffer.from(text).toString('base64url');
}

function pairFor(algorithm: TestAlgorithm): { publicKey: KeyObject; privateKey: KeyObject } {
  switch (algorithm) {
    case 'EdDSA':
      return generateKeyPairSync('ed25519');
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'ES384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' });
    default:
      return generateKeyPairSync('rsa', { modulusLength: 2048 });
  }
}
