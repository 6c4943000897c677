import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import {
  readSecretFile,
  replaceSecretFile,
  SecretFileError,
  whileLocked,
} from '../core/secret-file.ts';
import { extensionIds } from '../core/x509.ts';
import { type Authority, authorityPaths, keyPem, loadAuthority } from './authority.ts';
import { certificatePem } from './certificate.ts';
import {
  crossCertificate,
  issuerOf,
  maySignAuthority,
  readRoot,
  rootCertificate,
} from './root-certificate.ts';

/**
 * A new authority takes the place of the one in `directory`, and both are trusted from then on:
 * `ca.crt` has the new certificate and, behind it, the old one; `ca-cross.crt` has the new one signed by
 * the old one, to be shown to whoever knows only that; the old key is gone.
 *
 * Files change in an order in which everybody who looks in between finds an authority that is whole:
 * the new key waits in `ca-next.key` until the certificates are there, and takes the place of the old one
 * in one step. A rotation that was broken off is taken to its end.
 *
 * @param now wall clock, milliseconds since the Unix epoch
 * @param constraints of `constraintsFor`; null: none; undefined: those of the old one
 * @throws SecretFileError if there is no authority or it has ended, while both are trusted already, or
 * if a file cannot be used or made
 */
export function rotateAuthority(
  directory: string,
  now: number,
  constraints?: Buffer | null,
): Authority {
  const paths = authorityPaths(directory);
  return whileLocked(paths.key, () => {
    const old = present(directory);
    if (!isWaiting(paths.next, old)) {
      checkRotatable(old, now);
      prepare(directory, old, now, constraints);
    }
    rename(paths.next, paths.key);
    return present(directory);
  });
}

/**
 * Ends the time in which two authorities are trusted: only the present one is left in `ca.crt`.
 *
 * @throws SecretFileError if there is only one, or a rotation was broken off
 */
export function finishRotation(directory: string): Authority {
  const paths = authorityPaths(directory);
  return whileLocked(paths.key, () => {
    const { certificate, trusted } = present(directory);
    if (isBrokenOff(directory)) {
      throw new SecretFileError(
        'A rotation was broken off: `sallyport ca rotate` takes it to its end, and only then `--finish` ends the overlap.',
      );
    }
    if (trusted.length === 1 && !existsSync(paths.cross)) {
      throw new SecretFileError(
        `${paths.certificate} has one authority: there is no overlap to end.`,
      );
    }
    // First what is trusted: a cross certificate without its issuer stands for nothing.
    replaceSecretFile(paths.certificate, certificatePem(certificate.raw), 0o644);
    rmSync(paths.cross, { force: true });
    return present(directory);
  });
}

/** Was a rotation begun that did not come to its end? The authority is then still the old one. */
export function isBrokenOff(directory: string): boolean {
  return existsSync(authorityPaths(directory).next);
}

function present(directory: string): Authority {
  const authority = loadAuthority(directory);
  if (authority !== null) return authority;
  throw new SecretFileError(`no authority in ${directory}: \`sallyport ca init\` makes one.`);
}

/** Is everything of a rotation done but its last step? */
function isWaiting(path: string, { trusted }: Authority): boolean {
  const text = readSecretFile(path);
  if (text === null) return false;
  try {
    return trusted[0]?.checkPrivateKey(createPrivateKey(text)) === true;
  } catch {
    return false;
  }
}

function checkRotatable({ certificate, overlap }: Authority, now: number): void {
  const end = certificate.validToDate;
  if (end.getTime() <= now) {
    throw new SecretFileError(
      `The authority ended ${end.toISOString()}, and nobody takes its word for another one: move ca.key and ca.crt away and run \`sallyport ca init\`.`,
    );
  }
  if (overlap !== null && now < overlap.old.validToDate.getTime()) {
    throw new SecretFileError(
      `An overlap lasts already, until ${overlap.old.validToDate.toISOString()}: first end it with \`sallyport ca rotate --finish\`, when no sandbox trusts only the old authority any more.`,
    );
  }
}

/** Makes everything that belongs to a new authority; what then is left to do is to put its key in place. */
function prepare(
  directory: string,
  old: Authority,
  now: number,
  asked: Buffer | null | undefined,
): void {
  const paths = authorityPaths(directory);
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const before = readRoot(old.certificate).extensions.get(extensionIds.nameConstraints);
  const constraints = asked === undefined ? (before?.value ?? null) : asked;
  // Below a root that allows no authority there may still be one of the same name (RFC 5280 §4.2.1.9).
  const name = maySignAuthority(old.certificate) ? undefined : issuerOf(old.certificate).name;
  const root = rootCertificate(keys, { now, constraints, name });
  const cross = crossCertificate(new X509Certificate(root), old.certificate, old.key);
  const trusted = old.trusted.filter((one) => now < one.validToDate.getTime());
  const pems = [root, ...trusted.map(({ raw }) => raw)].map(certificatePem);
  replaceSecretFile(paths.next, keyPem(keys.privateKey));
  replaceSecretFile(paths.cross, certificatePem(cross), 0o644);
  replaceSecretFile(paths.certificate, pems.join(''), 0o644);
}

function rename(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SecretFileError(
      `${from} cannot take the place of ${to} (${code}): run \`sallyport ca rotate\` again when it can.`,
      { cause: error },
    );
  }
}
