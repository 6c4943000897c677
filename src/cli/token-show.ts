import { hash } from 'node:crypto';
import { Command } from 'commander';
import type { SettingsFlags } from '../config/settings.ts';
import { issuedPrefix, readCredential } from '../identity/issued-credential.ts';
import { credentialInput, type GivenCredential } from './credential-input.ts';
import { CommandError, type Io } from './io.ts';
import { describeIssued, renderIssued } from './issued-description.ts';
import { describeJwt, renderJwt } from './jwt-description.ts';
import { addSettingsOptions } from './options.ts';
import { writeJson } from './output.ts';

/** Shorter ones are guessed; whoever wrote one most likely pasted something else. */
const SHORTEST_TOKEN = 16;

const EXAMPLES = `
Verifies nothing and asks nobody. An argument is visible in the list of processes, standard input is not.

Examples:
  printenv HTTPS_PROXY | sallyport token show
  sallyport token issue demo | sallyport token show --json
`;

/** `sallyport token show`. */
export function createShow(io: Io): Command {
  const command = new Command('show')
    .description('What a credential says: whose it is, until when, and what it is narrowed to.')
    .argument(
      '[credential]',
      'alone, as agent:credential, or in a proxy URL; without it standard input is read',
    )
    .option('--json', 'print it as JSON')
    .addHelpText('after', EXAMPLES);
  return addSettingsOptions(command).action(async (argument: string | undefined) => {
    const options = command.opts<{ readonly json?: boolean }>();
    const given = await credentialInput(io, argument);
    const { json, text } = shown(io, given, command.opts<SettingsFlags>());
    if (options.json) writeJson(io.stdout, json);
    else io.stdout.write(text);
  });
}

/** @throws CommandError (1) if it is no credential of any kind; the message shows nothing of it */
function shown(
  io: Io,
  given: GivenCredential,
  flags: SettingsFlags,
): { readonly json: object; readonly text: string } {
  const { secret } = given;
  if (secret.startsWith(issuedPrefix)) {
    const read = readCredential(secret);
    if (read === null) throw new CommandError(broken, 1);
    const description = describeIssued(io, read, given.agent, flags);
    return { json: description, text: renderIssued(description) };
  }
  const jwt = describeJwt(secret, io.clock.now());
  if (jwt !== null) return { json: jwt, text: renderJwt(jwt) };
  if (secret.length < SHORTEST_TOKEN) throw new CommandError(tooShort, 1);
  const digest = `sha256:${hash('sha256', secret)}`;
  const text = `An opaque token: nothing can be read in it. An agent takes it if its credentials say

  tokens: ["${digest}"]
`;
  return { json: { kind: 'static', verified: false, agent: given.agent, digest }, text };
}

const broken =
  'this begins like a credential of Sallyport and is none: most likely a part of it is missing. Copy it whole.';
const tooShort =
  'this is too short for a credential: those of Sallyport begin with sp1., tokens have 16 characters at least.';
