import { isAgentId } from '../core/agent-id.ts';
import { ulidTime } from '../core/ulid.ts';

/** What an issued credential says, signed. */
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
  /** Group names to which it is narrowed, at least one; undefined = none. */
  readonly only: readonly string[] | undefined;
  /**
   * Host patterns to which it is narrowed, at least one; undefined = none. Beside `only` either will
   * do; without both it is not narrowed at all.
   */
  readonly hosts: readonly string[] | undefined;
}

/** What a holder has taken away from a credential; at least one of the three. */
export interface Narrowing {
  /** Seconds since the Unix epoch. Later than the credential ends anyway, it changes nothing. */
  readonly expiresAt: number | undefined;
  /** As in the claims. */
  readonly only: readonly string[] | undefined;
  readonly hosts: readonly string[] | undefined;
}

/** Seconds. */
export const defaultTtl = 8 * 3600;
export const maxTtl = 30 * 24 * 3600;

/** Bytes of UTF-8. */
const textBounds = { task: 128, requester: 256 } as const;
const MAX_NAMES = 32;

const keyId = /^[0-9a-f]{8}$/u;
const groupName = /^[a-z0-9][a-z0-9._/-]{0,62}$/u;
/** Letters of host patterns; the grammar itself is the policy's. */
const hostText = /^[a-z0-9._:/*-]{1,255}$/u;
const ulid = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/u;
/** Control, format (bidi among them), surrogate, private-use and unassigned characters, line separators. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/u;

/** Null if every claim is within its bounds, else the problem as a sentence. */
export function claimsProblem(claims: CredentialClaims): string | null {
  const { id, agent, issuedAt, expiresAt, task, requestedBy } = claims;
  if (!ulid.test(id)) return `${JSON.stringify(id)} is not a ULID.`;
  if (!isAgentId(agent)) return `${JSON.stringify(agent)} is not an agent id.`;
  if (!isTime(issuedAt) || !isTime(expiresAt)) return 'times are whole seconds since 1970.';
  if (expiresAt <= issuedAt) return 'a credential must expire after it was issued.';
  if (expiresAt - issuedAt > maxTtl) return 'a credential may live for 30 days (30d) at most.';
  return textProblem('task', task) ?? textProblem('requester', requestedBy) ?? scopeProblem(claims);
}

/** As `claimsProblem`, for what a holder appends. */
export function narrowingProblem(narrowing: Narrowing): string | null {
  const { expiresAt, only, hosts } = narrowing;
  if (expiresAt === undefined && only === undefined && hosts === undefined) {
    return 'nothing is taken away.';
  }
  if (expiresAt !== undefined && !isTime(expiresAt)) return 'times are whole seconds since 1970.';
  return scopeProblem(narrowing);
}

/** The one spelling of claims: JSON with fixed keys in this order, undefined ones left out. */
export function encodeClaims(key: string, claims: CredentialClaims): string {
  const { id, agent, issuedAt, expiresAt, task, requestedBy, only, hosts } = claims;
  return JSON.stringify({
    k: key,
    j: id,
    a: agent,
    i: issuedAt,
    e: expiresAt,
    t: task,
    r: requestedBy,
    o: only,
    h: hosts,
  });
}

/** Claims and the id of the key that is said to have signed them; null for any other text. Does not throw. */
export function decodeClaims(text: string): { key: string; claims: CredentialClaims } | null {
  const { k, j, a, i, e, t, r, o, h } = membersOf(text);
  if (typeof k !== 'string' || typeof j !== 'string' || typeof a !== 'string') return null;
  if (typeof i !== 'number' || typeof e !== 'number') return null;
  if (!isOptionalText(t) || !isOptionalText(r)) return null;
  if (!isOptionalList(o) || !isOptionalList(h)) return null;
  const times = { issuedAt: i, expiresAt: e };
  const claims = { id: j, agent: a, ...times, task: t, requestedBy: r, only: o, hosts: h };
  if (!keyId.test(k) || encodeClaims(k, claims) !== text) return null;
  return claimsProblem(claims) === null ? { key: k, claims } : null;
}

/** As `encodeClaims`. */
export function encodeNarrowing({ expiresAt, only, hosts }: Narrowing): string {
  return JSON.stringify({ e: expiresAt, o: only, h: hosts });
}

/** Null for what is no narrowing in its one spelling. Does not throw. */
export function decodeNarrowing(text: string): Narrowing | null {
  const { e, o, h } = membersOf(text);
  if (e !== undefined && typeof e !== 'number') return null;
  if (!isOptionalList(o) || !isOptionalList(h)) return null;
  const narrowing = { expiresAt: e, only: o, hosts: h };
  if (encodeNarrowing(narrowing) !== text) return null;
  return narrowingProblem(narrowing) === null ? narrowing : null;
}

/**
 * When the credential was made, ms since the epoch. Its id knows the millisecond, where `issuedAt` is
 * cut to the second: without it, a credential issued right after `revoke AGENT` would seem older than
 * that. An id that tells another time than the claim is not believed.
 */
export function issuedMs({ id, issuedAt }: CredentialClaims): number {
  const made = ulidTime(id);
  return Math.abs(Math.floor(made / 1000) - issuedAt) <= 1 ? made : issuedAt * 1000;
}

function isTime(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** What is wrong with a text for the log, as a sentence; null if nothing is, or there is none. */
export function textProblem(
  what: keyof typeof textBounds,
  text: string | undefined,
): string | null {
  if (text === undefined) return null;
  const limit = textBounds[what];
  if (text === '') return `the ${what} is empty: leave it out.`;
  if (Buffer.byteLength(text) > limit) {
    return `the ${what} has ${Buffer.byteLength(text)} bytes, ${limit} are the most.`;
  }
  return unprintable.test(text) ? `the ${what} has characters that cannot be printed.` : null;
}

function scopeProblem({ only, hosts }: Pick<Narrowing, 'only' | 'hosts'>): string | null {
  return namesProblem('group', only, groupName) ?? namesProblem('host', hosts, hostText);
}

function namesProblem(
  what: 'group' | 'host',
  names: readonly string[] | undefined,
  form: RegExp,
): string | null {
  if (names === undefined) return null;
  if (names.length === 0) return `a credential for no ${what} at all would allow nothing.`;
  if (names.length > MAX_NAMES) return `${MAX_NAMES} ${what}s are the most.`;
  const odd = names.find((name) => !form.test(name));
  if (odd !== undefined) {
    return `${JSON.stringify(odd)} is not a ${what} ${what === 'group' ? 'name' : 'pattern'}.`;
  }
  return new Set(names).size === names.length ? null : `a ${what} is named twice.`;
}

/** The members of a JSON object; of anything else none. */
function membersOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}

function isOptionalList(value: unknown): value is readonly string[] | undefined {
  return (
    value === undefined || (Array.isArray(value) && value.every((item) => typeof item === 'string'))
  );
}
