import { type Command, Option } from 'commander';
import { formatProblem } from '../config/problem.ts';
import { loadSettings, type Settings, type SettingsFlags } from '../config/settings.ts';
import { configSetting, type Setting, settingsTable } from '../config/settings-table.ts';
import { CommandError, type Io } from './io.ts';

/** Adds `--config` and `--allowlists`, which every command takes. */
export function addSettingsOptions(command: Command): Command {
  addConfigOption(command);
  return command.addOption(optionOf(settingsTable.allowlists));
}

/** Adds a flag for every setting that has one, for `serve`. */
export function addServeOptions(command: Command): Command {
  addConfigOption(command);
  for (const setting of Object.values<Setting<unknown>>(settingsTable)) {
    if (setting.flag !== undefined) command.addOption(optionOf(setting));
  }
  return command;
}

/**
 * The settings of a command, from its options and the environment.
 *
 * @throws CommandError, after the problems have been printed: 2 if a flag is wrong, 3 if a variable
 * or the config file is
 */
export function settingsFor(io: Io, options: object): Settings {
  const loaded = loadSettings(options as SettingsFlags, io.env);
  if ('settings' in loaded) return loaded.settings;
  const { problems } = loaded;
  const flag = problems.find(({ file }) => file.startsWith('--'));
  if (flag !== undefined) throw new CommandError(`${flag.message}. ${flag.hint}`, 2);
  for (const problem of problems) {
    const outside = problem.file.startsWith('SALLYPORT_');
    io.stderr.write(
      outside ? `${problem.message}. ${problem.hint}\n` : `${formatProblem(problem)}\n`,
    );
  }
  throw new CommandError('the settings cannot be used.', 3);
}

function addConfigOption(command: Command): void {
  const { flag, variable, type, help } = configSetting;
  command.addOption(new Option(`${flag} <${type}>`, `${help} (${variable})`));
}

function optionOf({
  flag,
  variable,
  default: initial,
  list,
  type,
  help,
}: Setting<unknown>): Option {
  const more = [variable, `default ${initial}`].filter((part) => part !== undefined).join(', ');
  const option = new Option(`${flag} <${type}>`, `${help} (${more})`);
  if (list)
    option.argParser((value: string, earlier: readonly string[] = []) => [...earlier, value]);
  return option;
}
