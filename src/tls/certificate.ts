import { hash, type KeyObject, randomBytes, sign } from 'node:crypto';
import forge from 'node-forge';
import { type NameAttribute, subjectAttributes } from '../core/certificate-name.ts';
import { extensionIds as oid } from '../core/x509.ts';

/** What a certificate says (RFC 5280 §4.1). */
export interface CertificateSpec {
  /** Big-endian, positive, at most 20 bytes. */
  readonly serial: Buffer;
  /** DER of a name: `nameDer`, or the subject of the issuer's certificate byte for byte. */
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly publicKey: KeyObject;
  /** Milliseconds since the Unix epoch; certificates know whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: readonly forge.asn1.Asn1[];
}

/** Alternative names (RFC 5280 §4.2.1.6); an address is its 4 or 16 bytes. */
export interface AlternativeNames {
  readonly uris?: readonly string[];
  readonly hosts?: readonly string[];
  readonly addresses?: readonly Buffer[];
}

const { Class, Type } = forge.asn1;

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
/** RFC 5280 §4.2.1.12. */
const purposes = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

/** Last moment that UTCTime can say; later ones are GeneralizedTime (RFC 5280 §4.1.2.5). */
const UTC_TIME_END = Date.UTC(2050, 0);

/**
 * Builds a version 3 certificate and signs it. node-forge assembles the
 * structure; keys and the ECDSA signature are node:crypto's, as forge has no elliptic curves.
 *
 * @param issuerKey private key on P-256
 * @returns DER
 */
export function buildCertificate(spec: CertificateSpec, issuerKey: KeyObject): Buffer {
  const algorithm = sequence(objectId(ECDSA_WITH_SHA256));
  const body = sequence(
    context(0, primitive(Type.INTEGER, '\x02')),
    primitive(Type.INTEGER, spec.serial.toString('binary')),
    algorithm,
    fromDer(spec.issuer),
    sequence(time(spec.notBefore), time(spec.notAfter)),
    fromDer(spec.subject),
    fromDer(spkiOf(spec.publicKey)),
    context(3, sequence(...spec.extensions)),
  );
  const signature = sign('sha256', der(body), issuerKey);
  const bits = primitive(Type.BITSTRING, `\0${signature.toString('binary')}`);
  return der(sequence(body, algorithm, bits));
}

/** DER as PEM (RFC 7468 §5). */
export function certificatePem(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/gu) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** Key identifier: the first 160 bits of the SHA-256 of the public key (RFC 7093 §2, method 1). */
export function keyIdentifier(publicKey: KeyObject): Buffer {
  const spki = fromDer(spkiOf(publicKey));
  const [, bits] = spki.value as forge.asn1.Asn1[];
  const key = Buffer.from(bits?.value as string, 'binary').subarray(1);
  return hash('sha256', key, 'buffer').subarray(0, 20);
}

/**
 * A certification authority: critical.
 *
 * @param below how many other authorities may stand below it, one under the other
 */
export function authorityConstraint(below: 0 | 1): forge.asn1.Asn1 {
  const isAuthority = primitive(Type.BOOLEAN, '\xff');
  const pathLength = primitive(Type.INTEGER, String.fromCharCode(below));
  return extension(oid.basicConstraints, sequence(isAuthority, pathLength), true);
}

/** keyCertSign (bit 5) and cRLSign (bit 6), nothing else: critical. */
export function authorityKeyUsage(): forge.asn1.Asn1 {
  return extension(oid.keyUsage, primitive(Type.BITSTRING, '\x01\x06'), true);
}

/** No authority: critical, and empty, as that is the default. */
export function leafConstraint(): forge.asn1.Asn1 {
  return extension(oid.basicConstraints, sequence(), true);
}

/** digitalSignature (bit 0), nothing else: critical. */
export function leafKeyUsage(): forge.asn1.Asn1 {
  return extension(oid.keyUsage, primitive(Type.BITSTRING, '\x07\x80'), true);
}

export function leafPurpose(purpose: keyof typeof purposes): forge.asn1.Asn1 {
  return extension(oid.extendedKeyUsage, sequence(objectId(purposes[purpose])));
}

/** @param critical as it must be where the subject is empty (RFC 5280 §4.2.1.6) */
export function alternativeNames(names: AlternativeNames, critical: boolean): forge.asn1.Asn1 {
  const { uris = [], hosts = [], addresses = [] } = names;
  const list = [
    ...uris.map((uri) => tagged(6, uri)),
    ...hosts.map((host) => tagged(2, host)),
    ...addresses.map((address) => tagged(7, address.toString('binary'))),
  ];
  return extension(oid.subjectAltName, sequence(...list), critical);
}

/** Which names an authority may sign for (RFC 5280 §4.2.1.10), as DER; see `name-constraints.ts`. */
export function nameConstraintsDer(permitted: Subtrees, excluded: Subtrees): Buffer {
  return der(sequence(...subtrees(0, permitted), ...subtrees(1, excluded)));
}

/** Critical, as it must be. */
export function nameConstraints(value: Buffer): forge.asn1.Asn1 {
  return extension(oid.nameConstraints, fromDer(value), true);
}

/** Names that a constraint is about; a range is an address and a mask, 4 or 16 bytes each. */
export interface Subtrees {
  readonly hosts: readonly string[];
  readonly ranges: readonly Buffer[];
}

function subtrees(tag: number, { hosts, ranges }: Subtrees): forge.asn1.Asn1[] {
  const list = [
    ...hosts.map((host) => sequence(tagged(2, host))),
    ...ranges.map((range) => sequence(tagged(7, range.toString('binary')))),
  ];
  return list.length === 0 ? [] : [context(tag, ...list)];
}

export function subjectKey(identifier: Buffer): forge.asn1.Asn1 {
  const octets = primitive(Type.OCTETSTRING, identifier.toString('binary'));
  return extension(oid.subjectKeyIdentifier, octets);
}

export function authorityKey(identifier: Buffer): forge.asn1.Asn1 {
  return extension(oid.authorityKeyIdentifier, sequence(tagged(0, identifier.toString('binary'))));
}

function extension(id: string, value: forge.asn1.Asn1, critical = false): forge.asn1.Asn1 {
  const flag = critical ? [primitive(Type.BOOLEAN, '\xff')] : [];
  const octets = primitive(Type.OCTETSTRING, der(value).toString('binary'));
  return sequence(objectId(id), ...flag, octets);
}

/** A name of these attributes in their order (RFC 5280 §4.1.2.4), each in a set of its own. */
export function nameDer(attributes: readonly NameAttribute[]): Buffer {
  const sets = attributes.map(({ name, value }) => {
    const pair = sequence(
      objectId(subjectAttributes.get(name) as string),
      primitive(textType(name), value),
    );
    return forge.asn1.create(Class.UNIVERSAL, Type.SET, true, [pair]);
  });
  return der(sequence(...sets));
}

/** RFC 5280 appendix A.1 prescribes a type for these; everything else is UTF-8. */
function textType(name: string): forge.asn1.Type {
  if (name === 'C' || name === 'serialNumber') return Type.PRINTABLESTRING;
  return name === 'DC' ? Type.IA5STRING : Type.UTF8;
}

/** 127 random bits, positive and not zero (RFC 5280 §4.1.2.2). */
export function randomSerial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return bytes;
}

