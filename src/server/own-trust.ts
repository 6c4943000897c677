import { SecretFileError } from '../core/secret-file.ts';
import { loadAuthority } from '../tls/authority.ts';
import { readTrust, TrustError, trustedOurselves } from '../upstream/trusted-roots.ts';

/**
 * What is wrong with the files of `trust`, as a sentence; null if nothing is. What our own authority
 * has signed, and sandboxes believe, no server may show us: it is not to be among them.
 */
export function trustProblem(files: readonly string[], certs: string): string | null {
  try {
    const trust = readTrust(files);
    const path = trustedOurselves(trust, ownCertificates(certs));
    return path === null ? null : `${trustsOurselves(path)}.`;
  } catch (error) {
    if (error instanceof TrustError) return error.message;
    throw error;
  }
}

/** Without a full stop. */
export function trustsOurselves(path: string): string {
  return `the file ${path} of \`trust\` holds our own authority, whose certificates no server may show us: take it out`;
}

/** None where the authority cannot be used: nothing is then signed by it either. */
function ownCertificates(certs: string) {
  try {
    return loadAuthority(certs)?.trusted ?? [];
  } catch (error) {
    if (error instanceof SecretFileError) return [];
    throw error;
  }
}
