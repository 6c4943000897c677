/**
 * The two names by which an allowlist knows a client certificate, as text: a SPIFFE id or the exact
 * subject. Both have one spelling, so that equal names are equal texts and everything else differs.
 */

/** One attribute of a subject: `CN` and `demo`. */
export interface NameAttribute {
  readonly name: string;
  readonly value: string;
}

/** What a subject may be made of (RFC 4519), by its short name in RFC 4514 and its object identifier. */
export const subjectAttributes: ReadonlyMap<string, string> = new Map([
  ['CN', '2.5.4.3'],
  ['serialNumber', '2.5.4.5'],
  ['C', '2.5.4.6'],
  ['L', '2.5.4.7'],
  ['ST', '2.5.4.8'],
  ['O', '2.5.4.10'],
  ['OU', '2.5.4.11'],
  ['UID', '0.9.2342.19200300.100.1.1'],
  ['DC', '0.9.2342.19200300.100.1.25'],
]);

/** SPIFFE-ID §2.1 and §2.3. */
const MAX_SPIFFE_BYTES = 2048;
const MAX_ATTRIBUTES = 16;
const MAX_VALUE_BYTES = 256;

/**
 * Is it a SPIFFE id with a path, as the standard writes it (SPIFFE-ID §2)? No port, query, user, dots
 * or empty segments.
 */
export function isSpiffeId(text: string): boolean {
  if (text.length > MAX_SPIFFE_BYTES) return false;
  const path = /^spiffe:\/\/[a-z0-9._-]{1,255}((?:\/[A-Za-z0-9._-]+)+)$/u.exec(text)?.[1];
  const segments = path?.split('/') ?? ['..'];
  return !segments.includes('.') && !segments.includes('..');
}

/**
 * `CN=demo,O=Example` → its attributes; null if it is not written exactly so. The order is that of
 * the certificate, which is what `openssl x509 -subject` shows, not the reverse of RFC 4514.
 */
export function parseSubject(text: string): readonly NameAttribute[] | null {
  const attributes = text.split(',', MAX_ATTRIBUTES + 1).map((part) => {
    const equals = part.indexOf('=');
    return { name: part.slice(0, Math.max(equals, 0)), value: part.slice(equals + 1) };
  });
  return formatSubject(attributes) === text ? attributes : null;
}

/**
 * Null if it cannot be written so that nobody can read it otherwise: an unknown attribute, too many,
 * or a value that is not printable ASCII, has a character that RFC 4514 would escape, or blanks at
 * its ends. Other alphabets are left out because letters that look alike, and the several ways to
 * compose one, would make two names of what a reviewer reads as one.
 */
export function formatSubject(attributes: readonly NameAttribute[]): string | null {
  if (attributes.length === 0 || attributes.length > MAX_ATTRIBUTES) return null;
  const good = attributes.every(
    ({ name, value }) => subjectAttributes.has(name) && isPlainValue(value),
  );
  return good ? attributes.map(({ name, value }) => `${name}=${value}`).join(',') : null;
}

function isPlainValue(value: string): boolean {
  if (value.length > MAX_VALUE_BYTES || value !== value.trim()) return false;
  return /^[ -~]+$/u.test(value) && !/[,+"\\<>;=#]/u.test(value);
}
