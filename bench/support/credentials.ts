import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { newId } from '../../src/core/ulid.ts';
import { credentialKey, credentialKeys } from '../../src/identity/credential-keys.ts';
import { attenuateCredential, issueCredential } from '../../src/identity/issued-credential.ts';
import { createAuthority } from '../../src/tls/authority.ts';
import { issueClientCertificate } from '../../src/tls/leaf.ts';

const key = credentialKey(randomBytes(32));
const foreignKey = credentialKey(randomBytes(32));

/** The keys of the installation that is measured: one. */
export const keys = credentialKeys([key], key);

export interface IssueOptions {
  /** Tells one credential from the next. */
  readonly serial: number;
  readonly task?: string;
  /** How many groups it is narrowed to. */
  readonly groups?: number;
  /** How often its holders narrowed it. */
  readonly narrowings?: number;
  /** Signed by a key that the installation does not have. */
  readonly foreign?: boolean;
  readonly expired?: boolean;
}

/** A credential of the agent `bench`. */
export function issue(options: IssueOptions): string {
  const { serial, task, groups = 0, narrowings = 0, foreign, expired } = options;
  const now = Math.floor(Date.now() / 1000) - (expired === true ? 7200 : 0);
  const names = Array.from({ length: groups }, (_, n) => `group/with-a-name-${n}`);
  let credential = issueCredential(foreign === true ? foreignKey : key, {
    id: newId(Date.now()),
    agent: 'bench',
    issuedAt: now,
    expiresAt: now + 3600,
    task: task ?? `task-${serial}`,
    requestedBy: 'bench@example.com',
    only: names.length > 0 ? names : undefined,
    hosts: undefined,
  });
  for (let n = 1; n <= narrowings; n++) {
    const narrowing = { expiresAt: now + 3600 - n, only: ['registry/npm'], hosts: undefined };
    credential = attenuateCredential(credential, narrowing);
  }
  return credential;
}

/** A credential with another part at this place. */
export function changed(credential: string, place: number, part: string): string {
  const parts = credential.split('.');
  parts[place] = part;
  return parts.join('.');
}

/** The bytes of a client certificate with this name, signed by an authority made for it. */
export function certificate(name: string): Buffer {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'sallyport-bench-'));
  try {
    const authority = createAuthority(directory, Date.now());
    const { chain } = issueClientCertificate(authority, name, Date.now(), 3_600_000);
    return new X509Certificate(chain).raw;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export function basic(secret: string, agent = 'bench'): string {
  return `Basic ${Buffer.from(`${agent}:${secret}`).toString('base64')}`;
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
