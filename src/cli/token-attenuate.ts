import { Command } from 'commander';
import type { Narrowing } from '../identity/credential-claims.ts';
import {
  attenuateCredential,
  CredentialRequestError,
  type ReadCredential,
  readCredential,
} from '../identity/issued-credential.ts';
import { credentialInput } from './credential-input.ts';
import { CommandError, type Io } from './io.ts';
import { parseTtl } from './issue.ts';
import { writeJson } from './output.ts';
import { scopeHelp, scopeOfText } from './scope-option.ts';

interface AttenuateOptions {
  readonly ttl?: string;
  readonly only?: readonly string[];
  readonly json?: boolean;
}

const EXAMPLES = `
Needs no keys, no configuration and no proxy: whoever holds a credential can hand on less of it,
and nobody can undo that. An argument is visible in the list of processes, standard input is not.

Examples:
  printf %s "$CREDENTIAL" | sallyport token attenuate --ttl 15m --only registry/npm
  printf %s "$CREDENTIAL" | sallyport token attenuate --only host:docs.python.org
`;

/** `sallyport token attenuate`. */
export function createAttenuate(io: Io): Command {
  const command = new Command('attenuate')
    .description(
      'Print a credential that may do less than the one given, alone on standard output.',
    )
    .argument('[credential]', 'the credential; without it standard input is read')
    .option('--ttl <duration>', 'end it this long from now: 90s, 15m, 8h')
    .option('--only <scope...>', scopeHelp)
    .option('--json', 'print credential, id, agent and expiry as JSON')
    .addHelpText('after', EXAMPLES);
  return command.action(async (argument: string | undefined) => {
    const options = command.opts<AttenuateOptions>();
    if (options.ttl === undefined && options.only === undefined) {
      throw new CommandError('say what to take away: --ttl, --only, or both.', 2);
    }
    const ttl = options.ttl === undefined ? undefined : parseTtl(options.ttl);
    const { secret } = await credentialInput(io, argument);
    const before = readCredential(secret);
    if (before === null) throw new CommandError(notOurs, 1);
    const expiresAt = endOf(before, ttl, io.clock.now());
    const credential = attenuated(secret, { expiresAt, ...scopeOfText(options.only) });
    if (options.json) {
      const { id, agent } = before.claims;
      const end = expiresAt === undefined ? before.expiresAt : expiresAt * 1000;
      writeJson(io.stdout, { credential, id, agent, expires: new Date(end).toISOString() });
    } else {
      io.stdout.write(`${credential}\n`);
    }
  });
}

const notOurs =
  'only a whole credential of `sallyport token issue` can be narrowed, and this is none: it begins with sp1. and nothing may be cut off.';

/** Seconds since the epoch; undefined if its end stays. */
function endOf(before: ReadCredential, ttl: number | undefined, nowMs: number): number | undefined {
  const now = new Date(before.expiresAt).toISOString();
  if (nowMs >= before.expiresAt) {
    throw new CommandError(`this credential ended at ${now}: have a new one issued.`, 1);
  }
  if (ttl === undefined) return undefined;
  const end = Math.floor(nowMs / 1000) + ttl;
  if (end * 1000 < before.expiresAt) return end;
  throw new CommandError(
    `--ttl would not shorten it: it ends at ${now} already, and can only end earlier.`,
    1,
  );
}

/** @throws CommandError (1) */
function attenuated(secret: string, narrowing: Narrowing): string {
  try {
    return attenuateCredential(secret, narrowing);
  } catch (error) {
    if (error instanceof CredentialRequestError) throw new CommandError(error.message, 1);
    throw error;
  }
}
