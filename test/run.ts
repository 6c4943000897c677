/**
 * Runs the tests: `node test/run.ts [FILE or node option]…`; without a file all of them.
 *
 * Every file has a process of its own (node's default), so that a test that leaks, blocks or
 * crashes is told from its neighbours. Network tests put themselves into a network namespace
 * (support/namespace.ts) and count as skipped where the machine has none.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { namespaceProblem } from './support/namespace.ts';

/** One file per core; node leaves one core idle, and many files wait more than they work. */
const concurrency = availableParallelism();

/**
 * Files with real sockets and deadlines may fail for the load that their neighbours make. A few that
 * failed are run once more, one at a time; what is broken fails again.
 */
const rerunAtMost = 6;

/** Milliseconds for one test: none of them comes near it unless it hangs. */
const timeout = 120_000;

/** Milliseconds for everything. Then what still runs is killed, whatever it waits for. */
const deadline = 2_400_000;

const root = path.dirname(import.meta.dirname);
const wanted = process.argv.slice(2);
const options = wanted.filter((argument) => argument.startsWith('-'));
const named = wanted.filter((argument) => !argument.startsWith('-'));
const files = named.length > 0 ? named : globSync('test/**/*.test.ts', { cwd: root }).toSorted();

const problem = namespaceProblem();
if (problem !== null) {
  console.error(`The network tests are skipped, they need namespaces (unshare -rnm): ${problem}`);
}

let running: ChildProcess | null = null;
let stopped = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    stopped = true;
    running?.kill(signal);
  });
}
setTimeout(() => {
  stopped = true;
  console.error(`\nThe tests did not end within ${deadline} ms: what still runs is killed.`);
  // The runner leads a process group, in which all that it has started is.
  if (running?.pid !== undefined) process.kill(-running.pid, 'SIGKILL');
}, deadline).unref();

/** One run of node's test runner; resolves to its exit status and the files that failed. */
async function runTests(
  wantedFiles: readonly string[],
  cwd: string,
  atOnce: number,
): Promise<{ status: number; failed: string[] }> {
  const list = path.join(await mkdtemp(path.join(tmpdir(), 'sallyport-tests-')), 'failed');
  const reporters = [
    ['spec', 'stdout'],
    [path.join(import.meta.dirname, 'support/failed-files.ts'), list],
  ];
  const runner = spawn(
    process.execPath,
    [
      '--test',
      `--import=${path.join(import.meta.dirname, 'support/watchdog.ts')}`,
      `--test-timeout=${timeout}`,
      `--test-concurrency=${atOnce}`,
      ...reporters.flatMap(([reporter, destination]) => [
        `--test-reporter=${reporter}`,
        `--test-reporter-destination=${destination}`,
      ]),
      ...options,
      ...wantedFiles,
    ],
    { cwd, stdio: 'inherit', detached: true },
  );
  running = runner;
  const [code] = (await once(runner, 'exit')) as [number | null];
  const failed = await readFile(list, 'utf8').catch(() => '');
  await rm(path.dirname(list), { recursive: true, force: true });
  return { status: code ?? 1, failed: failed.split('\n').filter((file) => file !== '') };
}

const first = await runTests(files, named.length > 0 ? process.cwd() : root, concurrency);
let { status } = first;
if (status !== 0 && !stopped && first.failed.length > 0 && first.failed.length <= rerunAtMost) {
  console.error(`\nFailed beside others, so once more alone:\n  ${first.failed.join('\n  ')}\n`);
  ({ status } = await runTests(first.failed, root, 1));
}
process.exitCode = status;
