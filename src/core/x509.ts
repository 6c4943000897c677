import { DerError, type DerReader, enterWhole, readBoolean, readObjectId, tags } from './der.ts';

/** The fields of a certificate (RFC 5280 §4.1) that anything here asks about; nothing is verified. */
export interface CertificateFields {
  /** As `serialText` has it. */
  readonly serial: string;
  /** DER of a name, whole. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** Ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** By object identifier. */
  readonly extensions: ReadonlyMap<string, Extension>;
}

export interface Extension {
  readonly critical: boolean;
  /** DER of what the extension says. */
  readonly value: Buffer;
}

export const extensionIds = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** RFC 5280 §4.1.2.2: at most 20 octets. */
const MAX_SERIAL_BYTES = 20;
const MAX_EXTENSIONS = 64;

/**
 * Reads a certificate of version 3. Older versions cannot say that they are no authority's.
 *
 * @throws DerError if it is not exactly DER
 */
export function readCertificate(der: Buffer): CertificateFields {
  const outer = enterWhole(der, tags.sequence);
  const body = outer.enter(tags.sequence);
  outer.skip(tags.sequence);
  outer.skip(tags.bitString);
  outer.finish();
  readVersion(body);
  const serial = readSerial(body);
  body.skip(tags.sequence);
  const issuer = body.readElement(tags.sequence);
  const validity = body.enter(tags.sequence);
  const notBefore = readTime(validity);
  const notAfter = readTime(validity);
  validity.finish();
  const subject = body.readElement(tags.sequence);
  body.skip(tags.sequence);
  const extensions = readExtensions(body.enter(0xa3));
  body.finish();
  return { serial, issuer, subject, notBefore, notAfter, extensions };
}

/** Extensions (RFC 5280 §4.1.2.9) in their explicit tag, each at most once. */
export function readExtensions(explicit: DerReader): Map<string, Extension> {
  const list = explicit.enter(tags.sequence);
  explicit.finish();
  const extensions = new Map<string, Extension>();
  while (!list.atEnd) {
    const one = list.enter(tags.sequence);
    const id = readObjectId(one);
    const critical = one.peek() === tags.boolean && readBoolean(one);
    const value = one.read(tags.octetString);
    one.finish();
    if (extensions.has(id)) throw new DerError(`the extension ${id} stands there twice`);
    if (extensions.size === MAX_EXTENSIONS) throw new DerError('too many extensions');
    extensions.set(id, { critical, value });
  }
  return extensions;
}

/** UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 has them → ms since the epoch. */
export function readTime(reader: DerReader): number {
  const short = reader.peek() === tags.utcTime;
  const text = reader.read(short ? tags.utcTime : tags.generalizedTime).toString('latin1');
  const digits = short ? `${text < '5' ? '20' : '19'}${text}` : text;
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/u.exec(digits);
  const [, year, month, day, hour, minute, second] = parts ?? [];
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const ms = Date.parse(iso);
  // What is not a day, 30 February, would be taken for another one.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== iso)
    throw new DerError('a time that is none');
  return ms;
}

export function readSerial(reader: DerReader): string {
  const content = reader.read(tags.integer);
  const [first = 0, second = 0] = content;
  const negative = first >= 0x80;
  const zeroOrPadded = first === 0 && second < 0x80;
  if (negative || zeroOrPadded || content.length > MAX_SERIAL_BYTES) {
    throw new DerError('a serial number that is not positive or longer than 20 bytes');
  }
  return serialText(content);
}

/**
 * A serial number as logs, revocations and messages write it: lower-case hexadecimal digits, two for
 * each byte, no byte too many. Upper case, OpenSSL prints the same.
 */
export function serialText(bytes: Uint8Array): string {
  const digits = Buffer.from(bytes).toString('hex');
  return digits.replace(/^(?:00)+(?=..)/u, '');
}

function readVersion(body: DerReader): void {
  if (body.peek() !== 0xa0)
    throw new DerError('a certificate of version 1, which has no extensions');
  const explicit = body.enter(0xa0);
  const version = explicit.read(tags.integer);
  explicit.finish();
  if (version.length !== 1 || version[0] !== 2)
    throw new DerError('a certificate of another version than 3');
}
