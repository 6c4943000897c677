import { hash, type KeyObject, randomBytes, sign } from 'node:crypto';
import forge from 'node-forge';

/** What a certificate says (RFC 5280 §4.1). */
export interface CertificateSpec {
  readonly subject: DistinguishedName;
  readonly issuer: DistinguishedName;
  readonly publicKey: KeyObject;
  /** Milliseconds since the Unix epoch; certificates know whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: readonly forge.asn1.Asn1[];
}

export interface DistinguishedName {
  readonly commonName: string;
  readonly organization: string;
}

const { Class, Type } = forge.asn1;

const oid = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
} as const;

/** Last moment that UTCTime can say; later ones are GeneralizedTime (RFC 5280 §4.1.2.5). */
const UTC_TIME_END = Date.UTC(2050, 0);

/**
 * Builds a version 3 certificate with a random serial number and signs it. node-forge assembles the
 * structure; keys and the ECDSA signature are node:crypto's, as forge has no elliptic curves.
 *
 * @param issuerKey private key on P-256
 * @returns DER
 */
export function buildCertificate(spec: CertificateSpec, issuerKey: KeyObject): Buffer {
  const algorithm = sequence(objectId(oid.ecdsaWithSha256));
  const body = sequence(
    context(0, primitive(Type.INTEGER, '\x02')),
    primitive(Type.INTEGER, randomSerial()),
    algorithm,
    distinguishedName(spec.issuer),
    sequence(time(spec.notBefore), time(spec.notAfter)),
    distinguishedName(spec.subject),
    forge.asn1.fromDer(spkiOf(spec.publicKey).toString('binary')),
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
  const spki = forge.asn1.fromDer(spkiOf(publicKey).toString('binary'));
  const [, bits] = spki.value as forge.asn1.Asn1[];
  const key = Buffer.from(bits?.value as string, 'binary').subarray(1);
  return hash('sha256', key, 'buffer').subarray(0, 20);
}

/** A certification authority below which no other authority may stand: critical. */
export function authorityConstraint(): forge.asn1.Asn1 {
  const isAuthority = primitive(Type.BOOLEAN, '\xff');
  const pathLength = primitive(Type.INTEGER, '\0');
  return extension(oid.basicConstraints, sequence(isAuthority, pathLength), true);
}

/** keyCertSign (bit 5) and cRLSign (bit 6), nothing else: critical. */
export function authorityKeyUsage(): forge.asn1.Asn1 {
  return extension(oid.keyUsage, primitive(Type.BITSTRING, '\x01\x06'), true);
}

export function subjectKey(identifier: Buffer): forge.asn1.Asn1 {
  const octets = primitive(Type.OCTETSTRING, identifier.toString('binary'));
  return extension(oid.subjectKeyIdentifier, octets);
}

export function authorityKey(identifier: Buffer): forge.asn1.Asn1 {
  const octets = forge.asn1.create(
    Class.CONTEXT_SPECIFIC,
    0 as forge.asn1.Type,
    false,
    identifier.toString('binary'),
  );
  return extension(oid.authorityKeyIdentifier, sequence(octets));
}

function extension(id: string, value: forge.asn1.Asn1, critical = false): forge.asn1.Asn1 {
  const flag = critical ? [primitive(Type.BOOLEAN, '\xff')] : [];
  const octets = primitive(Type.OCTETSTRING, der(value).toString('binary'));
  return sequence(objectId(id), ...flag, octets);
}

function distinguishedName(name: DistinguishedName): forge.asn1.Asn1 {
  const value = (text: string) => ({
    value: text,
    valueTagClass: Type.UTF8 as unknown as forge.asn1.Class,
  });
  const attributes = [
    { type: '2.5.4.10', ...value(name.organization) },
    { type: '2.5.4.3', ...value(name.commonName) },
  ];
  return forge.pki.distinguishedNameToAsn1({ attributes });
}

/** 127 random bits, positive and not zero (RFC 5280 §4.1.2.2). */
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return bytes.toString('binary');
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

/** An explicitly tagged element. */
function context(tag: number, inner: forge.asn1.Asn1): forge.asn1.Asn1 {
  return forge.asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, [inner]);
}

function primitive(type: forge.asn1.Type, bytes: string): forge.asn1.Asn1 {
  return forge.asn1.create(Class.UNIVERSAL, type, false, bytes);
}

function objectId(id: string): forge.asn1.Asn1 {
  return primitive(Type.OID, forge.asn1.oidToDer(id).getBytes());
}

function der(element: forge.asn1.Asn1): Buffer {
  return Buffer.from(forge.asn1.toDer(element).getBytes(), 'binary');
}
