import { Command } from 'commander';
import { defaultTtl } from '../identity/credential-claims.ts';
import type { Io } from './io.ts';
import { issueFor, openKeys, parseTtl } from './issue.ts';
import { loadPolicy } from './load-policy.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { writeJson } from './output.ts';
import { scopeHelp } from './scope-option.ts';
import { createAttenuate } from './token-attenuate.ts';
import { createKeys } from './token-keys.ts';
import { createShow } from './token-show.ts';

interface IssueOptions {
  readonly ttl: string;
  readonly task?: string;
  readonly requestedBy?: string;
  readonly only?: readonly string[];
  readonly json?: boolean;
}

/** `sallyport token issue`. */
export function createCommand(io: Io): Command {
  return new Command('token')
    .description(
      'Issue short-lived credentials, narrow them, look at them; the keys that sign them.',
    )
    .addHelpText('after', '\nExample:\n  sallyport token issue demo --ttl 8h\n')
    .addCommand(createIssue(io))
    .addCommand(createAttenuate(io))
    .addCommand(createShow(io))
    .addCommand(createKeys(io));
}

function createIssue(io: Io): Command {
  const command = new Command('issue')
    .description('Print a signed short-lived credential for an agent, alone on standard output.')
    .argument('<agent>', 'id of an agent in the allowlists')
    .option('--ttl <duration>', 'how long it holds: 90s, 15m, 8h, 7d', `${defaultTtl / 3600}h`)
    .option('--task <id>', 'what it is for: in every log line, at most 128 bytes')
    .option('--requested-by <who>', 'who asked for it: in every log line, at most 256 bytes')
    .option('--only <scope...>', scopeHelp)
    .option('--json', 'print credential, id, agent and expiry as JSON')
    .addHelpText(
      'after',
      '\nExample:\n  sallyport token issue demo --ttl 8h --task OPS-1421 --only registry/npm\n',
    );
  return addSettingsOptions(command).action(async (agent: string) => {
    const options = command.opts<IssueOptions>();
    const { ttl, task, requestedBy, only } = options;
    const request = { agent, ttl: parseTtl(ttl), task, requestedBy, only };
    const settings = settingsFor(io, options);
    const policy = await loadPolicy(io, settings.allowlists);
    if (policy === null) return;
    const issued = issueFor(policy, openKeys(settings.certs), request, io.clock.now());
    for (const host of issued.idle) {
      io.stderr.write(
        `sallyport: no allow entry of agent ${agent} covers any host of ${host}: that part of the credential reaches nothing.\n`,
      );
    }
    if (options.json) {
      const { credential, id, expiresAt } = issued;
      const expires = new Date(expiresAt).toISOString();
      writeJson(io.stdout, { credential, id, agent: issued.agent, expires });
    } else {
      io.stdout.write(`${issued.credential}\n`);
    }
  });
}
