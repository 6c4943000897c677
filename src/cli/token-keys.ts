import { join } from 'node:path';
import { Command } from 'commander';
import { SecretFileError } from '../core/secret-file.ts';
import {
  type CredentialKey,
  type CredentialKeys,
  loadCredentialKeys,
  openCredentialKeys,
  rotateCredentialKeys,
} from '../identity/credential-keys.ts';
import { CommandError, type Io } from './io.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { writeJson } from './output.ts';

interface KeysOptions {
  readonly rotate?: boolean;
  readonly json?: boolean;
}

/** `sallyport token keys`. */
export function createKeys(io: Io): Command {
  const command = new Command('keys')
    .description('The keys that sign and verify issued credentials: their ids, never the keys.')
    .option('--rotate', 'put a new key on top, which signs from then on; the others end in 30 days')
    .option('--json', 'print {file, keys: [{id, signs, until}]}')
    .addHelpText('after', '\nExample:\n  sallyport token keys --rotate\n');
  return addSettingsOptions(command).action(() => {
    const options = command.opts<KeysOptions>();
    const file = join(settingsFor(io, options).certs, 'credentials.key');
    const now = io.clock.now();
    const keys = keysOf(file, options.rotate === true, now);
    if (options.json) writeJson(io.stdout, { file, keys: keys.all.map((key) => rowOf(key, keys)) });
    else io.stdout.write(render(file, keys, options.rotate === true, now));
  });
}

/** @throws CommandError (1) if the key file cannot be used */
function keysOf(file: string, rotate: boolean, now: number): CredentialKeys {
  try {
    if (!rotate) return loadCredentialKeys(file);
    openCredentialKeys(file);
    return rotateCredentialKeys(file, now);
  } catch (error) {
    if (error instanceof SecretFileError) throw new CommandError(error.message, 1);
    throw error;
  }
}

function rowOf(key: CredentialKey, keys: CredentialKeys): object {
  return { id: key.id, signs: key === keys.signing, until: endOf(key) };
}

function endOf({ until }: CredentialKey): string | undefined {
  return Number.isFinite(until) ? new Date(until).toISOString() : undefined;
}

function render(file: string, keys: CredentialKeys, rotated: boolean, now: number): string {
  const rows = keys.all.map((key) => `  ${key.id}  ${stateOf(key, keys, now)}\n`);
  return `${file}\n${rows.join('')}${rotated ? advice(keys) : ''}`;
}

function stateOf(key: CredentialKey, keys: CredentialKeys, now: number): string {
  const end = endOf(key);
  if (now >= key.until) return `ended at ${end}: its line can go`;
  const does = key === keys.signing ? 'signs and verifies' : 'verifies';
  return end === undefined ? does : `${does} until ${end}`;
}

function advice({ signing, all }: CredentialKeys): string {
  const others =
    all.length > 1
      ? ' The others verify until they end, when nothing that they signed is left; to end all of that now, remove their lines.'
      : '';
  return `\n${signing.id} is new and signs from now on. A running proxy takes it up within two seconds.${others} If other proxies share these keys, hand them the new file before you issue again.\n`;
}
