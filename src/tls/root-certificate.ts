import type { KeyObject, X509Certificate } from 'node:crypto';
import { DerError, enterWhole, readWhole, tags } from '../core/der.ts';
import { SecretFileError } from '../core/secret-file.ts';
import { type CertificateFields, extensionIds, readCertificate } from '../core/x509.ts';
import {
  authorityConstraint,
  authorityKey,
  authorityKeyUsage,
  buildCertificate,
  keyIdentifier,
  nameConstraints,
  nameDer,
  randomSerial,
  subjectKey,
} from './certificate.ts';

const DAY = 86_400_000;
/**
 * Five years: longer than any sandbox image lives, so that it does not end unnoticed in the middle
 * of one, and short enough that a key which slipped away unseen does not open traffic for ever.
 */
const VALIDITY = 5 * 365 * DAY;
/** Sandboxes whose clock is behind accept a fresh authority, too. */
const BACKDATED = 3_600_000;

/** Both keys of an authority, on P-256. */
export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export interface RootOptions {
  /** Wall clock, milliseconds since the Unix epoch. */
  readonly now: number;
  /** Value of the extension for name constraints; null: no limit. */
  readonly constraints: Buffer | null;
  /** DER of the name; undefined: one of its own, made of the key. */
  readonly name?: Buffer | undefined;
}

/**
 * A self-signed root. One authority may stand below it: the one that takes its place some day, for as
 * long as both are trusted. The root of whoever has its key could not be kept from more than that
 * anyway.
 *
 * @returns DER
 */
export function rootCertificate({ privateKey, publicKey }: KeyPair, options: RootOptions): Buffer {
  const identifier = keyIdentifier(publicKey);
  const name = options.name ?? nameOf(identifier);
  return buildCertificate(
    {
      serial: randomSerial(),
      subject: name,
      issuer: name,
      publicKey,
      notBefore: options.now - BACKDATED,
      notAfter: options.now + VALIDITY,
      extensions: [
        authorityConstraint(1),
        authorityKeyUsage(),
        subjectKey(identifier),
        authorityKey(identifier),
        ...(options.constraints === null ? [] : [nameConstraints(options.constraints)]),
      ],
    },
    privateKey,
  );
}

/**
 * The name and key of a new root, signed by the old one (RFC 4210 §4.4): whoever trusts only the old
 * one then takes what the new one has signed. Ends with the old one.
 *
 * @returns DER
 */
export function crossCertificate(root: X509Certificate, old: X509Certificate, key: KeyObject) {
  const { subject, extensions } = readRoot(root);
  const issuer = readRoot(old);
  const constraints = extensions.get(extensionIds.nameConstraints)?.value;
  return buildCertificate(
    {
      serial: randomSerial(),
      subject,
      issuer: issuer.subject,
      publicKey: root.publicKey,
      notBefore: Math.max(root.validFromDate.getTime(), issuer.notBefore),
      notAfter: Math.min(root.validToDate.getTime(), issuer.notAfter),
      extensions: [
        authorityConstraint(0),
        authorityKeyUsage(),
        subjectKey(keyIdentifier(root.publicKey)),
        authorityKey(issuerOf(old).key),
        ...(constraints === undefined ? [] : [nameConstraints(constraints)]),
      ],
    },
    key,
  );
}

/** @throws SecretFileError if the authority's certificate is not exactly DER */
export function readRoot(certificate: X509Certificate): CertificateFields {
  return asRoot(() => readCertificate(certificate.raw));
}

/**
 * Name and key identifier of an authority byte for byte as its own certificate has them, which may
 * come from elsewhere: verifiers compare them so.
 *
 * @throws SecretFileError if it is not exactly DER
 */
export function issuerOf(certificate: X509Certificate) {
  const { subject, extensions } = readRoot(certificate);
  const identifier = extensions.get(extensionIds.subjectKeyIdentifier)?.value;
  const key =
    identifier === undefined
      ? keyIdentifier(certificate.publicKey)
      : asRoot(() => readWhole(identifier, tags.octetString));
  return { name: subject, key } as const;
}

/** May another authority stand below this one, if it is not of the same name (RFC 5280 §4.2.1.9)? */
export function maySignAuthority(certificate: X509Certificate): boolean {
  const value = readRoot(certificate).extensions.get(extensionIds.basicConstraints)?.value;
  if (value === undefined) return false;
  return asRoot(() => {
    const reader = enterWhole(value, tags.sequence);
    reader.readOptional(tags.boolean);
    const below = reader.readOptional(tags.integer);
    return below === null || below.some((byte) => byte !== 0);
  });
}

/** @throws SecretFileError where `work` throws DerError */
export function asRoot<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw new SecretFileError(`The authority's certificate cannot be read: ${error.message}.`, {
      cause: error,
    });
  }
}

function nameOf(identifier: Buffer): Buffer {
  return nameDer([
    { name: 'O', value: 'Sallyport' },
    { name: 'CN', value: `Sallyport authority ${identifier.toString('hex', 0, 4)}` },
  ]);
}
