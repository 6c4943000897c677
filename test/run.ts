/**
 * Runs the tests: `node test/run.ts [FILE or node option]…`; without a file all of them.
 *
 * Every file has a process of its own (node's default), so that a test that leaks, blocks or
 * crashes is told from its neighbours. Network tests put themselves into a network namespace
 * (support/namespace.ts) and count as skipped where the machine has none.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { namespaceProblem } from './support/namespace.ts';

/** One file per core; node leaves one core idle, and many files wait more than they work. */
const concurrency = availableParallelism();

/** Milliseconds for one test and for one file: none of them comes near it unless it hangs. */
const timeout = 120_000;

const root = path.dirname(import.meta.dirname);
const wanted = process.argv.slice(2);
const options = wanted.filter((argument) => argument.startsWith('-'));
const named = wanted.filter((argument) => !argument.startsWith('-'));
const files = named.length > 0 ? named : globSync('test/**/*.test.ts', { cwd: root }).toSorted();

const problem = namespaceProblem();
if (problem !== null) {
  console.error(`The network tests are skipped, they need namespaces (unshare -rnm): ${problem}`);
}

const runner = spawn(
  process.execPath,
  [
    '--test',
    `--test-timeout=${timeout}`,
    `--test-concurrency=${concurrency}`,
    ...options,
    ...files,
  ],
  { cwd: named.length > 0 ? process.cwd() : root, stdio: 'inherit' },
);
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => runner.kill(signal));
runner.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
