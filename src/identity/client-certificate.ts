import {
  formatSubject,
  isSpiffeId,
  type NameAttribute,
  subjectAttributes,
} from '../core/certificate-name.ts';
import {
  DerError,
  type DerReader,
  enterWhole,
  readBoolean,
  readObjectId,
  readWhole,
  tags,
} from '../core/der.ts';
import { type CertificateFields, extensionIds, readCertificate } from '../core/x509.ts';
import type { ClientCertificate } from './identity.ts';

/** What a certificate says about its holder, as far as it counts here. */
export interface CertificateFacts extends Omit<ClientCertificate, 'isListed'> {
  /** Ms since the epoch from which it holds; TLS has checked it in the handshake. */
  readonly notBefore: number;
}

/** A certificate of a thousand bytes is common; one of this size is an attack. */
const MAX_BYTES = 65_536;
const MAX_ALTERNATIVE_NAMES = 1024;
/** Of purposes, and of attributes in a subject. */
const MAX_LISTED = 64;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/**
 * A serial number of `sallyport cert issue` begins with the time of its making, and random bits
 * follow: this many digits of them.
 */
const RANDOM_DIGITS = 20;
const LONGEST_TIMED_SERIAL = 32;
/** Farther from `notBefore` than this, ms, a serial number only looks like one of ours. */
const SERIAL_TIME_SPAN = 120_000;

/** Critical extensions whose meaning is looked at here, or does not matter to an identity. */
const understood: ReadonlySet<string> = new Set([
  extensionIds.basicConstraints,
  extensionIds.certificatePolicies,
  extensionIds.extendedKeyUsage,
  extensionIds.keyUsage,
  extensionIds.subjectAltName,
]);

const attributeNames: ReadonlyMap<string, string> = new Map(
  [...subjectAttributes].map(([name, id]) => [id, name]),
);

/**
 * The certificate that a client has proven to hold. Null if it is not one for a client, or cannot be
 * read strictly: it then proves nobody. Names are read from the bytes, never from text that a library
 * made of them (CVE-2021-44532, CVE-2021-44533). Whether an authority signed it and whether it holds
 * yet is for the handshake, which is over. Never throws.
 *
 * @param isListed is this serial number on the listener's revocation list as that stands now?
 */
export function readClientCertificate(
  der: Buffer,
  isListed: (serial: string) => boolean,
): ClientCertificate | null {
  const facts = inspectClientCertificate(der);
  if (typeof facts === 'string') return null;
  const { serial, spiffe, subject, issuedAt, expiresAt } = facts;
  return { serial, spiffe, subject, issuedAt, expiresAt, isListed: () => isListed(serial) };
}

/** The same, or why it proves nobody, as a phrase that follows "the certificate …". Never throws. */
export function inspectClientCertificate(der: Buffer): CertificateFacts | string {
  if (der.length > MAX_BYTES) return 'is larger than 64 KiB';
  try {
    const fields = readCertificate(der);
    const problem = findProblem(fields);
    if (problem !== null) return problem;
    const spiffe = spiffeOf(fields);
    const subject = subjectOf(fields.subject);
    const { serial, notBefore, notAfter } = fields;
    const issuedAt = issueTime(serial, notBefore);
    return { serial, spiffe, subject, issuedAt, notBefore, expiresAt: notAfter };
  } catch (error) {
    if (error instanceof DerError) return `cannot be read: ${error.message}`;
    throw error;
  }
}

/** Why it is not the certificate of a client; null if it is. */
function findProblem({ extensions }: CertificateFields): string | null {
  for (const [id, { critical }] of extensions) {
    if (critical && !understood.has(id)) return `has a critical extension that is not known, ${id}`;
  }
  const constraints = extensions.get(extensionIds.basicConstraints);
  if (constraints !== undefined && isAuthority(constraints.value)) {
    return 'is the certificate of an authority';
  }
  const usage = extensions.get(extensionIds.keyUsage);
  if (usage !== undefined && !signsOnly(usage.value)) return 'has a key usage that no client has';
  // One that does not say what it is for is for everything (RFC 5280 §4.2.1.12, X509-SVID §4.4).
  const purposes = extensions.get(extensionIds.extendedKeyUsage);
  if (purposes !== undefined && !readPurposes(purposes.value).includes(CLIENT_AUTH)) {
    return 'is not meant for clients: its extended key usage lacks clientAuth';
  }
  return null;
}

function isAuthority(value: Buffer): boolean {
  const constraints = enterWhole(value, tags.sequence);
  const authority = constraints.peek() === tags.boolean && readBoolean(constraints);
  if (authority) return true;
  constraints.finish();
  return false;
}

