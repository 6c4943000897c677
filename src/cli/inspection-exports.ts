import { statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { replaceSecretFile } from '../core/secret-file.ts';
import { agentNeedsInspection } from '../policy/inspection.ts';
import type { Agent } from '../policy/policy.ts';
import { authorityPaths, loadAuthority } from '../tls/authority.ts';
import { certificatePem } from '../tls/certificate.ts';
import { systemRoots } from '../upstream/trusted-roots.ts';
import { asCommand } from './certificate-files.ts';
import { javaOptions, javaTrustStore } from './java-trust-store.ts';
import { exportLines, type ProxyAddress } from './proxy-exports.ts';

/**
 * Read in place of the system's roots, so that they need all of them and ours. SSL_CERT_FILE alone is
 * OpenSSL's, and with it Python's and Ruby's, and Go's, uv's and Composer's.
 */
const replacing = [
  'SSL_CERT_FILE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'REQUESTS_CA_BUNDLE',
  'PIP_CERT',
  'CARGO_HTTP_CAINFO',
  'AWS_CA_BUNDLE',
  'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
  'npm_config_cafile',
] as const;

/** Read beside the tool's own roots. */
const adding = ['NODE_EXTRA_CA_CERTS', 'DENO_CERT'] as const;

/**
 * Lines for a POSIX shell by which common tools trust the authority, if some entry of the agent is
 * inspected; none otherwise. Writes, beside the authority, the roots of this system and the authority in
 * the forms of tools that know only one file: `ca-bundle.pem`, `ca-trust.jks` for Java, and `ca-apt.conf`
 * for apt, which names the bundle.
 *
 * @param proxy where the sandbox reaches the proxy
 * @param now wall clock, milliseconds since the Unix epoch
 * @throws CommandError (1) if the authority cannot be used, or a file not be made
 */
export function inspectionExports(
  agent: Agent,
  certs: string,
  proxy: ProxyAddress,
  now: number,
): string {
  if (!agentNeedsInspection(agent)) return '';
  const authority = asCommand(() => loadAuthority(certs));
  if (authority === null) {
    return '# Some entries of this agent need TLS inspection, and block: `sallyport ca init` makes the authority for it.\n';
  }
  const own = authority.trusted.map(({ raw }) => certificatePem(raw));
  const roots = [...new Set([...systemRoots(), ...own].map((pem) => `${pem.trim()}\n`))];
  const files = trustFiles(certs);
  asCommand(() => {
    replaceSecretFile(files.bundle, roots.join(''), 0o644);
    replaceSecretFile(files.java, javaTrustStore(roots, now), 0o644);
    replaceSecretFile(files.apt, aptConfig(files.bundle), 0o644);
  });
  return `# some hosts of this agent are inspected: their certificates are signed by ${files.authority}
${exportLines([
  ...replacing.map((name) => [name, files.bundle] as const),
  ...adding.map((name) => [name, files.authority] as const),
  ['APT_CONFIG', files.apt],
  ['JAVA_TOOL_OPTIONS', javaOptions(files.java, proxy)],
])}`;
}

/**
 * apt's downloads run as the user `_apt`, who would find no certificates in a folder that is its owner's
 * alone, as the one of the keys is; there they keep the user who started apt.
 */
function aptConfig(bundle: string): string {
  const lines = [`Acquire::https::CAInfo "${bundle}";`];
  if (!isOpenToOthers(dirname(bundle))) lines.push('APT::Sandbox::User "root";');
  return `${lines.join('\n')}\n`;
}

/** May others go through this directory, and through all above it? */
function isOpenToOthers(directory: string): boolean {
  const above = dirname(directory);
  const open = (statSync(directory).mode & 0o001) !== 0;
  return open && (above === directory || isOpenToOthers(above));
}

/** Absolute: shells and sandboxes have other working directories. */
function trustFiles(certs: string) {
  return {
    authority: resolve(authorityPaths(certs).certificate),
    bundle: resolve(join(certs, 'ca-bundle.pem')),
    java: resolve(join(certs, 'ca-trust.jks')),
    apt: resolve(join(certs, 'ca-apt.conf')),
  };
}

/** Can a proxy with these files inspect TLS? One that cannot be read counts as none. */
export function hasAuthority(certs: string, now: number): boolean {
  try {
    const authority = loadAuthority(certs);
    return authority !== null && now < authority.certificate.validToDate.getTime();
  } catch {
    return false;
  }
}
