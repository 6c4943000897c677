import { type JsonObject, parseStrictObject } from '../core/strict-json.ts';
import { decodeBase64url } from './base64url.ts';

/** A compact JWS (RFC 7515 §7.1) with claims in it, taken apart. Nothing of it is proven yet. */
export interface SignedToken {
  /** As the header has it: whether it is known, and allowed, is the caller's business. */
  readonly algorithm: string;
  readonly kid: string | undefined;
  readonly claims: JsonObject;
  /** The claims as JSON text. */
  readonly payload: string;
  /** What the signature is over. */
  readonly signed: string;
  readonly signature: Buffer;
}

const MAX_LENGTH = 8192;
const MAX_KID = 256;
const MAX_SUBJECT_BYTES = 2048;
const HEADER_DEPTH = 6;
export const CLAIMS_DEPTH = 16;

/** `typ` of RFC 7519 §5.1, RFC 9068 §2.1 and RFC 7515 §4.1.9; another one is a token for something else. */
const types: ReadonlySet<string> = new Set(['jwt', 'at+jwt', 'jose']);

/** Could this be one? A header is a JSON object, and `{` begins with these letters in Base64url. */
export function looksSigned(text: string): boolean {
  return text.startsWith('e') && /^[^.]+\.[^.]+\.[^.]+$/u.test(text);
}

/**
 * Reads exactly three parts in canonical Base64url, of at most 8 KiB together: a header and claims
 * that are JSON objects without a key twice, and a signature. Of the header only `alg` and `kid`
 * count. Keys and places of keys in it (`jwk`, `jku`, `x5c`, `x5u`) are never looked at; what asks
 * for something that is not done here (`crit`, `b64`) is refused. Linear in the text; does not throw.
 */
export function parseSignedToken(text: string): SignedToken | null {
  if (text.length > MAX_LENGTH) return null;
  const [head = '', body = '', tail = '', ...more] = text.split('.', 4);
  if (head === '' || body === '' || tail === '' || more.length > 0) return null;
  const header = decodeObject(head, HEADER_DEPTH);
  const payload = decodeBase64url(body);
  const claims = payload && parseStrictObject(payload, CLAIMS_DEPTH);
  const signature = decodeBase64url(tail);
  if (header === null || payload === null || claims === null || signature === null) return null;
  const { alg, kid, typ } = header;
  if (typeof alg !== 'string' || 'crit' in header || 'b64' in header) return null;
  if (kid !== undefined && !isKid(kid)) return null;
  if (typ !== undefined && (typeof typ !== 'string' || !types.has(typ.toLowerCase()))) return null;
  if (!hasUsableSubject(claims)) return null;
  return {
    algorithm: alg,
    kid,
    claims,
    payload: payload.toString('utf8'),
    signed: `${head}.${body}`,
    signature,
  };
}

function decodeObject(part: string, depth: number): JsonObject | null {
  const bytes = decodeBase64url(part);
  return bytes && parseStrictObject(bytes, depth);
}

function isKid(kid: unknown): kid is string {
  return typeof kid === 'string' && kid !== '' && kid.length <= MAX_KID;
}

function hasUsableSubject({ sub }: JsonObject): boolean {
  if (sub === undefined) return true;
  return typeof sub === 'string' && Buffer.byteLength(sub) <= MAX_SUBJECT_BYTES;
}
