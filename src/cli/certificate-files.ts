import { X509Certificate } from 'node:crypto';
import { readFileSync, realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isUnix } from '../config/listen-address.ts';
import type { Settings } from '../config/settings.ts';
import { replaceSecretFile, SecretFileError } from '../core/secret-file.ts';
import type { Agent, Policy } from '../policy/policy.ts';
import { type Authority, authorityPaths, loadAuthority } from '../tls/authority.ts';
import { issueClientCertificate, type Leaf } from '../tls/leaf.ts';
import { pemBlocks } from '../tls/pem.ts';
import { CommandError } from './io.ts';
import type { TtlBounds } from './issue.ts';
import { knownAgent } from './load-policy.ts';
import { type ProxyAddress, reachableHost } from './proxy-exports.ts';

/** Minutes for one request, a quarter for a machine that renews it in time. */
export const clientTtl: TtlBounds = { least: 60, most: 90 * 86_400 };

export interface CertificateRequest {
  readonly agent: string;
  /** Seconds. */
  readonly ttl: number;
  /** Which of the agent's SPIFFE ids; undefined = its first certificate name. */
  readonly spiffe?: string | undefined;
  /** Directory for the files; undefined = `agents` in the certs directory. */
  readonly out?: string | undefined;
}

/** A certificate in files. Paths are absolute: shells and sandboxes have other working directories. */
export interface IssuedCertificate {
  readonly agent: Agent;
  /** SPIFFE id or subject. */
  readonly name: string;
  /** As the log has it and `revoke` takes it: `cert:` and the serial number. */
  readonly token: string;
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
  readonly files: ClientFiles;
}

/** PEM files of whoever identifies by certificate. */
export interface ClientFiles {
  readonly certificate: string;
  readonly key: string;
  /** What the client must trust to believe the proxy. */
  readonly authority: string;
}

/**
 * Issues a certificate to an agent of this policy and writes `AGENT.key` (mode 0600), `AGENT.crt`,
 * and, into a directory of its own, `ca.crt`. Files of before are replaced.
 *
 * @param now wall clock, milliseconds since the Unix epoch
 * @throws CommandError (1) if there is no such agent, it lists no certificate or not this one, or
 * there is no usable authority; (2) if the files may not go there
 */
export function issueCertificateFor(
  policy: Policy,
  certs: string,
  request: CertificateRequest,
  now: number,
): IssuedCertificate {
  const agent = knownAgent(policy, request.agent);
  const name = nameOf(agent, request.spiffe);
  const directory = directoryFor(certs, request.out, 'agents');
  if (request.out !== undefined && agent.id === 'ca') {
    throw new CommandError(
      'the files of the agent ca would be the one of the authority: leave out --out.',
      2,
    );
  }
  return asCommand(() => {
    const authority = openAuthority(certs);
    const leaf = issueClientCertificate(authority, name, now, request.ttl * 1000);
    const paths = writeLeaf(directory, agent.id, leaf);
    const files = { ...paths, authority: resolve(authorityPaths(certs).certificate) };
    if (request.out !== undefined) {
      files.authority = join(directory, 'ca.crt');
      replaceSecretFile(files.authority, authority.pem, 0o644);
    }
    return { agent, name, token: `cert:${leaf.serial}`, expiresAt: leaf.notAfter, files };
  });
}

/**
 * Where the files of a certificate go, absolute. Never among the authority's own keys: files are
 * replaced, and an agent or a host may be called as one of those.
 *
 * @throws CommandError (2) if `out` is the certs directory
 */
export function directoryFor(certs: string, out: string | undefined, folder: string): string {
  if (out === undefined) return resolve(certs, folder);
  if (realPath(out) !== realPath(certs)) return resolve(out);
  throw new CommandError(
    `--out ${out}: that is where the keys of the authority are. Name another directory, or leave out --out for ${join(certs, folder)}.`,
    2,
  );
}

/** Without symbolic links, as far as it exists. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path);
  }
}

/**
 * Writes `NAME.key` and `NAME.crt`.
 *
 * @throws SecretFileError if they cannot be made
 */
export function writeLeaf(directory: string, name: string, leaf: Leaf) {
  const key = join(directory, `${name}.key`);
  const certificate = join(directory, `${name}.crt`);
  replaceSecretFile(key, leaf.key);
  replaceSecretFile(certificate, leaf.chain, 0o644);
  return { certificate, key };
}

/**
 * The authority of the installation.
 *
 * @throws CommandError (1) if there is none; SecretFileError if it cannot be used
 */
export function openAuthority(certs: string): Authority {
  const authority = loadAuthority(certs);
  if (authority !== null) return authority;
  throw new CommandError(`no authority in ${certs}: \`sallyport ca init\` makes one.`, 1);
}

/** Problems with the files are the answer "no", as sentences. */
export function asCommand<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof SecretFileError) throw new CommandError(error.message, 1);
    throw error;
  }
}

/** The first listener that asks this agent for a certificate, as a sandbox reaches it; null if none does. */
export function certificateListener(
  settings: Settings,
  agent: string,
): { readonly proxy: ProxyAddress; readonly certificate: string } | null {
  for (const { at, tls, agent: bound } of settings.listen) {
    if (tls === null || tls.clientCa === null || isUnix(at) || at.port === 0) continue;
    if (bound !== null && bound !== agent) continue;
    const proxy = { scheme: 'https', host: reachableHost(at.host), port: at.port } as const;
    return { proxy, certificate: tls.cert };
  }
  return null;
}

/**
 * Is this file a certificate that an authority of the other file has signed? While one authority takes
 * over from another there are two. What neither signed is for the system's own roots to know.
 */
export function isSignedBy(file: string, authorityFile: string): boolean {
  try {
    const certificate = new X509Certificate(readFileSync(file));
    return pemBlocks(readFileSync(authorityFile, 'latin1'), 'CERTIFICATE').some((der) =>
      certificate.verify(new X509Certificate(der).publicKey),
    );
  } catch {
    return false;
  }
}

/** The name that the certificate gets: the agent's first SPIFFE id, else its first subject. */
function nameOf(agent: Agent, asked: string | undefined): string {
  const names = agent.credentials.certificates;
  if (asked !== undefined) {
    if (names.includes(asked)) return asked;
    const has = names.length === 0 ? 'it lists none' : `it lists ${names.join(', ')}`;
    throw new CommandError(`agent ${agent.id} does not list ${asked} (${agent.at}): ${has}.`, 1);
  }
  const name = names.find((candidate) => candidate.startsWith('spiffe:')) ?? names[0];
  if (name !== undefined) return name;
  throw new CommandError(
    `agent ${agent.id} lists no certificate (${agent.at}): one would prove nobody. Add to the agent:

    credentials:
      certificates: ["spiffe://${domainOf(agent.owner)}/agent/${agent.id}"]
`,
    1,
  );
}

/** The owner's mail domain, as the likeliest trust domain. */
function domainOf(owner: string): string {
  return /@([a-z0-9][a-z0-9.-]*)$/u.exec(owner)?.[1] ?? 'example.com';
}