/** digitalSignature (bit 0) is there, keyCertSign and cRLSign (bits 5 and 6) are not (X509-SVID §4.3). */
function signsOnly(value: Buffer): boolean {
  const [unused = 8, first = 0] = readWhole(value, tags.bitString);
  if (unused > 7) throw new DerError('a bit string that is none');
  return (first & 0x80) !== 0 && (first & 0x06) === 0;
}

function readPurposes(value: Buffer): string[] {
  const list = enterWhole(value, tags.sequence);
  const purposes: string[] = [];
  while (!list.atEnd) {
    if (purposes.length === MAX_LISTED) throw new DerError('too many purposes');
    purposes.push(readObjectId(list));
  }
  return purposes;
}

/**
 * The one URI name, if it is a SPIFFE id; null if no name has that scheme.
 *
 * @throws DerError if a name has the scheme and is not the only URI, or is not a SPIFFE id: such a
 * certificate must be refused (X509-SVID §2), not known by its subject instead
 */
function spiffeOf({ extensions }: CertificateFields): string | null {
  const value = extensions.get(extensionIds.subjectAltName)?.value;
  const uris = value === undefined ? [] : readUris(value);
  if (!uris.some((uri) => /^spiffe:/iu.test(uri))) return null;
  const [only = '', second] = uris;
  if (second !== undefined) throw new DerError('a SPIFFE id beside another URI');
  if (!isSpiffeId(only)) throw new DerError('a URI that is almost a SPIFFE id');
  return only;
}

/** URIs among the alternative names (RFC 5280 §4.2.1.6); names of every other kind are read and left. */
function readUris(value: Buffer): string[] {
  const names = enterWhole(value, tags.sequence);
  const uris: string[] = [];
  let count = 0;
  while (!names.atEnd) {
    const tag = names.peek();
    const content = names.read(tag);
    if (++count > MAX_ALTERNATIVE_NAMES) throw new DerError('too many alternative names');
    if (!isAlternativeName(tag, content)) throw new DerError('an alternative name that is none');
    if (tag === 0x86) uris.push(content.toString('latin1'));
  }
  if (count === 0) throw new DerError('an empty list of alternative names');
  return uris;
}

function isAlternativeName(tag: number, content: Buffer): boolean {
  switch (tag) {
    case 0x82: // dNSName
      return /^[A-Za-z0-9.*_-]+$/u.test(content.toString('latin1'));
    case 0x81: // rfc822Name
    case 0x86: // uniformResourceIdentifier
      return /^[!-~]+$/u.test(content.toString('latin1'));
    case 0x87: // iPAddress
      return content.length === 4 || content.length === 16;
    case 0xa0: // otherName
    case 0xa3: // x400Address
    case 0xa4: // directoryName
    case 0xa5: // ediPartyName
    case 0x88: // registeredID
      return true;
    default:
      return false;
  }
}

/** The subject as `certificates` of an agent writes it; null if it is empty or cannot be written so. */
function subjectOf(name: Buffer): string | null {
  const sets = enterWhole(name, tags.sequence);
  const attributes: (NameAttribute | null)[] = [];
  while (!sets.atEnd) {
    const set = sets.enter(tags.set);
    attributes.push(readAttribute(set));
    // A set of several has no order of its own, so that it has no one text either.
    while (!set.atEnd) {
      readAttribute(set);
      attributes.push(null);
    }
    if (attributes.length > MAX_LISTED) throw new DerError('too many attributes');
  }
  const plain = attributes.filter((attribute) => attribute !== null);
  return plain.length === attributes.length ? formatSubject(plain) : null;
}

/** Null for an attribute or an encoding that an exact subject does not have. */
function readAttribute(set: DerReader): NameAttribute | null {
  const pair = set.enter(tags.sequence);
  const name = attributeNames.get(readObjectId(pair));
  const tag = pair.peek();
  const value = pair.read(tag).toString('latin1');
  pair.finish();
  return name === undefined || !textTags.has(tag) ? null : { name, value };
}

/** Encodings in which ASCII is ASCII; `formatSubject` lets nothing else through. */
const textTags: ReadonlySet<number> = new Set([
  tags.utf8String,
  tags.printableString,
  tags.ia5String,
]);

/**
 * When the certificate was made. `notBefore` knows whole seconds and many authorities set it back,
 * so that one made right after `revoke AGENT` would seem to be from before; ours carry the
 * millisecond in the serial number.
 */
function issueTime(serial: string, notBefore: number): number {
  if (serial.length > LONGEST_TIMED_SERIAL) return notBefore;
  const time = Number.parseInt(serial.slice(0, -RANDOM_DIGITS), 16);
  return time >= notBefore && time - notBefore <= SERIAL_TIME_SPAN ? time : notBefore;
}
