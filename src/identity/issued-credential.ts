import { createHmac, timingSafeEqual } from 'node:crypto';
import type { CredentialKey, CredentialKeys } from './credential-keys.ts';

/**
 * Signed short-lived credentials: `sp1.<payload>.<signature>`, both Base64url (RFC 4648 §5), all
 * characters safe in a URL's userinfo, at most 1,024 of them.
 *
 * Why this and not a JWT: one algorithm and no header, so that there is nothing to negotiate or to
 * confuse; only the holder of the key file can make or verify one, and that is the proxy itself.
 * The signature is HMAC-SHA256 over `sp1.<payload>`: the first link of a macaroon's chain (Birgisson
 * et al., NDSS 2014). A holder can later be allowed to append a block and replace the signature by
 * HMAC(signature, block): that takes no key of ours, can only narrow, and cannot be undone, as the
 * former signature is not in the result. Until blocks have a meaning, exactly three parts are valid.
 *
 * The payload is JSON with fixed keys in a fixed order, so that it has one spelling: what does not
 * encode back to the same bytes is refused, duplicates and unknown fields with it.
 */
export interface CredentialClaims {
  /** ULID: in the log as `token`, and what `revoke` takes. */
  readonly id: string;
  readonly agent: string;
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number;
  /** Seconds since the Unix epoch; the credential holds while now is before. */
  readonly expiresAt: number;
  /** At most 128 bytes of printable text. */
  readonly task: string | undefined;
  /** At most 256 bytes of printable text. */
  readonly requestedBy: string | undefined;
  /** Group names to which it is narrowed, at least one; undefined = all that the agent has. */
  readonly only: readonly string[] | undefined;
}

export type VerifiedCredential = {
  readonly claims: CredentialClaims;
  readonly expired: boolean;
} | null;

/** A credential that cannot be issued as asked. The message says why and what to ask instead. */
export class CredentialRequestError extends Error {
  override readonly name = 'CredentialRequestError';
}

export const issuedPrefix = 'sp1.';

/** Seconds. */
export const defaultTtl = 8 * 3600;
export const maxTtl = 30 * 24 * 3600;

const MAX_LENGTH = 1024;
const MAX_TASK = 128;
const MAX_REQUESTED_BY = 256;
const MAX_GROUPS = 32;
/** Seconds by which the clock of the machine that issued may be ahead. */
const CLOCK_SKEW = 60;

const agentId = /^[a-z0-9][a-z0-9._-]{0,62}$/u;
const groupName = /^[a-z0-9][a-z0-9._/-]{0,62}$/u;
const ulid = /^[0-9A-HJKMNP-TV-Z]{26}$/u;
/** Control, format (bidi among them), surrogate, private-use and unassigned characters, line separators. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/u;

/** The text before the key id in every payload; both have a fixed length. */
const KEY_ID_AT = '{"k":"'.length;
const KEY_ID_END = KEY_ID_AT + 8;
const SIGNATURE_BYTES = 32;

/**
 * Signs claims.
 *
 * @throws CredentialRequestError if a claim is out of its bounds or the result would be too long
 */
export function issueCredential(key: CredentialKey, claims: CredentialClaims): string {
  const problem = problemOf(claims);
  if (problem !== null) throw new CredentialRequestError(problem);
  const signed = issuedPrefix + Buffer.from(encodePayload(key.id, claims)).toString('base64url');
  const credential = `${signed}.${sign(key, signed).toString('base64url')}`;
  if (credential.length > MAX_LENGTH) {
    throw new CredentialRequestError(
      `the credential would have ${credential.length} characters, ${MAX_LENGTH} are the most: name fewer groups, or use a shorter task or requester.`,
    );
  }
  return credential;
}

/**
 * The claims of a credential that one of our keys signed; null for anything else. Whether the agent
 * exists and takes issued credentials is not asked here. Does not throw.
 *
 * @param nowMs wall clock, milliseconds since the Unix epoch
 */
