import { Command } from 'commander';
import type { Io } from './io.ts';
import { addSettingsOptions } from './options.ts';
import { unquarantine } from './quarantine.ts';

/** `sallyport unquarantine`. */
export function createCommand(io: Io): Command {
  const command = new Command('unquarantine')
    .description('Let a quarantined agent go on; what was revoked stays revoked.')
    .argument('<agent>', 'id of an agent')
    .option('--json', 'print {lifted, proxy, in_force}')
    .addHelpText('after', '\nExample:\n  sallyport unquarantine demo\n');
  return addSettingsOptions(command).action(async (agent: string) => {
    await unquarantine(io, agent, command.opts());
  });
}
