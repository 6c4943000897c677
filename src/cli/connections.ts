import { Command } from 'commander';
import { adminAddress, askAdmin } from './admin-client.ts';
import { type ConnectionRow, connectionTable, readRows } from './connection-table.ts';
import { CommandError, type Io } from './io.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { plural, styles, writeJson } from './output.ts';
import { addReasonOptions, reasonsOf } from './revocation.ts';

interface ListOptions {
  readonly agent?: string;
  readonly json?: boolean;
}

interface CutOptions {
  readonly by?: string;
  readonly why?: string;
  readonly json?: boolean;
}

/** `sallyport connections`. */
export function createCommand(io: Io): Command {
  const command = new Command('connections')
    .description('The live tunnels and requests of the running proxy, as its admin listener tells.')
    .option('--agent <id>', 'only those of this agent')
    .option('--json', 'print {connections: [{id, agent, kind, host, port, …}]}')
    .addHelpText(
      'after',
      '\nExamples:\n  sallyport connections --agent demo\n  sallyport connections cut 01M82BYGA7PAM8E6V5QCV50000 --why "odd upload"\n',
    )
    .addCommand(createCut(io));
  return addSettingsOptions(command).action(async () => {
    const options = command.opts<ListOptions>();
    const settings = settingsFor(io, options);
    const answer = await askAdmin(settings, 'GET', '/connections');
    const rows = answer === null ? null : readRows(answer.body.connections);
    if (rows === null) throw noProxy(adminAddress(settings));
    const shown = rows.filter(({ agent }) => agent === (options.agent ?? agent));
    if (options.json) writeJson(io.stdout, { connections: shown });
    else printRows(io, shown);
  });
}

function createCut(io: Io): Command {
  const command = new Command('cut')
    .description(
      'End live tunnels and requests by their ids. Nothing keeps the agent from trying again: for that, `revoke` or `quarantine`.',
    )
    .argument('<id...>', 'ids, as `sallyport connections` shows them')
    .option('--json', 'print {cut: [id], unknown: [id]}')
    .addHelpText(
      'after',
      '\nExample:\n  sallyport connections cut 01M82BYGA7PAM8E6V5QCV50000 --why "odd upload"\n',
    );
  addReasonOptions(command);
  return addSettingsOptions(command).action(async (ids: readonly string[]) => {
    // Options that the command above knows too go to that one, wherever they stand.
    const options = command.optsWithGlobals<CutOptions>();
    const reasons = reasonsOf(io, options);
    const settings = settingsFor(io, options);
    const answer = await askAdmin(settings, 'POST', '/connections/cut', { ids, ...reasons });
    const cut = answer === null ? null : textsOf(answer.body.cut);
    if (cut === null) throw noProxy(adminAddress(settings));
    const unknown = ids.filter((id) => !cut.includes(id));
    if (unknown.length > 0) io.exitStatus = 1;
    if (options.json) {
      writeJson(io.stdout, { cut, unknown });
      return;
    }
    const style = styles(io.stdout, io.env);
    for (const id of cut) io.stdout.write(`${style.red('cut')}  ${id}\n`);
    for (const id of unknown) io.stdout.write(`no live connection ${JSON.stringify(id)}\n`);
  });
}

function noProxy(at: string): CommandError {
  return new CommandError(
    `no proxy answers at ${at}: name its admin listener with --config FILE or SALLYPORT_ADMIN.`,
    1,
  );
}

function textsOf(value: unknown): string[] | null {
  const isList = Array.isArray(value) && value.every((item) => typeof item === 'string');
  return isList ? value : null;
}

function printRows(io: Io, rows: readonly ConnectionRow[]): void {
  io.stdout.write(connectionTable(rows, io.stdout.columns ?? Infinity, styles(io.stdout, io.env)));
  io.stdout.write(`${plural(rows.length, 'live connection')}\n`);
}
