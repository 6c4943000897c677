import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecretFile, readSecretFile, SecretFileError } from '../core/secret-file.ts';
import { extensionIds } from '../core/x509.ts';
import { certificatePem } from './certificate.ts';
import { isPermitted, type NameConstraints, readNameConstraints } from './name-constraints.ts';
import { pemBlocks } from './pem.ts';
import { asRoot, readRoot, rootCertificate } from './root-certificate.ts';

/** The installation's own certification authority: a P-256 key and its self-signed certificate. */
export interface Authority {
  readonly key: KeyObject;
  readonly certificate: X509Certificate;
  /** What sandboxes get to trust: its own certificate and, while it takes over, that of the one before. */
  readonly pem: string;
  /** All certificates in `pem`. */
  readonly trusted: readonly X509Certificate[];
  /** Which hosts it may sign for; null: any. */
  readonly constraints: NameConstraints | null;
  /** Null unless it has taken the place of another one, and both are trusted. */
  readonly overlap: Overlap | null;
}

/** Two authorities at a time; see `rotation.ts`. */
export interface Overlap {
  /** The one before, whose key is gone. */
  readonly old: X509Certificate;
  /** The authority's name and key, signed by the one before: ends no later than that. */
  readonly cross: X509Certificate;
}

export interface AuthorityPaths {
  readonly key: string;
  readonly certificate: string;
  readonly cross: string;
  /** The key of a new authority, until all the rest of it is there. */
  readonly next: string;
}

export function authorityPaths(directory: string): AuthorityPaths {
  return {
    key: join(directory, 'ca.key'),
    certificate: join(directory, 'ca.crt'),
    cross: join(directory, 'ca-cross.crt'),
    next: join(directory, 'ca-next.key'),
  };
}

/**
 * Makes `ca.key` (mode 0600) and `ca.crt` in `directory`. Never overwrites.
 *
 * @param now wall clock, milliseconds since the Unix epoch
 * @param constraints of `constraintsFor`; null: it may sign for any host
 * @throws SecretFileError if either file is there already, or cannot be made
 */
export function createAuthority(
  directory: string,
  now: number,
  constraints: Buffer | null = null,
): Authority {
  const paths = authorityPaths(directory);
  if (readIfThere(paths.certificate) !== null) throw alreadyThere(paths.certificate);
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = certificatePem(rootCertificate(keys, { now, constraints }));
  if (!createSecretFile(paths.key, keyPem(keys.privateKey))) throw alreadyThere(paths.key);
  if (!createSecretFile(paths.certificate, pem, 0o644)) throw alreadyThere(paths.certificate);
  const certificate = new X509Certificate(pem);
  const limits = constraintsOf(certificate);
  const trusted = [certificate];
  return { key: keys.privateKey, certificate, pem, trusted, constraints: limits, overlap: null };
}

/**
 * The authority in `directory`, checked: the key is private to its owner, belongs to the first
 * certificate, and that is an authority's. Whether it has expired is for the caller, who has
 * `certificate.validToDate`. Null if neither file is there. While a rotation is under way, or was broken
 * off, it is the old one up to the moment at which the new key takes its place.
 *
 * @throws SecretFileError if only one file is there, or one is unsafe, unreadable or malformed
 */
export function loadAuthority(directory: string): Authority | null {
  const paths = authorityPaths(directory);
  const files = readFiles(paths);
  if (files.key === null && files.certificate === null) return null;
  if (files.key === null || files.certificate === null) {
    const [there, missing] =
      files.certificate === null ? [paths.key, 'ca.crt'] : [paths.certificate, 'ca.key'];
    throw new SecretFileError(
      `${there} is there without ${missing}: restore it, or remove what is left and run \`sallyport ca init\`.`,
    );
  }
  const trusted = readCertificates(paths.certificate, files.certificate);
  const key = readKey(paths.key, files.key);
  const certificate = certificateOf(paths, files.next, key, trusted);
  if (!certificate.ca) {
    throw new SecretFileError(`${paths.certificate} is not the certificate of an authority.`);
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new SecretFileError(`${paths.key} is not a key on the curve P-256.`);
  }
  if (!certificate.checkPrivateKey(key)) {
    throw new SecretFileError(`${paths.key} and ${paths.certificate} do not belong together.`);
  }
  const cross = files.cross === null ? null : readCertificates(paths.cross, files.cross)[0];
  const overlap = cross == null ? null : overlapOf(cross, certificate, trusted);
  const constraints = constraintsOf(certificate);
  return { key, certificate, pem: files.certificate, trusted, constraints, overlap };
}

