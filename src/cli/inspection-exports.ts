import { join, resolve } from 'node:path';
import { replaceSecretFile } from '../core/secret-file.ts';
import { agentNeedsInspection } from '../policy/inspection.ts';
import type { Agent } from '../policy/policy.ts';
import { authorityPaths, loadAuthority } from '../tls/authority.ts';
import { systemRoots } from '../upstream/trusted-roots.ts';
import { asCommand } from './certificate-files.ts';
import { exportLines } from './proxy-exports.ts';

/** Read in place of the system's roots, so that they need all of them and ours. */
const replacing = [
  'SSL_CERT_FILE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'REQUESTS_CA_BUNDLE',
  'PIP_CERT',
  'CARGO_HTTP_CAINFO',
  'AWS_CA_BUNDLE',
  'npm_config_cafile',
] as const;

/** Read beside the tool's own roots. */
const adding = ['NODE_EXTRA_CA_CERTS', 'DENO_CERT'] as const;

/**
 * Lines for a POSIX shell by which common tools trust the authority, if some entry of the agent is
 * inspected; none otherwise. Writes `ca-bundle.pem` beside the authority: the roots of this system
 * and the authority, for tools that know only one file.
 *
 * @throws CommandError (1) if the authority cannot be used, or the file not be made
 */
export function inspectionExports(agent: Agent, certs: string): string {
  if (!agentNeedsInspection(agent)) return '';
  const authority = asCommand(() => loadAuthority(certs));
  if (authority === null) {
    return '# Some entries of this agent need TLS inspection, and block: `sallyport ca init` makes the authority for it.\n';
  }
  const own = resolve(authorityPaths(certs).certificate);
  const bundle = resolve(join(certs, 'ca-bundle.pem'));
  const roots = [...new Set([...systemRoots(), authority.pem].map((pem) => `${pem.trim()}\n`))];
  asCommand(() => replaceSecretFile(bundle, roots.join(''), 0o644));
  return `# some hosts of this agent are inspected: their certificates are signed by ${own}
${exportLines([
  ...replacing.map((name) => [name, bundle] as const),
  ...adding.map((name) => [name, own] as const),
])}`;
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
