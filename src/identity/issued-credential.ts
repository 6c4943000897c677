import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { decodeBase64url } from './base64url.ts';
import {
  type CredentialClaims,
  claimsProblem,
  decodeClaims,
  decodeNarrowing,
  encodeClaims,
  encodeNarrowing,
  type Narrowing,
  narrowingProblem,
} from './credential-claims.ts';
import type { CredentialKey, CredentialKeys } from './credential-keys.ts';

/**
 * Signed short-lived credentials: `sp1.<claims>[.<narrowing>…].<signature>`, all Base64url (RFC 4648
 * §5), so that every character is safe in a URL's userinfo, at most 1,024 of them.
 *
 * The signature is a macaroon's chain (Birgisson et al., NDSS 2014):
 *
 *     S0 = HMAC-SHA256(key, "sp1.<claims>")     Si = HMAC-SHA256(S(i-1), <narrowing i>)
 *
 * and only the last S is in the credential. So whoever holds it can append a narrowing without any key
 * of ours and without asking us, and hand the result to somebody less trusted. Nobody can take one
 * away again, change it or move it: that takes an earlier S, which the credential no longer has and
 * HMAC does not give back. And what is appended can only narrow, whatever it says, because it has
 * no other meaning: the earliest end holds, and of every list of groups and hosts one must match.
 *
 * Why not a JWT: it can be narrowed only by whoever holds the key, and its header lets the sender
 * choose how it is checked; here is one algorithm and nothing to negotiate. Why not Biscuit: public
 * keys and a logic language are more than a proxy needs that verifies its own credentials. Why no
 * third-party caveats, as macaroons have them: nobody here discharges any. For the tokens of others
 * there are workload identities.
 *
 * Claims and narrowings are JSON in one spelling: what does not encode back to the same bytes is
 * refused, duplicates and unknown fields with it.
 */

/** What a credential says. `readCredential` takes its word for it, `verifyCredential` does not. */
export interface ReadCredential {
  readonly claims: CredentialClaims;
  /** In the order in which holders appended them. */
  readonly narrowings: readonly Narrowing[];
  /** Id of the key that signed it, or is said to have. */
  readonly key: string;
  /** The earliest of all its ends, ms since the epoch. */
  readonly expiresAt: number;
}

/** Proven. `expiresAt` does not go beyond the end of the key. */
export type VerifiedCredential = (ReadCredential & { readonly expired: boolean }) | null;

/** A credential that cannot be made as asked. The message says why and what to ask instead. */
export class CredentialRequestError extends Error {
  override readonly name = 'CredentialRequestError';
}

export const issuedPrefix = 'sp1.';

const MAX_LENGTH = 1024;
const MAX_NARROWINGS = 8;
/** Seconds by which the clock of the machine that issued may be ahead. */
const CLOCK_SKEW = 60;

/** The text before the key id in every payload; both have a fixed length. */
const KEY_ID_AT = '{"k":"'.length;
const KEY_ID_END = KEY_ID_AT + 8;
const SIGNATURE_BYTES = 32;

/** A credential taken apart; nothing in it is read yet. */
interface Parts {
  /** `sp1.` and the claims as they stand in the text: what the key signs. */
  readonly signed: string;
  readonly claims: string;
  /** As they stand in the text: what the earlier signature signs. */
  readonly narrowings: readonly string[];
  readonly signature: Buffer;
}

/**
 * Signs claims.
 *
 * @throws CredentialRequestError if a claim is out of its bounds or the result would be too long
 */
export function issueCredential(key: CredentialKey, claims: CredentialClaims): string {
  const problem = claimsProblem(claims);
  if (problem !== null) throw new CredentialRequestError(problem);
  const signed = issuedPrefix + encode(encodeClaims(key.id, claims));
  return withinLength(`${signed}.${sign(key.key, signed).toString('base64url')}`);
}

/**
 * The same credential with less in it. Takes no key; whether the credential is good, only the proxy
 * can tell.
 *
 * @throws CredentialRequestError if it is no credential, was narrowed 8 times already, or the result
 * would be too long
 */
export function attenuateCredential(credential: string, narrowing: Narrowing): string {
  const parts = takeApart(credential);
  if (parts === null) throw new CredentialRequestError('this is no credential of Sallyport.');
  const problem = narrowingProblem(narrowing);
  if (problem !== null) throw new CredentialRequestError(problem);
  if (parts.narrowings.length === MAX_NARROWINGS) {
    throw new CredentialRequestError(
      `this credential has been narrowed ${MAX_NARROWINGS} times, which is the most: narrow the one before it, or have a new one issued.`,
    );
  }
  const block = encode(encodeNarrowing(narrowing));
  const signature = sign(createSecretKey(parts.signature), block).toString('base64url');
  return withinLength([parts.signed, ...parts.narrowings, block, signature].join('.'));
}

/**
 * What a credential that one of our keys signed says; null for anything else. Whether the agent
 * exists and takes issued credentials is not asked here. Does not throw.
 *
 * @param nowMs wall clock, milliseconds since the Unix epoch
 */
export function verifyCredential(
  keys: CredentialKeys,
  credential: string,
  nowMs: number,
): VerifiedCredential {
  const parts = takeApart(credential);
  if (parts === null) return null;
  const key = keys.find(parts.claims.slice(KEY_ID_AT, KEY_ID_END));
  if (key === undefined) return null;
  let signature = sign(key.key, parts.signed);
  for (const block of parts.narrowings) signature = sign(createSecretKey(signature), block);
  if (!timingSafeEqual(signature, parts.signature)) return null;
  const read = readParts(parts);
  if (read === null || read.claims.issuedAt * 1000 > nowMs + CLOCK_SKEW * 1000) return null;
  const expiresAt = Math.min(read.expiresAt, key.until);
  return { ...read, expiresAt, expired: nowMs >= expiresAt };
}

/** What a credential says, nothing of it verified; null for what is none. Does not throw. */
export function readCredential(credential: string): ReadCredential | null {
  const parts = takeApart(credential);
  return parts === null ? null : readParts(parts);
}

function takeApart(credential: string): Parts | null {
  if (credential.length > MAX_LENGTH || !credential.startsWith(issuedPrefix)) return null;
  const [claims = '', ...rest] = credential.slice(issuedPrefix.length).split('.');
  const signature = decodeBase64url(rest.pop() ?? '');
  const text = decodeBase64url(claims);
  if (text === null || signature?.length !== SIGNATURE_BYTES) return null;
  if (rest.length > MAX_NARROWINGS) return null;
  const signed = issuedPrefix + claims;
  return { signed, claims: text.toString('utf8'), narrowings: rest, signature };
}

function readParts(parts: Parts): ReadCredential | null {
  const decoded = decodeClaims(parts.claims);
  if (decoded === null) return null;
  const narrowings: Narrowing[] = [];
  let end = decoded.claims.expiresAt;
  for (const block of parts.narrowings) {
    const narrowing = decodeNarrowing(decodeBase64url(block)?.toString('utf8') ?? '');
    if (narrowing === null) return null;
    narrowings.push(narrowing);
    end = Math.min(end, narrowing.expiresAt ?? end);
  }
  return { ...decoded, narrowings, expiresAt: end * 1000 };
}

function sign(key: KeyObject, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

/** @throws CredentialRequestError */
function withinLength(credential: string): string {
  if (credential.length <= MAX_LENGTH) return credential;
  throw new CredentialRequestError(
    `the credential would have ${credential.length} characters, ${MAX_LENGTH} are the most: name fewer groups and hosts, or use a shorter task or requester.`,
  );
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64url');
}
