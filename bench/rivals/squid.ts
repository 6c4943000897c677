import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { authorityPaths, createAuthority } from '../../src/tls/authority.ts';
import { originAuthority } from '../network/origin-certificate.ts';
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
export const squid: Rival = squidWith(ecdsaAuthority);

/** As above, with an authority as Squid's own documents make one: RSA 2048, and so are its leaves. */
export const squidRsa: Rival = squidWith(rsaAuthority);

function squidWith(makeAuthority: (directory: string) => void): Rival {
  return {
    logFile,
    authorityFile: 'ca.crt',
    prepare(spec: TrialSpec): readonly string[] {
      if (spec.scenario.kind === 'inspect') prepareInspection(spec.directory, makeAuthority);
      return prepareSquid(spec);
    },
  };
}

function prepareSquid({ directory, scenario }: TrialSpec): readonly string[] {
  const names = [
    ...allowedNames('tcp'),
    ...allowedNames('https'),
    ...allowedNames('http'),
    ...allowedNames('inspected'),
  ];
  const file = (name: string): string => path.join(directory, name);
  // basic_ncsa_auth takes a plain MD5 digest, so that no other program is needed to make it.
  const digest = createHash('md5').update(token).digest('hex');
  writeFileSync(file('passwd'), `${agent}:${digest}\n`);
  writeFileSync(file('names'), [...names, ...otherNames, ''].join('\n'));
  writeFileSync(file('squid.conf'), configuration(directory, scenario.kind === 'inspect'));
  // It gives up root and then still has to write here.
  chmodSync(directory, 0o777);
  return [findSquid() ?? 'squid', '-N', '-f', file('squid.conf')];
}

/** The same key and signature that Sallyport has: P-256. */
function ecdsaAuthority(directory: string): void {
  createAuthority(directory, Date.now());
}

function rsaAuthority(directory: string): void {
  const { key, certificate } = authorityPaths(directory);
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-sha256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=Squid authority', '-keyout', key, '-out', certificate],
  ]);
  if (made.status !== 0) throw new Error(`openssl made no authority: ${made.stderr}`);
}

/** The authority in one file with its key, and a database for the leaves that its helper makes. */
function prepareInspection(directory: string, makeAuthority: (directory: string) => void): void {
  makeAuthority(directory);
  const { key, certificate } = authorityPaths(directory);
  const both = readFileSync(certificate, 'latin1') + readFileSync(key, 'latin1');
  writeFileSync(path.join(directory, 'authority.pem'), both);
  const database = path.join(directory, 'ssl_db');
  const helper = findHelper('security_file_certgen') ?? '';
  const made = spawnSync(helper, ['-c', '-s', database, '-M', '4MB']);
  if (made.status !== 0) throw new Error(`Squid made no database of leaves: ${made.stderr}`);
  chmodSync(database, 0o777);
  for (const name of readdirSync(database)) chmodSync(path.join(database, name), 0o777);
}

/** Where the program is; null if Squid or its Basic helper is not installed. */
export function findSquid(): string | null {
  const { PATH = '' } = process.env;
  const folders = [...PATH.split(':'), '/usr/sbin', '/usr/local/sbin'];
  const found = folders.map((folder) => path.join(folder, 'squid')).find(isExecutable);
  return found === undefined || findHelper('basic_ncsa_auth') === undefined ? null : found;
}

/** True if this Squid was built with OpenSSL, which inspection takes. */
export function squidInspects(): boolean {
  return findSquid() !== null && findHelper('security_file_certgen') !== undefined;
}

function findHelper(name: string): string | undefined {
  return helperPlaces
    .flatMap((place) => [`/usr/${place}/squid`, `/usr/${place}`])
    .map((folder) => path.join(folder, name))
    .find(isExecutable);
}

function configuration(directory: string, inspected: boolean): string {
  const file = (name: string): string => path.join(directory, name);
  return [
    ...proxyAddresses.map((address) => `http_port ${address}:${proxyPort}${inspected ? bump : ''}`),
    ...(inspected ? inspection(directory) : []),
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
    `auth_param basic program ${findHelper('basic_ncsa_auth')} ${file('passwd')}`,
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

/** Of a port; the file is in the working directory. */
const bump =
  ' ssl-bump cert=authority.pem generate-host-certificates=on dynamic_cert_mem_cache_size=16MB';

/** As its documents advise: look at the ClientHello, then open every connection. */
function inspection(directory: string): readonly string[] {
  const database = path.join(directory, 'ssl_db');
  return [
    `sslcrtd_program ${findHelper('security_file_certgen')} -s ${database} -M 4MB`,
    'sslcrtd_children 2 startup=2',
    `tls_outgoing_options cafile=${originAuthority(directory)}`,
    'acl hello at_step SslBump1',
    'ssl_bump peek hello',
    'ssl_bump bump all',
  ];
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
