import { Command } from 'commander';
import { type CompileResult, compileDirectory } from '../config/compile.ts';
import { systemFiles } from '../config/file-reader.ts';
import { hasErrors, type Problem, sortProblems } from '../config/problem.ts';
import { checkAgents, readRevocationFile } from '../config/revocation-file.ts';
import { guardOf } from './evaluate.ts';
import { CommandError, type Io } from './io.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { plural, styles, writeJson, writeProblems } from './output.ts';

interface CheckOptions {
  readonly allowlists?: string;
  readonly json?: boolean;
}

/** `sallyport check`. */
export function createCommand(io: Io): Command {
  const command = new Command('check')
    .description('Validate and lint allowlists. Exit status 1 on any error; warnings alone are 0.')
    .argument('[dir]', 'the allowlists directory, instead of --allowlists')
    .option('--json', 'print {ok, problems: [{file, line, column, severity, code, message, hint}]}')
    .addHelpText(
      'after',
      '\nExamples:\n  sallyport check\n  sallyport check --json ./allowlists\n',
    );
  return addSettingsOptions(command).action(async (directory: string | undefined) => {
    const options = command.opts<CheckOptions>();
    if (directory !== undefined && options.allowlists !== undefined) {
      throw new CommandError('name the directory once: as DIR or with --allowlists.', 2);
    }
    const settings = settingsFor(io, options);
    const guard = guardOf(settings);
    const result = await compileDirectory(
      directory ?? settings.allowlists,
      io.clock.now(),
      systemFiles,
      (ip, port) => guard.isOwnListener(ip, port),
    );
    const more = await revocationProblems(io, directory ?? settings.allowlists, result);
    const problems = sortProblems([...result.problems, ...more]);
    const ok = !hasErrors(problems);
    if (!ok) io.exitStatus = 1;
    if (options.json) writeJson(io.stdout, { ok, problems });
    else printResult(io, result, problems);
  });
}

/** What is wrong with the revocations; agents are looked for only in allowlists that compile. */
async function revocationProblems(
  io: Io,
  directory: string,
  { policy, problems: found }: CompileResult,
): Promise<readonly Problem[]> {
  // A directory that cannot be read has been reported.
  if (found.some(({ file, severity }) => file === '.' && severity === 'error')) return [];
  const { entries, problems } = await readRevocationFile(directory, io.clock.now());
  const unknown = entries === null || policy === null ? [] : checkAgents(entries, policy.agents);
  return [...problems, ...unknown];
}

function printResult(
  io: Io,
  { counts, policy, digest }: CompileResult,
  problems: readonly Problem[],
): void {
  const style = styles(io.stdout, io.env);
  writeProblems(io, problems);
  if (problems.length > 0) io.stdout.write('\n');
  const verdict = hasErrors(problems) ? style.red('not usable') : style.green('ok');
  const size = [
    plural(counts.files, 'file'),
    plural(counts.agents, 'agent'),
    plural(counts.groups, 'group'),
    plural(counts.entries, 'entry', 'entries'),
  ].join(', ');
  const found = `${plural(countOf(problems, 'error'), 'error')}, ${plural(countOf(problems, 'warning'), 'warning')}`;
  const name = policy === null ? '' : `, policy ${digest}`;
  io.stdout.write(`${verdict}: ${size}; ${found}${name}\n`);
}

function countOf(problems: readonly Problem[], severity: Problem['severity']): number {
  return problems.filter((problem) => problem.severity === severity).length;
}
