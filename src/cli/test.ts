import { Command } from 'commander';
import { compileDirectory } from '../config/compile.ts';
import { type Expectation, readExpectationFile } from '../config/expectation-file.ts';
import type { Located, Report } from '../config/fields.ts';
import { describeFileError, systemFiles } from '../config/file-reader.ts';
import { type Position, type Problem, problemAt, sortProblems } from '../config/problem.ts';
import { didYouMean } from '../config/spelling.ts';
import { readYaml } from '../config/yaml.ts';
import { MAX_YAML_BYTES } from '../config/yaml-text.ts';
import type { AddressGuard } from '../policy/address-guard.ts';
import type { Policy } from '../policy/policy.ts';
import { evaluate, guardOf, type Outcome } from './evaluate.ts';
import { refuseBroken } from './explain.ts';
import type { Io } from './io.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { plural, styles, writeJson, writeProblems } from './output.ts';

interface TestOptions {
  readonly json?: boolean;
}

/** A target that was not decided as its file says. */
interface Failure {
  readonly at: Position;
  readonly agent: string;
  readonly target: string;
  readonly expected: string;
  readonly got: string;
  readonly entry: string | undefined;
}

interface Tally {
  passed: number;
  readonly failures: Failure[];
  readonly problems: Problem[];
}

const EXAMPLE = `
Example of a file:
  tests:
    - agent: demo
      allow: [registry.npmjs.org, "http://deb.debian.org/debian/"]
    - agent: demo
      block: [example.com]
      reason: host_not_allowed

Example:
  sallyport test test/cases/shipped-allowlists.yaml
`;

/** `sallyport test`. */
export function createCommand(io: Io): Command {
  const command = new Command('test')
    .description('Run expectations about the allowlists. Exit status 1 if one fails.')
    .argument('<file...>', 'YAML files of tests: [{agent, allow, block, reason, at}]')
    .option('--json', 'print {ok, passed, failed, failures, problems}')
    .addHelpText('after', EXAMPLE);
  return addSettingsOptions(command).action(async (files: readonly string[]) => {
    const settings = settingsFor(io, command.opts());
    const compiled = await compileDirectory(settings.allowlists, io.clock.now());
    if (compiled.policy === null) {
      refuseBroken(io, compiled);
      return;
    }
    const tally: Tally = { passed: 0, failures: [], problems: [] };
    for (const file of files) {
      const tests = await readTests(file, tally.problems);
      for (const test of tests)
        run(test, compiled.policy, guardOf(settings), io.clock.now(), tally);
    }
    if (tally.failures.length + tally.problems.length > 0) io.exitStatus = 1;
    if (command.opts<TestOptions>().json) writeJson(io.stdout, jsonOf(tally));
    else print(io, tally);
  });
}

async function readTests(file: string, problems: Problem[]): Promise<readonly Expectation[]> {
  const report: Report = (at, code, message, hint) => {
    problems.push(problemAt(at, code, message, hint));
  };
  try {
    const yaml = readYaml(file, await systemFiles.read(file, MAX_YAML_BYTES + 1));
    problems.push(...yaml.problems);
    return yaml.problems.length > 0 ? [] : readExpectationFile(file, yaml.root, report);
  } catch (error) {
    const message = `cannot be read: ${describeFileError(error)}`;
    report({ file, line: 1, column: 1 }, 'file-unreadable', message, 'Name a file of tests.');
    return [];
  }
}

function run(
  test: Expectation,
  policy: Policy,
  guard: AddressGuard,
  now: number,
  tally: Tally,
): void {
  const agent = test.agent.value;
  if (!policy.agents.has(agent)) {
    // Else every `block` of a misspelt agent would pass.
    const message = `there is no agent \`${agent}\`${didYouMean(agent, policy.agents.keys())}`;
    const hint = 'Name an agent of the allowlists.';
    tally.problems.push(problemAt(test.agent.at, 'bad-expectation', message, hint));
    return;
  }
  const judge = (target: Located<string>, expected: 'allow' | 'block'): void => {
    // The allowlists are what is tested, and not whether this machine has an authority.
    const known = { policy, agent, guard, inspects: true };
    const { method, tool } = test;
    const asked = { target: target.value, method, tool, at: test.at ?? now };
    const outcome = evaluate({ ...known, ...asked });
    const reason = expected === 'block' ? test.reason : undefined;
    const right =
      outcome.verdict === expected && (reason === undefined || outcome.reason === reason);
    if (right) tally.passed++;
    else tally.failures.push(failureOf(target, expected, reason, agent, outcome));
  };
  for (const target of test.allow) judge(target, 'allow');
  for (const target of test.block) judge(target, 'block');
}

function failureOf(
  { value, at }: Located<string>,
  verdict: 'allow' | 'block',
  reason: string | undefined,
  agent: string,
  outcome: Outcome,
): Failure {
  return {
    at,
    agent,
    target: value,
    expected: verdictText(verdict, reason ?? null),
    got: verdictText(outcome.verdict, outcome.reason),
    entry: outcome.decision?.entry?.at,
  };
}

function verdictText(verdict: string, reason: string | null): string {
  return reason === null ? verdict : `${verdict} (${reason})`;
}

function jsonOf({ passed, failures, problems }: Tally): Record<string, unknown> {
  return {
    ok: failures.length + problems.length === 0,
    passed,
    failed: failures.length,
    failures: failures.map(({ at, ...failure }) => ({ ...at, ...failure })),
    problems: sortProblems(problems),
  };
}

function print(io: Io, { passed, failures, problems }: Tally): void {
  const style = styles(io.stdout, io.env);
  writeProblems(io, sortProblems(problems));
  for (const { at, agent, target, expected, got, entry } of failures) {
    const place = style.bold(`${at.file}:${at.line}:${at.column}`);
    const by = entry === undefined ? '' : `, by ${entry}`;
    io.stdout.write(
      `${place}  ${agent} → ${target}: expected ${expected}, got ${style.red(got)}${by}\n`,
    );
  }
  if (failures.length > 0) {
    const { agent, target } = failures[0] as Failure;
    const command = `sallyport explain --agent ${agent} ${quote(target)}`;
    io.stdout.write(style.dim(`    \`${command}\` tells why.\n`));
  }
  const more = problems.length === 0 ? '' : `, ${plural(problems.length, 'problem')}`;
  const tone = failures.length + problems.length === 0 ? style.green : style.red;
  io.stdout.write(`${tone(`${passed} passed, ${failures.length} failed${more}`)}\n`);
}

/** A target as a shell takes it. */
function quote(target: string): string {
  return /^[A-Za-z0-9.:/_-]+$/u.test(target) ? target : `'${target.replaceAll("'", "'\\''")}'`;
}
