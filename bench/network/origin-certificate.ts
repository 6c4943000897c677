import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createAuthority } from '../../src/tls/authority.ts';
import { issueServerCertificate } from '../../src/tls/leaf.ts';
import { allowedNames } from './plan.ts';

/** The certificate of a trial's TLS origin, ECDSA P-256, and the authority that signed it. */

const HOUR = 3_600_000;

const folder = (directory: string): string => path.join(directory, 'origin');
const keyFile = (directory: string): string => path.join(folder(directory), 'origin.key');
const chainFile = (directory: string): string => path.join(folder(directory), 'origin.crt');

/** What every proxy has to trust for it, a PEM file. */
export function originAuthority(directory: string): string {
  return path.join(folder(directory), 'ca.crt');
}

/** For all inspected names; in the directory of the trial. */
export function makeOriginCertificate(directory: string): void {
  mkdirSync(folder(directory), { mode: 0o755 });
  const authority = createAuthority(folder(directory), Date.now());
  const names = { hosts: allowedNames('inspected'), addresses: [] };
  const { key, chain } = issueServerCertificate(authority, names, Date.now(), HOUR);
  writeFileSync(keyFile(directory), key, { mode: 0o600 });
  writeFileSync(chainFile(directory), chain);
}

/** For node:tls. */
export function readOriginCertificate(directory: string): { key: string; cert: string } {
  return {
    key: readFileSync(keyFile(directory), 'latin1'),
    cert: readFileSync(chainFile(directory), 'latin1'),
  };
}
