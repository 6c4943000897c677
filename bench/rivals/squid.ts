import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, chmodSync, constants, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  agent,
  allowedNames,
  otherNames,
  proxyAddresses,
  proxyPort,
  token,
} from '../network/plan.ts';
import type { TrialSpec } from '../network/trial-types.ts';
import type { Rival } from './rival.ts';

const logFile = 'access.log';
const helperPlaces = ['lib', 'lib64', 'libexec', 'local/libexec', 'local/squid/libexec'];

/** Squid with the same work to do: Basic authentication, 1,000 names in a file, an access log. */
export const squid: Rival = {
  logFile,
  prepare({ directory }: TrialSpec): readonly string[] {
    const names = [...allowedNames('tcp'), ...allowedNames('https'), ...allowedNames('http')];
    const file = (name: string): string => path.join(directory, name);
    // basic_ncsa_auth takes a plain MD5 digest, so that no other program is needed to make it.
    const digest = createHash('md5').update(token).digest('hex');
    writeFileSync(file('passwd'), `${agent}:${digest}\n`);
    writeFileSync(file('names'), [...names, ...otherNames, ''].join('\n'));
    writeFileSync(file('squid.conf'), configuration(directory));
    // It gives up root and then still has to write here.
    chmodSync(directory, 0o777);
    return [findSquid() ?? 'squid', '-N', '-f', file('squid.conf')];
  },
};

/** Where the program is; null if Squid or its Basic helper is not installed. */
export function findSquid(): string | null {
  const { PATH = '' } = process.env;
  const folders = [...PATH.split(':'), '/usr/sbin', '/usr/local/sbin'];
  const found = folders.map((folder) => path.join(folder, 'squid')).find(isExecutable);
  return found === undefined || findHelper() === undefined ? null : found;
}

function findHelper(): string | undefined {
  return helperPlaces
    .flatMap((place) => [`/usr/${place}/squid`, `/usr/${place}`])
    .map((folder) => path.join(folder, 'basic_ncsa_auth'))
    .find(isExecutable);
}

function configuration(directory: string): string {
  const file = (name: string): string => path.join(directory, name);
  return [
    ...proxyAddresses.map((address) => `http_port ${address}:${proxyPort}`),
    'visible_hostname bench',
    `pid_filename ${file('squid.pid')}`,
    'coredump_dir none',
    'cache deny all',
    'cache_mem 8 MB',
    `access_log stdio:${file(logFile)} squid`,
    `cache_log ${file('cache.log')}`,
    'cache_store_log none',
    'hosts_file /etc/hosts',
    'dns_nameservers 127.0.0.1',
    `max_filedescriptors ${openFilesLimit()}`,
    'pinger_enable off',
    'shutdown_lifetime 0 seconds',
    `auth_param basic program ${findHelper()} ${file('passwd')}`,
    'auth_param basic children 2 startup=1',
    'auth_param basic credentialsttl 2 hours',
    'acl users proxy_auth REQUIRED',
    `acl allowed dstdomain "${file('names')}"`,
    'http_access deny !users',
    'http_access deny !allowed',
    'http_access allow all',
    '',
  ].join('\n');
}

/** The hard limit; Node has raised its own soft limit, and that of its children, to it. */
function openFilesLimit(): number {
  const limit = Number(spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout);
  return Number.isInteger(limit) && limit > 0 ? Math.min(limit, 65_536) : 65_536;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