export function verifyCredential(
  keys: CredentialKeys,
  credential: string,
  nowMs: number,
): VerifiedCredential {
  if (credential.length > MAX_LENGTH || !credential.startsWith(issuedPrefix)) return null;
  const dot = credential.indexOf('.', issuedPrefix.length);
  if (dot === -1) return null;
  const payload = decode(credential.slice(issuedPrefix.length, dot));
  const signature = decode(credential.slice(dot + 1));
  if (payload === null || signature?.length !== SIGNATURE_BYTES) return null;
  const text = payload.toString('utf8');
  const key = keys.find(text.slice(KEY_ID_AT, KEY_ID_END));
  if (key === undefined) return null;
  if (!timingSafeEqual(sign(key, credential.slice(0, dot)), signature)) return null;
  return judgeClaims(text, key, nowMs);
}

function judgeClaims(text: string, key: CredentialKey, nowMs: number): VerifiedCredential {
  const claims = decodePayload(text);
  if (claims === null || encodePayload(key.id, claims) !== text) return null;
  if (problemOf(claims) !== null) return null;
  if (claims.issuedAt * 1000 > nowMs + CLOCK_SKEW * 1000) return null;
  return { claims, expired: nowMs >= claims.expiresAt * 1000 };
}

/** Null if every claim is within its bounds, else the problem as a sentence. */
function problemOf(claims: CredentialClaims): string | null {
  const { id, agent, issuedAt, expiresAt, task, requestedBy, only } = claims;
  if (!ulid.test(id)) return `${JSON.stringify(id)} is not a ULID.`;
  if (!agentId.test(agent)) return `${JSON.stringify(agent)} is not an agent id.`;
  if (!isTime(issuedAt) || !isTime(expiresAt)) return 'times are whole seconds since 1970.';
  if (expiresAt <= issuedAt) return 'a credential must expire after it was issued.';
  if (expiresAt - issuedAt > maxTtl) return 'a credential may live for 30 days (30d) at most.';
  return (
    textProblem('task', task, MAX_TASK) ??
    textProblem('requester', requestedBy, MAX_REQUESTED_BY) ??
    groupsProblem(only)
  );
}

function isTime(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function textProblem(what: string, text: string | undefined, limit: number): string | null {
  if (text === undefined) return null;
  if (text === '') return `the ${what} is empty: leave it out.`;
  if (Buffer.byteLength(text) > limit) {
    return `the ${what} has ${Buffer.byteLength(text)} bytes, ${limit} are the most.`;
  }
  return unprintable.test(text) ? `the ${what} has characters that cannot be printed.` : null;
}

function groupsProblem(only: readonly string[] | undefined): string | null {
  if (only === undefined) return null;
  if (only.length === 0) return 'a credential for no group at all would allow nothing.';
  if (only.length > MAX_GROUPS) return `${MAX_GROUPS} groups are the most.`;
  const odd = only.find((name) => !groupName.test(name));
  if (odd !== undefined) return `${JSON.stringify(odd)} is not a group name.`;
  return new Set(only).size === only.length ? null : 'a group is named twice.';
}

function encodePayload(keyId: string, claims: CredentialClaims): string {
  const { id, agent, issuedAt, expiresAt, task, requestedBy, only } = claims;
  // Undefined members stay out of JSON.
  return JSON.stringify({
    k: keyId,
    j: id,
    a: agent,
    i: issuedAt,
    e: expiresAt,
    t: task,
    r: requestedBy,
    o: only,
  });
}

/** Claims with the right types, or null; the caller compares the spelling. */
function decodePayload(text: string): CredentialClaims | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { j, a, i, e, t, r, o } = value as Record<string, unknown>;
  if (typeof j !== 'string' || typeof a !== 'string') return null;
  if (typeof i !== 'number' || typeof e !== 'number') return null;
  if (!isOptionalText(t) || !isOptionalText(r) || !isOptionalList(o)) return null;
  return { id: j, agent: a, issuedAt: i, expiresAt: e, task: t, requestedBy: r, only: o };
}

function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}

function isOptionalList(value: unknown): value is readonly string[] | undefined {
  return (
    value === undefined || (Array.isArray(value) && value.every((item) => typeof item === 'string'))
  );
}

function sign(key: CredentialKey, signed: string): Buffer {
  return createHmac('sha256', key.key).update(signed).digest();
}

/** Base64url without padding that encodes back to itself, or null. */
function decode(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : null;
}
