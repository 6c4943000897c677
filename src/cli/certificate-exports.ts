import { dirname, join, resolve } from 'node:path';
import { replaceSecretFile } from '../core/secret-file.ts';
import { asCommand, type ClientFiles, type IssuedCertificate } from './certificate-files.ts';
import { exportLines, type ProxyAddress, proxyVariables, urlOf } from './proxy-exports.ts';

/**
 * Lines for a POSIX shell that send whatever runs in it through the proxy, known by a certificate.
 * There is no variable that all tools read: git has its own, curl reads a file (`writeCurlConfig`).
 * Those that read HTTPS_PROXY and nothing else find the proxy and cannot say who they are; a comment
 * says so.
 *
 * @param authority false: the system's own roots know who signed the listener's certificate
 */
export function certificateExports(
  { agent, files }: IssuedCertificate,
  proxy: ProxyAddress,
  authority: boolean,
): string {
  return `# curl reads $CURL_HOME/.curlrc, git the variables GIT_PROXY_SSL_*; npm takes the texts of both files as its settings
# cert and key. Node's own clients, pip, requests and wget cannot show a proxy a certificate: they need a credential,
# \`sallyport env ${agent.id}\`.
${exportLines([
  ...proxyVariables(urlOf(proxy)),
  ['CURL_HOME', curlHome(files, agent.id)],
  ['GIT_PROXY_SSL_CERT', files.certificate],
  ['GIT_PROXY_SSL_KEY', files.key],
  ...(authority ? trustOf(files.authority) : []),
])}`;
}

/**
 * Lines for a listener whose certificate the installation's own authority has signed, which no tool
 * trusts by itself. Writes `ca.curl/.curlrc` in the certs directory.
 *
 * @param authority path of its certificate, absolute
 * @throws CommandError (1) if the file cannot be made
 */
export function trustExports(certs: string, authority: string): string {
  const home = resolve(certs, 'ca.curl');
  writeCurlrc(home, [`proxy-cacert = ${curlText(authority)}`]);
  return `# The authority under certs/ signed the listener's certificate: curl ($CURL_HOME/.curlrc), git and Node are told. Others
# take one bundle for the proxy and all destinations: append ca.crt to theirs.
${exportLines([['CURL_HOME', home], ...trustOf(authority)])}`;
}

/** What git and Node trust beside the usual roots when they speak to a proxy. */
function trustOf(authority: string): readonly (readonly [string, string])[] {
  return [
    ['GIT_PROXY_SSL_CAINFO', authority],
    ['NODE_EXTRA_CA_CERTS', authority],
  ];
}

/**
 * Writes `AGENT.curl/.curlrc` beside the certificate.
 *
 * @throws CommandError (1) if it cannot be made
 */
export function writeCurlConfig(issued: IssuedCertificate, authority: boolean): void {
  const { agent, files } = issued;
  const lines = [
    `proxy-cert = ${curlText(withoutPassword(files.certificate))}`,
    `proxy-key = ${curlText(files.key)}`,
    ...(authority ? [`proxy-cacert = ${curlText(files.authority)}`] : []),
  ];
  writeCurlrc(curlHome(files, agent.id), lines);
}

function writeCurlrc(home: string, lines: readonly string[]): void {
  asCommand(() => replaceSecretFile(join(home, '.curlrc'), `${lines.join('\n')}\n`, 0o644));
}

function curlHome({ certificate }: ClientFiles, agent: string): string {
  return join(dirname(certificate), `${agent}.curl`);
}

/** A colon would begin the password of the key (curl(1), `--cert`). */
function withoutPassword(path: string): string {
  return path.replaceAll(/[\\:]/gu, '\\$&');
}

/** In quotes a backslash escapes (curl(1), `--config`). */
function curlText(text: string): string {
  return `"${text.replaceAll(/[\\"]/gu, '\\$&')}"`;
}
