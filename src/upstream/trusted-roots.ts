import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { getCACertificates } from 'node:tls';

/** A file of `trust` that cannot be used: a sentence for a person. */
export class TrustError extends Error {
  override readonly name = 'TrustError';
}

const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/gu;

/** What one file of `trust` holds. */
export interface TrustFile {
  readonly path: string;
  /** PEM of each certificate. */
  readonly certificates: readonly string[];
}

/** @throws TrustError if a file cannot be read, or holds no certificate or one that is malformed */
export function readTrust(paths: readonly string[]): readonly TrustFile[] {
  return paths.map((path) => ({ path, certificates: certificatesOf(path) }));
}

/**
 * The roots that servers are trusted by, as PEM: those that the runtime brings along, and those of these
 * files. What the environment adds to the runtime's own (NODE_EXTRA_CA_CERTS, SSL_CERT_FILE and
 * SSL_CERT_DIR with --use-openssl-ca or --use-system-ca) is not among them: whoever starts the proxy
 * from a shell that was made for a sandbox would have it trust its own authority.
 */
export function trustedRoots(files: readonly TrustFile[]): readonly string[] {
  return [...getCACertificates('bundled'), ...files.flatMap(({ certificates }) => certificates)];
}

/**
 * Path of the first of these files that holds the key of one of our own certificates, whatever the
 * certificate there says about it; null if none does.
 */
export function trustedOurselves(
  files: readonly TrustFile[],
  own: readonly X509Certificate[],
): string | null {
  const isOwn = (pem: string): boolean => {
    const { publicKey } = new X509Certificate(pem);
    return own.some((one) => one.publicKey.equals(publicKey));
  };
  return files.find(({ certificates }) => certificates.some(isOwn))?.path ?? null;
}

/** The roots of this system, as PEM; the runtime's own where the system shows none. */
export function systemRoots(): readonly string[] {
  const roots = getCACertificates('system');
  return roots.length > 0 ? roots : getCACertificates('bundled');
}

function certificatesOf(file: string): readonly string[] {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new TrustError(`the file ${file} of \`trust\` cannot be read (${code}).`);
  }
  const found = text.match(certificate) ?? [];
  const begun = text.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (begun === 0 || found.length < begun || !found.every(isCertificate)) {
    throw new TrustError(
      `the file ${file} of \`trust\` must hold certificates as PEM, and whole ones.`,
    );
  }
  return found;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
