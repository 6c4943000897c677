import process from 'node:process';
import { Command } from 'commander';
import { compileDirectory } from '../config/compile.ts';
import { formatListener } from '../config/listen-address.ts';
import { formatProblem, hasErrors, type Problem } from '../config/problem.ts';
import { readRevocationFile } from '../config/revocation-file.ts';
import { SecretFileError } from '../core/secret-file.ts';
import { createOperationsLog } from '../observe/operations-log.ts';
import type { RunningProxy } from '../server/proxy.ts';
import { StartError, startProxy } from '../server/proxy.ts';
import { CommandError, type Io } from './io.ts';
import { addServeOptions, settingsFor } from './options.ts';
import { welcome } from './welcome.ts';

/** `sallyport serve`. */
export function createCommand(io: Io): Command {
  const command = new Command('serve')
    .description(
      'Run the proxy. SIGTERM and SIGINT drain, SIGHUP reloads, SIGUSR1 reopens the log.',
    )
    .addHelpText(
      'after',
      '\nExample:\n  sallyport serve --allowlists ./allowlists --listen 127.0.0.1:3128 --log ./logs/egress.jsonl\n',
    );
  return addServeOptions(command).action(async () => {
    const settings = settingsFor(io, command.opts());
    const compiled = await compileDirectory(settings.allowlists, io.clock.now());
    const { policy } = compiled;
    const revocations = await readRevocationFile(settings.allowlists, io.clock.now());
    if (policy === null || revocations.entries === null) {
      throw broken(io, [...compiled.problems, ...revocations.problems]);
    }
    const operations = createOperationsLog();
    try {
      const proxy = await startProxy(
        settings,
        compiled,
        policy,
        revocations.entries,
        operations,
        io.env,
      );
      operations.info('listening', {
        listen: proxy.listeners.map(({ at }) => formatListener(at)),
        admin: formatListener(proxy.admin),
        policy: policy.digest,
        agents: policy.agents.size,
        revocations: revocations.entries.length || undefined,
        workers: settings.workers,
        log: settings.log,
      });
      if (io.stdout.isTTY === true && settings.log !== '-') {
        io.stdout.write(welcome(io, settings, compiled.counts, proxy));
      }
      await untilStopped(
        proxy,
        (message) => operations.info(message),
        (error) => operations.error('stopped by a fault of its own', { error }),
      );
    } catch (error) {
      if (error instanceof StartError || error instanceof SecretFileError) {
        throw new CommandError(error.message, 3);
      }
      throw error;
    }
  });
}

function broken(io: Io, problems: readonly Problem[]): CommandError {
  const errors = problems.filter((problem) => hasErrors([problem]));
  for (const problem of errors) io.stderr.write(`${formatProblem(problem)}\n`);
  return new CommandError(
    `not started: ${errors.length === 1 ? 'one error' : `${errors.length} errors`} in the allowlists.`,
    3,
  );
}

/** Resolves when a signal has stopped the proxy. A second SIGTERM or SIGINT ends the wait. */
function untilStopped(
  proxy: RunningProxy,
  say: (message: string) => void,
  fault: (error: Error) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const hurry = new AbortController();
    let stopping = false;
    const stop = (signal: NodeJS.Signals): void => {
      if (stopping) {
        hurry.abort();
        return;
      }
      stopping = true;
      say(`${signal}: draining; once more to stop at once`);
      proxy.stop(hurry.signal).then(() => {
        say('stopped');
        resolve();
      }, reject);
    };
    // A fault of ours: what was decided goes to the log before the process ends, and with it every
    // connection; the service manager starts it again.
    process.on('uncaughtException', (error) => {
      fault(error);
      hurry.abort();
      const failed = (): void => reject(new CommandError('stopped by a fault of its own.', 1));
      proxy.stop(hurry.signal).then(failed, failed);
    });
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    process.on('SIGHUP', () => proxy.reload());
    process.on('SIGUSR1', () => proxy.reopenLogs());
  });
}
