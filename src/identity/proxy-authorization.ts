/** What a Proxy-Authorization field presents. Nothing of it is proven yet. */
export interface PresentedCredential {
  /** The agent id that a Basic credential claims; null for Bearer, which names its agent by itself. */
  readonly agentId: string | null;
  /** Printable ASCII, at least one character. */
  readonly secret: string;
}

/** No client of ours needs more: an issued credential has at most 1,024 characters. */
const MAX_LENGTH = 8192;
const BASIC = 'basic ';
const BEARER = 'bearer ';

/** RFC 6750 §2.1 `b64token`. */
const bearerToken = /^[A-Za-z0-9._~+/-]+={0,2}$/u;
const printableAscii = /^[\x20-\x7e]+$/u;

/**
 * Reads one Proxy-Authorization value (RFC 9110 §11.7.2) as Basic (RFC 7617) or Bearer (RFC 6750).
 * The scheme folds case; one space; Base64 that encodes back to itself, so padded and without a
 * second spelling; a colon; an agent id and a secret that are not empty and printable ASCII.
 * Everything else is the same null. Pure; does not throw; linear in the value.
 */
export function parseProxyAuthorization(value: string): PresentedCredential | null {
  if (value.length > MAX_LENGTH) return null;
  if (hasScheme(value, BASIC)) return readBasic(value.slice(BASIC.length));
  if (hasScheme(value, BEARER)) return readBearer(value.slice(BEARER.length));
  return null;
}

function hasScheme(value: string, scheme: string): boolean {
  return value.slice(0, scheme.length).toLowerCase() === scheme;
}

function readBasic(encoded: string): PresentedCredential | null {
  // Node's decoder skips junk and takes the URL-safe alphabet: only a round trip is proof.
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.toString('base64') !== encoded) return null;
  const text = bytes.toString('latin1');
  const colon = text.indexOf(':');
  if (colon < 1 || colon === text.length - 1 || !printableAscii.test(text)) return null;
  return { agentId: text.slice(0, colon), secret: text.slice(colon + 1) };
}

function readBearer(token: string): PresentedCredential | null {
  return bearerToken.test(token) ? { agentId: null, secret: token } : null;
}
