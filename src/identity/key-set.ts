import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { isObject, type JsonObject, parseStrictObject } from '../core/strict-json.ts';
import type { Issuer, WorkloadAlgorithm } from '../policy/issuer.ts';
import { keyFits } from './signature.ts';

/** A public key with which an issuer signs tokens. */
export interface WorkloadKey {
  /** 16 hexadecimal digits made from the key itself: the same key has the same id in every set. */
  readonly id: string;
  readonly kid: string | undefined;
  readonly key: KeyObject;
  /** Those that the issuer's definition names and the key fits; at least one. */
  readonly algorithms: readonly WorkloadAlgorithm[];
}

/** Of a file or an answer, in bytes. */
export const MAX_KEY_SET_BYTES = 256 * 1024;
const MAX_KEYS = 100;
const DEPTH = 6;
const MAX_KID = 256;

/** Members of private keys (RFC 7518 §6.2.2, §6.3.2) and of symmetric ones (§6.4). */
const secretMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** The usable keys of one issuer. Immutable; a rotation is a new object. */
export class KeySet {
  readonly keys: readonly WorkloadKey[];
  readonly #byKid: ReadonlyMap<string | undefined, WorkloadKey>;
  readonly #ids: ReadonlySet<string>;

  constructor(keys: readonly WorkloadKey[]) {
    this.keys = keys;
    this.#byKid = new Map(keys.map((key) => [key.kid, key]));
    this.#ids = new Set(keys.map(({ id }) => id));
  }

  /** The one key that a token with this header may be signed with. A token without `kid` names none of several. */
  find(kid: string | undefined, algorithm: WorkloadAlgorithm): WorkloadKey | null {
    if (kid !== undefined) {
      const key = this.#byKid.get(kid);
      return key?.algorithms.includes(algorithm) ? key : null;
    }
    const fitting = this.keys.filter((key) => key.algorithms.includes(algorithm));
    return fitting.length === 1 ? (fitting[0] ?? null) : null;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }
}

/**
 * The keys of a JWK Set (RFC 7517 §5) that this issuer may sign with, or what is wrong with the set
 * as the end of a sentence. Keys of other kinds and for other uses are passed over, as the standard
 * asks (a SPIFFE bundle holds those of certificates as well); a secret in the set refuses it whole:
 * a file with a private key is not what was meant to be here. Does not throw.
 */
export function readKeySet(bytes: Uint8Array, issuer: Issuer): KeySet | string {
  if (bytes.length > MAX_KEY_SET_BYTES) return `it has more than ${MAX_KEY_SET_BYTES / 1024} KiB`;
  const { keys: listed } = parseStrictObject(bytes, DEPTH) ?? {};
  if (!Array.isArray(listed)) return 'it is not a JWK Set, {"keys": […]}';
  if (listed.length > MAX_KEYS) return `it has more than ${MAX_KEYS} keys`;
  const keys: WorkloadKey[] = [];
  for (const jwk of listed) {
    if (!isObject(jwk)) return 'it has a key that is not an object';
    if (isSecret(jwk)) return 'it holds a private or symmetric key: publish the public ones alone';
    const key = readKey(jwk, issuer);
    if (key === null) continue;
    if (keys.some(({ kid }) => kid !== undefined && kid === key.kid)) {
      return 'two of its keys have the same kid';
    }
    keys.push(key);
  }
  return keys.length > 0 ? new KeySet(keys) : `it has no key for ${issuer.algorithms.join(', ')}`;
}

function isSecret(jwk: JsonObject): boolean {
  const { kty } = jwk;
  return kty === 'oct' || secretMembers.some((member) => Object.hasOwn(jwk, member));
}

/** Null for a key that is not for checking this issuer's tokens. */
function readKey(jwk: JsonObject, issuer: Issuer): WorkloadKey | null {
  const { kid, alg } = jwk;
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID)) return null;
  if (!isForTokens(jwk, issuer)) return null;
  const key = publicKey(jwk);
  if (key === null) return null;
  const algorithms = issuer.algorithms.filter(
    (algorithm) => (alg === undefined || alg === algorithm) && keyFits(algorithm, key),
  );
  if (algorithms.length === 0) return null;
  const id = hash('sha256', key.export({ type: 'spki', format: 'der' })).slice(0, 16);
  return { id, kid, key, algorithms };
}

/** RFC 7517 §4.2, §4.3. In a SPIFFE bundle (SPIFFE Trust Domain and Bundle §4.2.2) a key without `use` is for nothing. */
function isForTokens(jwk: JsonObject, issuer: Issuer): boolean {
  const { use, key_ops: operations } = jwk;
  if (operations !== undefined) {
    if (!Array.isArray(operations) || !operations.includes('verify')) return false;
  }
  if (use === undefined) return issuer.issuer !== undefined;
  return use === 'sig' || (use === 'jwt-svid' && issuer.trustDomain !== undefined);
}

function publicKey(jwk: JsonObject): KeyObject | null {
  const { kty, crv, n, e, x, y } = jwk;
  try {
    // Only what makes the key: nothing else in there may have a say.
    return createPublicKey({ key: withoutUndefined({ kty, crv, n, e, x, y }), format: 'jwk' });
  } catch {
    return null;
  }
}

function withoutUndefined(members: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
