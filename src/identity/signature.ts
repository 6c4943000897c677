import { constants, type KeyObject, verify } from 'node:crypto';
import type { WorkloadAlgorithm } from '../policy/issuer.ts';

interface AlgorithmInfo {
  /** `asymmetricKeyType` of its keys. */
  readonly keyType: 'rsa' | 'ec' | 'ed25519';
  /** Null: the algorithm brings its own. */
  readonly hash: string | null;
  /** OpenSSL's name of the one curve; undefined for keys that have none to choose. */
  readonly curve?: string;
  /** For `node:crypto`; JWS concatenates r and s (RFC 7518 §3.4), the DER of X.509 is not accepted. */
  readonly options: {
    readonly padding?: number;
    readonly saltLength?: number;
    readonly dsaEncoding?: 'ieee-p1363';
  };
}

const pkcs1 = (hash: string): AlgorithmInfo => ({
  keyType: 'rsa',
  hash,
  options: { padding: constants.RSA_PKCS1_PADDING },
});

/** RFC 7518 §3.5: the salt is as long as the digest. */
const pss = (hash: string): AlgorithmInfo => ({
  keyType: 'rsa',
  hash,
  options: {
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
  },
});

const ecdsa = (hash: string, curve: string): AlgorithmInfo => ({
  keyType: 'ec',
  hash,
  curve,
  options: { dsaEncoding: 'ieee-p1363' },
});

const algorithms: Readonly<Record<WorkloadAlgorithm, AlgorithmInfo>> = {
  RS256: pkcs1('sha256'),
  RS384: pkcs1('sha384'),
  RS512: pkcs1('sha512'),
  PS256: pss('sha256'),
  PS384: pss('sha384'),
  PS512: pss('sha512'),
  ES256: ecdsa('sha256', 'prime256v1'),
  ES384: ecdsa('sha384', 'secp384r1'),
  EdDSA: { keyType: 'ed25519', hash: null, options: {} },
};

/** RFC 7518 §3.3 asks for 2048 bits; beyond 8192 a check takes milliseconds. */
const RSA_BITS = { least: 2048, most: 8192 };
/** Of OpenSSL's own default, 65537, and all that are in use. */
const RSA_LARGEST_EXPONENT = 2n ** 32n;

/** Is this public key of the type, curve and size for the algorithm? */
export function keyFits(algorithm: WorkloadAlgorithm, key: KeyObject): boolean {
  const { keyType, curve } = algorithms[algorithm];
  const details = key.asymmetricKeyDetails ?? {};
  if (key.type !== 'public' || key.asymmetricKeyType !== keyType) return false;
  if (keyType !== 'rsa') return details.namedCurve === curve;
  const { modulusLength = 0, publicExponent = 0n } = details;
  const isSized = modulusLength >= RSA_BITS.least && modulusLength <= RSA_BITS.most;
  return isSized && publicExponent >= 3n && publicExponent < RSA_LARGEST_EXPONENT;
}

/**
 * Is this the key's signature over the text by that algorithm? The key must fit it: what a token
 * says of its own algorithm never turns one kind of key into another. Does not throw.
 */
export function isSignedBy(
  algorithm: WorkloadAlgorithm,
  key: KeyObject,
  signed: string,
  signature: Uint8Array,
): boolean {
  if (!keyFits(algorithm, key)) return false;
  const { hash, options } = algorithms[algorithm];
  try {
    return verify(hash, Buffer.from(signed, 'latin1'), { key, ...options }, signature);
  } catch {
    return false;
  }
}