/**
 * A ULID (github.com/ulid/spec) as a number: 48 bits of time, 80 random bits. It tells to the
 * millisecond when a certificate was made, which its dates do not, and sorts by that. Positive until
 * the year 6429.
 */
export function timedSerial(now: number): Buffer {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Math.floor(now), 0, 6);
  return bytes;
}

function time(ms: number): forge.asn1.Asn1 {
  const date = new Date(ms);
  return ms < UTC_TIME_END
    ? primitive(Type.UTCTIME, forge.asn1.dateToUtcTime(date))
    : primitive(Type.GENERALIZEDTIME, forge.asn1.dateToGeneralizedTime(date));
}

function spkiOf(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: 'spki', format: 'der' });
}

function sequence(...items: readonly forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return forge.asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, [...items]);
}

/** An explicitly tagged element, or a list whose tag is implicit. */
function context(tag: number, ...inner: readonly forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return forge.asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, [...inner]);
}

/** An implicitly tagged primitive element. */
function tagged(tag: number, bytes: string): forge.asn1.Asn1 {
  return forge.asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, false, bytes);
}

function primitive(type: forge.asn1.Type, bytes: string): forge.asn1.Asn1 {
  return forge.asn1.create(Class.UNIVERSAL, type, false, bytes);
}

function objectId(id: string): forge.asn1.Asn1 {
  return primitive(Type.OID, forge.asn1.oidToDer(id).getBytes());
}

function fromDer(bytes: Buffer): forge.asn1.Asn1 {
  return forge.asn1.fromDer(bytes.toString('binary'));
}

function der(element: forge.asn1.Asn1): Buffer {
  return Buffer.from(forge.asn1.toDer(element).getBytes(), 'binary');
}
