import { Command } from 'commander';
import type { Settings } from '../config/settings.ts';
import { parseAuthority } from '../core/authority-form.ts';
import { defaultTtl } from '../identity/credential-claims.ts';
import { CommandError, type Io } from './io.ts';
import { issueFor, openKeys, parseTtl } from './issue.ts';
import { loadPolicy } from './load-policy.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { type ProxyAddress, proxyExports, reachableHost } from './proxy-exports.ts';

interface EnvOptions {
  readonly ttl: string;
  readonly proxy?: string;
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
    .addHelpText('after', '\nExample:\n  eval "$(sallyport env demo)"\n');
  return addSettingsOptions(command).action(async (agent: string) => {
    const options = command.opts<EnvOptions>();
    const ttl = parseTtl(options.ttl);
    const asked = options.proxy === undefined ? undefined : parseProxy(options.proxy);
    const settings = settingsFor(io, options);
    const proxy = asked ?? firstListener(settings);
    const policy = await loadPolicy(io, settings.allowlists);
    if (policy === null) return;
    const issued = issueFor(policy, openKeys(settings.certs), { agent, ttl }, io.clock.now());
    const until = new Date(issued.expiresAt).toISOString();
    io.stdout.write(`# agent ${agent}, credential ${issued.id}, valid until ${until}\n`);
    io.stdout.write(proxyExports(agent, issued.credential, proxy));
  });
}

/** @throws CommandError (2) if it is not `HOST:PORT`, alone or as an http or https URL without a path */
function parseProxy(text: string): ProxyAddress {
  const [, scheme, authority] = proxyForm.exec(text) ?? [];
  const target = authority === undefined ? 'no host and port' : parseAuthority(authority);
  if (typeof target === 'string') {
    throw new CommandError(
      `--proxy ${text}: ${target}; write HOST:PORT, http://HOST:PORT or https://HOST:PORT.`,
      2,
    );
  }
  return { scheme: scheme === 'https' ? 'https' : 'http', host: target.host, port: target.port };
}

function firstListener(settings: Settings): ProxyAddress {
  const [listener] = settings.listen;
  if (listener === undefined || listener.port === 0) {
    throw new CommandError('the proxy has no fixed address to print: name it with --proxy.', 2);
  }
  const scheme = listener.tls === undefined ? 'http' : 'https';
  return { scheme, host: reachableHost(listener.host), port: listener.port };
}