/** Would clients take a certificate that it has signed for this host, a canonical name or address? */
export function mayStandFor({ constraints }: Authority, host: string): boolean {
  return constraints === null || isPermitted(constraints, host);
}

/** The certificate to show behind one that the authority signs now; null outside an overlap. */
export function crossAt({ overlap }: Authority, now: number): X509Certificate | null {
  return overlap !== null && now < overlap.cross.validToDate.getTime() ? overlap.cross : null;
}

export function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

type FileTexts = { readonly [name in keyof AuthorityPaths]: string | null };

/** All of them as they were at one moment: a rotation that goes on meanwhile ends with another key. */
function readFiles(paths: AuthorityPaths): FileTexts {
  const key = readSecretFile(paths.key);
  const files = {
    key,
    certificate: readIfThere(paths.certificate),
    next: readSecretFile(paths.next),
    cross: readIfThere(paths.cross),
  };
  return readSecretFile(paths.key) === key ? files : readFiles(paths);
}

/** The first one; the one behind it only if the key of the first is still waiting to take its place. */
function certificateOf(
  paths: AuthorityPaths,
  next: string | null,
  key: KeyObject,
  certificates: readonly X509Certificate[],
): X509Certificate {
  const [first, second] = certificates as [X509Certificate, X509Certificate?];
  const isSecond = second?.checkPrivateKey(key) === true && !first.checkPrivateKey(key);
  if (!isSecond || next === null) return first;
  return first.checkPrivateKey(readKey(paths.next, next)) ? second : first;
}

function constraintsOf(certificate: X509Certificate): NameConstraints | null {
  const value = readRoot(certificate).extensions.get(extensionIds.nameConstraints)?.value;
  return value === undefined ? null : asRoot(() => readNameConstraints(value));
}

/** A cross certificate of another key, or of an authority that nobody is to trust, stands for nothing. */
function overlapOf(
  cross: X509Certificate,
  certificate: X509Certificate,
  trusted: readonly X509Certificate[],
): Overlap | null {
  if (!cross.publicKey.equals(certificate.publicKey)) return null;
  const old = trusted.find(
    (one) => one !== certificate && cross.checkIssued(one) && cross.verify(one.publicKey),
  );
  return old === undefined ? null : { old, cross };
}

function readKey(path: string, text: string): KeyObject {
  return parse(path, 'a private key', () => createPrivateKey(text));
}

/** @returns at least one */
function readCertificates(path: string, pem: string): readonly X509Certificate[] {
  return parse(path, 'a certificate', () => {
    const found = pemBlocks(pem, 'CERTIFICATE').map((der) => new X509Certificate(der));
    if (found.length === 0) throw new TypeError('no certificate');
    return found;
  });
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new SecretFileError(`${path} cannot be read (${code}).`, { cause: error });
  }
}

function parse<T>(path: string, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new SecretFileError(`${path} is not ${what} in PEM form.`, { cause: error });
  }
}

function alreadyThere(path: string): SecretFileError {
  return new SecretFileError(
    `${path} is there already. \`sallyport ca rotate\` changes to a new authority while both are trusted. To begin with one that nobody trusts yet, move ca.key and ca.crt away, run \`sallyport ca init\` again, and give the new ca.crt to every sandbox.`,
  );
}
