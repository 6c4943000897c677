import { accessSync, constants, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { originAuthority } from '../network/origin-certificate.ts';
import { agent, allowedNames, otherNames, proxyPort, token } from '../network/plan.ts';
import type { TrialSpec } from '../network/trial-types.ts';
import type { Rival } from './rival.ts';

const logFile = 'access.log';

/** An allowlist and an access log, as its users write them: an addon of a few lines. */
const addon = `import time
from mitmproxy import http

allowed = set(open("names").read().split())
log = open("${logFile}", "a", buffering=1)


def judge(flow):
    request = flow.request
    verdict = request.host in allowed and request.method in ("CONNECT", "GET", "HEAD")
    log.write(f"{time.time()} {verdict} {request.method} {request.host}:{request.port} {request.path}\\n")
    if not verdict:
        flow.response = http.Response.make(403, b"not allowed\\n")


def http_connect(flow):
    judge(flow)


def requestheaders(flow):
    judge(flow)
`;

/** mitmdump with the same work to do: Basic authentication, 1,000 names, an access log; no storage. */
export const mitmproxy: Rival = {
  logFile,
  authorityFile: 'mitmproxy/mitmproxy-ca-cert.pem',
  prepare({ directory }: TrialSpec): readonly string[] {
    const names = [...allowedNames('inspected'), ...otherNames, ''];
    writeFileSync(path.join(directory, 'names'), names.join('\n'));
    writeFileSync(path.join(directory, 'addon.py'), addon);
    const settings = [
      `confdir=${path.join(directory, 'mitmproxy')}`,
      `ssl_verify_upstream_trusted_ca=${originAuthority(directory)}`,
      `proxyauth=${agent}:${token}`,
      // Otherwise it collects every body before it passes it on.
      'stream_large_bodies=64k',
    ];
    return [
      findMitmproxy() ?? 'mitmdump',
      ...['--quiet', '--listen-host', '0.0.0.0', '--listen-port', String(proxyPort)],
      ...['--scripts', path.join(directory, 'addon.py')],
      ...settings.flatMap((setting) => ['--set', setting]),
    ];
  },
};

/** Where the program is; null if it is not installed. */
export function findMitmproxy(): string | null {
  const { PATH = '' } = process.env;
  const folders = PATH.split(':');
  return folders.map((folder) => path.join(folder, 'mitmdump')).find(isExecutable) ?? null;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
