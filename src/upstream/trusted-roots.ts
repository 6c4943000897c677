import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { getCACertificates } from 'node:tls';

/** A file of `trust` that cannot be used: a sentence for a person. */
export class TrustError extends Error {
  override readonly name = 'TrustError';
}

const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/gu;

/**
 * The roots that servers are trusted by, as PEM: the usual ones and those of these files. Undefined
 * without files: then the runtime's own, which it does not have to read again.
 *
 * @throws TrustError if a file cannot be read, or holds no certificate or one that is malformed
 */
export function trustedRoots(files: readonly string[]): readonly string[] | undefined {
  if (files.length === 0) return undefined;
  return [...getCACertificates('default'), ...files.flatMap(certificatesOf)];
}

/** The roots of this system, as PEM; the runtime's own where the system shows none. */
export function systemRoots(): readonly string[] {
  const roots = getCACertificates('system');
  return roots.length > 0 ? roots : getCACertificates('default');
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
