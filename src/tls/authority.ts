import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecretFile, readSecretFile, SecretFileError } from '../core/secret-file.ts';
import {
  authorityConstraint,
  authorityKey,
  authorityKeyUsage,
  buildCertificate,
  certificatePem,
  keyIdentifier,
  nameDer,
  randomSerial,
  subjectKey,
} from './certificate.ts';

/** The installation's own certification authority: a P-256 key and its self-signed certificate. */
export interface Authority {
  readonly key: KeyObject;
  readonly certificate: X509Certificate;
  /** What sandboxes get to trust. */
  readonly pem: string;
}

const DAY = 86_400_000;
/**
 * Five years: longer than any sandbox image lives, so that it does not end unnoticed in the middle
 * of one, and short enough that a key which slipped away unseen does not open traffic for ever.
 */
const VALIDITY = 5 * 365 * DAY;
/** Sandboxes whose clock is behind accept a fresh authority, too. */
const BACKDATED = 3_600_000;

export function authorityPaths(directory: string): {
  readonly key: string;
  readonly certificate: string;
} {
  return { key: join(directory, 'ca.key'), certificate: join(directory, 'ca.crt') };
}

/**
 * Makes `ca.key` (mode 0600) and `ca.crt` in `directory`. Never overwrites.
 *
 * @param now wall clock, milliseconds since the Unix epoch
 * @throws SecretFileError if either file is there already, or cannot be made
 */
export function createAuthority(directory: string, now: number): Authority {
  const paths = authorityPaths(directory);
  if (readIfThere(paths.certificate) !== null) throw alreadyThere(paths.certificate);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = certificatePem(selfSigned(privateKey, publicKey, now));
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  if (!createSecretFile(paths.key, keyPem)) throw alreadyThere(paths.key);
  if (!createSecretFile(paths.certificate, pem, 0o644)) throw alreadyThere(paths.certificate);
  return { key: privateKey, certificate: new X509Certificate(pem), pem };
}

/**
 * The authority in `directory`, checked: the key is private to its owner, belongs to the
 * certificate, and the certificate is an authority's. Whether it has expired is for the caller, who
 * has `certificate.validToDate`. Null if neither file is there.
 *
 * @throws SecretFileError if only one file is there, or one is unsafe, unreadable or malformed
 */
export function loadAuthority(directory: string): Authority | null {
  const paths = authorityPaths(directory);
  const keyPem = readSecretFile(paths.key);
  const pem = readIfThere(paths.certificate);
  if (keyPem === null && pem === null) return null;
  if (keyPem === null || pem === null) {
    const [there, missing] = pem === null ? [paths.key, 'ca.crt'] : [paths.certificate, 'ca.key'];
    throw new SecretFileError(
      `${there} is there without ${missing}: restore it, or remove what is left and run \`sallyport ca init\`.`,
    );
  }
  const certificate = parse(paths.certificate, 'a certificate', () => new X509Certificate(pem));
  const key = parse(paths.key, 'a private key', () => createPrivateKey(keyPem));
  if (!certificate.ca) {
    throw new SecretFileError(`${paths.certificate} is not the certificate of an authority.`);
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new SecretFileError(`${paths.key} is not a key on the curve P-256.`);
  }
  if (!certificate.checkPrivateKey(key)) {
    throw new SecretFileError(`${paths.key} and ${paths.certificate} do not belong together.`);
  }
  return { key, certificate, pem };
}

function selfSigned(privateKey: KeyObject, publicKey: KeyObject, now: number): Buffer {
  const identifier = keyIdentifier(publicKey);
  const suffix = identifier.toString('hex', 0, 4);
  const name = nameDer([
    { name: 'O', value: 'Sallyport' },
    { name: 'CN', value: `Sallyport authority ${suffix}` },
  ]);
  return buildCertificate(
    {
      serial: randomSerial(),
      subject: name,
      issuer: name,
      publicKey,
      notBefore: now - BACKDATED,
      notAfter: now + VALIDITY,
      extensions: [
        authorityConstraint(),
        authorityKeyUsage(),
        subjectKey(identifier),
        authorityKey(identifier),
      ],
    },
    privateKey,
  );
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
    `${path} is there already. To change to a new authority, move ca.key and ca.crt away, run \`sallyport ca init\` again, and give the new ca.crt to every sandbox that trusts the old one.`,
  );
}
