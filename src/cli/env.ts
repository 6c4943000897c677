import { resolve } from 'node:path';
import { Command } from 'commander';
import { isUnix } from '../config/listen-address.ts';
import type { Settings } from '../config/settings.ts';
import { parseAuthority } from '../core/authority-form.ts';
import { defaultTtl } from '../identity/credential-claims.ts';
import { authorityPaths } from '../tls/authority.ts';
import { certificateExports, trustExports, writeCurlConfig } from './certificate-exports.ts';
import {
  certificateListener,
  clientTtl,
  isSignedBy,
  issueCertificateFor,
} from './certificate-files.ts';
import { inspectionExports } from './inspection-exports.ts';
import { CommandError, type Io } from './io.ts';
import { issueFor, openKeys, parseTtl } from './issue.ts';
import { knownAgent, loadPolicy } from './load-policy.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { type ProxyAddress, proxyExports, reachableHost } from './proxy-exports.ts';

interface EnvOptions {
  readonly ttl: string;
  readonly proxy?: string;
  readonly certificate?: boolean;
  readonly out?: string;
}

const proxyForm = /^(?:(https?):\/\/)?([^/]+)\/?$/u;

/** `sallyport env`. */
export function createCommand(io: Io): Command {
  const command = new Command('env')
    .description('Shell exports that send a sandbox through the proxy, with a fresh credential.')
    .argument('<agent>', 'id of an agent in the allowlists')
    .option('--ttl <duration>', 'how long the credential holds', `${defaultTtl / 3600}h`)
    .option(
      '--proxy <address>',
      'where the sandbox reaches the proxy, if not at the first listener: HOST:PORT or https://HOST:PORT',
    )
    .option('--certificate', 'make a certificate instead of a credential, for a TLS listener')
    .option('--out <dir>', 'with --certificate: where its files go, as for `cert issue`')
    .addHelpText(
      'after',
      '\nExamples:\n  eval "$(sallyport env demo)"\n  eval "$(sallyport env demo --certificate)"\n',
    );
  return addSettingsOptions(command).action(async (agent: string) => {
    const options = command.opts<EnvOptions>();
    if (options.certificate) return await byCertificate(io, agent, options);
    if (options.out !== undefined) throw new CommandError('--out belongs to --certificate.', 2);
    const ttl = parseTtl(options.ttl);
    const asked = options.proxy === undefined ? undefined : parseProxy(options.proxy, 'http');
    const settings = settingsFor(io, options);
    const listener = asked === undefined ? firstListener(settings, agent) : null;
    const proxy = asked ?? listener?.proxy;
    if (proxy === undefined) throw noListener();
    const policy = await loadPolicy(io, settings.allowlists);
    if (policy === null) return;
    const issued = issueFor(policy, openKeys(settings.certs), { agent, ttl }, io.clock.now());
    const until = new Date(issued.expiresAt).toISOString();
    io.stdout.write(`# agent ${agent}, credential ${issued.id}, valid until ${until}\n`);
    io.stdout.write(proxyExports(agent, issued.credential, proxy));
    const authority = resolve(authorityPaths(settings.certs).certificate);
    if (listener?.certificate != null && isSignedBy(listener.certificate, authority)) {
      io.stdout.write(trustExports(settings.certs, authority));
    }
    const known = knownAgent(policy, agent);
    io.stdout.write(inspectionExports(known, settings.certs, proxy, io.clock.now()));
  });
}

async function byCertificate(io: Io, agent: string, options: EnvOptions): Promise<void> {
  const ttl = parseTtl(options.ttl, clientTtl);
  const asked = options.proxy === undefined ? undefined : parseProxy(options.proxy, 'https');
  if (asked?.scheme === 'http') {
    throw new CommandError(
      `--proxy ${options.proxy}: a certificate is shown in TLS; write https://.`,
      2,
    );
  }
  const settings = settingsFor(io, options);
  const listener = certificateListener(settings, agent);
  const proxy = asked ?? listener?.proxy;
  if (proxy === undefined) {
    throw new CommandError(
      'no listener asks for client certificates: `sallyport cert server NAME` makes what one needs; or name it with --proxy https://HOST:PORT.',
      2,
    );
  }
  const policy = await loadPolicy(io, settings.allowlists);
  if (policy === null) return;
  const request = { agent, ttl, out: options.out };
  const issued = issueCertificateFor(policy, settings.certs, request, io.clock.now());
  // Of a proxy that is only named nothing is known: most likely one and the same authority signs all.
  const ours = listener === null || isSignedBy(listener.certificate, issued.files.authority);
  writeCurlConfig(issued, ours);
  const until = new Date(issued.expiresAt).toISOString();
  io.stdout.write(`# agent ${agent}, certificate ${issued.token}, valid until ${until}\n`);
  io.stdout.write(certificateExports(issued, proxy, ours));
  io.stdout.write(inspectionExports(issued.agent, settings.certs, proxy, io.clock.now()));
}

/**
 * @param scheme of an address without one
 * @throws CommandError (2) if it is not `HOST:PORT`, alone or as an http or https URL without a path
 */
function parseProxy(text: string, scheme: ProxyAddress['scheme']): ProxyAddress {
  const [, written, authority] = proxyForm.exec(text) ?? [];
  const target = authority === undefined ? 'no host and port' : parseAuthority(authority);
  if (typeof target === 'string') {
    throw new CommandError(
      `--proxy ${text}: ${target}; write HOST:PORT, http://HOST:PORT or https://HOST:PORT.`,
      2,
    );
  }
  const { host, port } = target;
  return { scheme: (written as ProxyAddress['scheme'] | undefined) ?? scheme, host, port };
}

/** The first listener that takes a credential of this agent, and the file of its certificate. */
function firstListener(
  settings: Settings,
  agent: string,
): { readonly proxy: ProxyAddress; readonly certificate: string | null } | null {
  for (const { at, tls, agent: bound } of settings.listen) {
    if (isUnix(at) || at.port === 0 || tls?.required === true) continue;
    if (bound !== null && bound !== agent) continue;
    const scheme = tls === null ? 'http' : 'https';
    const proxy = { scheme, host: reachableHost(at.host), port: at.port } as const;
    return { proxy, certificate: tls?.cert ?? null };
  }
  return null;
}

function noListener(): CommandError {
  return new CommandError(
    'no listener with a fixed address takes a credential of this agent: name the proxy with --proxy.',
    2,
  );
}
