import { relative, resolve } from 'node:path';
import { Command } from 'commander';
import type { Settings } from '../config/settings.ts';
import { authorityPaths } from '../tls/authority.ts';
import { issueServerCertificate, serverNames } from '../tls/leaf.ts';
import { createShow } from './cert-show.ts';
import {
  asCommand,
  certificateListener,
  clientTtl,
  directoryFor,
  type IssuedCertificate,
  isSignedBy,
  issueCertificateFor,
  openAuthority,
  writeLeaf,
} from './certificate-files.ts';
import { CommandError, type Io } from './io.ts';
import { parseTtl } from './issue.ts';
import { loadPolicy } from './load-policy.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { writeJson } from './output.ts';
import { shellQuote, urlOf } from './proxy-exports.ts';
import { allowedExample } from './welcome.ts';

interface IssueOptions {
  readonly ttl: string;
  readonly out?: string;
  readonly spiffe?: string;
  readonly json?: boolean;
}

interface ServerOptions {
  readonly ttl: string;
  readonly out?: string;
  readonly json?: boolean;
}

/** A good year at most: what lasts longer is forgotten when it ends. */
const serverTtl = { least: 60, most: 398 * 86_400 };

/** `sallyport cert issue`, `cert server` and `cert show`. */
export function createCommand(io: Io): Command {
  return new Command('cert')
    .description('Certificates of the authority under certs/, for agents and for listeners.')
    .addHelpText('after', '\nExample:\n  sallyport cert issue demo --ttl 8h\n')
    .addCommand(createIssue(io))
    .addCommand(createServer(io))
    .addCommand(createShow(io));
}

function createIssue(io: Io): Command {
  const command = new Command('issue')
    .description(
      'Make a key and a certificate by which an agent is known at TLS listeners, in files for curl and others.',
    )
    .argument('<agent>', 'id of an agent in the allowlists')
    .option('--ttl <duration>', 'how long it holds, 1m to 90d', '24h')
    .option('--out <dir>', 'where AGENT.key, AGENT.crt and ca.crt go, instead of certs/agents')
    .option('--spiffe <id>', 'which of the SPIFFE ids that the agent lists, if not the first')
    .option('--json', 'print {agent, name, token, expires, certificate, key, authority}')
    .addHelpText('after', '\nExample:\n  sallyport cert issue demo --ttl 8h\n');
  return addSettingsOptions(command).action(async (agent: string) => {
    const options = command.opts<IssueOptions>();
    const { out, spiffe } = options;
    const ttl = parseTtl(options.ttl, clientTtl);
    const settings = settingsFor(io, options);
    const policy = await loadPolicy(io, settings.allowlists);
    if (policy === null) return;
    const now = io.clock.now();
    const issued = issueCertificateFor(policy, settings.certs, { agent, ttl, out, spiffe }, now);
    const { name, token, files } = issued;
    const expires = new Date(issued.expiresAt).toISOString();
    if (options.json) {
      writeJson(io.stdout, { agent, name, token, expires, ...files });
      return;
    }
    const target = allowedExample(policy, issued.agent, now)?.pattern ?? 'HOST';
    const lines = [
      `agent        ${agent}`,
      `name         ${name}`,
      `id           ${token}`,
      `expires      ${expires}`,
      `certificate  ${files.certificate}`,
      `key          ${files.key}`,
      '',
      howToUse(settings, issued, target),
    ];
    io.stdout.write(`${lines.join('\n')}\n`);
  });
}

/** A curl line that works as it stands, or what is missing for it. */
function howToUse(settings: Settings, issued: IssuedCertificate, target: string): string {
  const { agent, files } = issued;
  const listener = certificateListener(settings, agent.id);
  if (listener === null) {
    return 'No listener asks for client certificates: `sallyport cert server NAME` makes what one needs.';
  }
  const words = ['curl', '--proxy', urlOf(listener.proxy)];
  if (isSignedBy(listener.certificate, files.authority)) {
    words.push('--proxy-cacert', shellWord(files.authority));
  }
  words.push('--proxy-cert', shellWord(files.certificate), '--proxy-key', shellWord(files.key));
  return [...words, `https://${target}/`].join(' ');
}

function createServer(io: Io): Command {
  const command = new Command('server')
    .description('Make a key and a certificate for a TLS listener, and print its configuration.')
    .argument('<name...>', 'host names and IP addresses under which clients reach it')
    .option('--ttl <duration>', 'how long it holds, 1m to 398d', '90d')
    .option('--out <dir>', 'where NAME.key and NAME.crt go, instead of certs/listeners')
    .option('--json', 'print {names, expires, certificate, key, authority}')
    .addHelpText('after', '\nExample:\n  sallyport cert server proxy.internal 10.20.0.1\n');
  return addSettingsOptions(command).action((texts: readonly string[]) => {
    const options = command.opts<ServerOptions>();
    const names = serverNames(texts);
    if (typeof names === 'string') {
      throw new CommandError(
        `${JSON.stringify(names)} is neither a host name in lower case nor an IP address.`,
        2,
      );
    }
    const ttl = parseTtl(options.ttl, serverTtl);
    const { certs } = settingsFor(io, options);
    const directory = directoryFor(certs, options.out, 'listeners');
    const { leaf, files } = asCommand(() => {
      const made = issueServerCertificate(openAuthority(certs), names, io.clock.now(), ttl * 1000);
      // Colons of IPv6 addresses are better not in names of files.
      const base = (texts[0] as string).replaceAll(':', '-');
      return { leaf: made, files: writeLeaf(directory, base, made) };
    });
    const authority = authorityPaths(certs).certificate;
    const expires = new Date(leaf.notAfter).toISOString();
    if (options.json) {
      const { certificate, key } = files;
      writeJson(io.stdout, { names: texts, expires, certificate, key, authority });
      return;
    }
    io.stdout.write(`# ${texts.join(', ')}, valid until ${expires}: in sallyport.yaml
listen:
  - address: 0.0.0.0:3130
    tls:
      cert: ${yamlText(files.certificate)}
      key: ${yamlText(files.key)}
      client-ca: ${yamlText(authority)}
`);
  });
}

/** A word of a shell, without quotes where none are needed. */
function shellWord(path: string): string {
  return /^[\w./-]+$/u.test(path) ? path : shellQuote(path);
}

/** As short as it can be said from here; JSON, which YAML reads, where it is not plain. */
function yamlText(path: string): string {
  const below = relative('.', resolve(path));
  const short = below.startsWith('..') ? resolve(path) : `./${below}`;
  return /^[\w./-]+$/u.test(short) ? short : JSON.stringify(short);
}
