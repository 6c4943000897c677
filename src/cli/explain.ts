import { Command } from 'commander';
import { type CompileResult, compileDirectory } from '../config/compile.ts';
import { formatProblem } from '../config/problem.ts';
import { readRevocationFile } from '../config/revocation-file.ts';
import { didYouMean } from '../config/spelling.ts';
import { parseTime } from '../config/units.ts';
import type { RevocationEntry } from '../identity/revocations.ts';
import type { CredentialScope } from '../policy/credential-scope.ts';
import { hostPattern } from '../policy/pattern.ts';
import type { Policy } from '../policy/policy.ts';
import { evaluate, guardOf, type Outcome, schemeOf } from './evaluate.ts';
import { renderOutcome } from './explain-text.ts';
import { hasAuthority } from './inspection-exports.ts';
import { CommandError, type Io } from './io.ts';
import { addSettingsOptions, settingsFor } from './options.ts';
import { styles, writeJson, writeProblems } from './output.ts';
import { scopeForAgent } from './scope-option.ts';
import type { WrittenTarget } from './target.ts';

interface ExplainOptions {
  readonly agent: string;
  readonly method?: string;
  readonly tool?: string;
  readonly at?: string;
  readonly only?: readonly string[];
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  sallyport explain --agent demo registry.npmjs.org
  sallyport explain --agent demo git.example.com:22 --json
  sallyport explain --agent demo https://mcp.example.com/mcp --tool search
  sallyport explain --agent demo http://deb.debian.org/debian/ --method POST --at 2027-01-01T00:00:00Z
`;

/** `sallyport explain`. */
export function createCommand(io: Io): Command {
  const command = new Command('explain')
    .description(
      'What the proxy would decide about a target, by the same engine, and why. Sends nothing. Exit status 1 if it would be blocked.',
    )
    .argument(
      '<target>',
      'HOST or HOST:PORT (a CONNECT; port 443 if none), or a URL (https, http, tcp)',
    )
    .requiredOption('--agent <id>', 'the agent that asks')
    .option('--method <method>', 'the method of a request to a URL (default GET)')
    .option('--tool <name>', 'an MCP tool that a request to a URL calls (by POST)')
    .option(
      '--only <scope...>',
      'with a credential narrowed to these: NAME, group:NAME, host:PATTERN',
    )
    .option('--at <time>', 'when it asks, such as 2027-01-01T00:00:00Z (default now)')
    .option(
      '--json',
      'print {verdict, reason, agent, scheme, host, port, entry, group, policy, inspect, near}',
    )
    .addHelpText('after', EXAMPLES);
  return addSettingsOptions(command).action(async (target: string) => {
    const options = command.opts<ExplainOptions>();
    const at = options.at === undefined ? io.clock.now() : timeOf(options.at);
    const method = options.method === undefined ? undefined : methodOf(options.method);
    const settings = settingsFor(io, options);
    const compiled = await compileDirectory(settings.allowlists, io.clock.now());
    const { policy } = compiled;
    if (policy === null) {
      refuseBroken(io, compiled);
      return;
    }
    const guard = guardOf(settings);
    const revocations = await revocationsFor(io, settings.allowlists);
    const { agent } = options;
    const scope = scopeOf(policy, options);
    const inspects = hasAuthority(settings.certs, io.clock.now());
    const known = { policy, guard, inspects, revocations, scope };
    const outcome = evaluate({ ...known, agent, target, method, tool: options.tool, at });
    if (options.tool !== undefined && outcome.written !== null) requireUrl(outcome.written);
    if (outcome.verdict === 'block') io.exitStatus = 1;
    if (options.json) writeJson(io.stdout, jsonOf(outcome, options.agent, policy.digest));
    else {
      const asked = { agent: options.agent, target, at };
      io.stdout.write(renderOutcome(outcome, asked, compiled, styles(io.stdout, io.env)));
    }
    if (outcome.agent === undefined) {
      const meant = didYouMean(options.agent, policy.agents.keys());
      io.stderr.write(
        `sallyport: no agent \`${options.agent}\` in the allowlists${meant || '.'}\n`,
      );
    }
  });
}

/**
 * The scope of a credential that `token issue` would make with this `--only`.
 *
 * @throws CommandError (1)
 */
function scopeOf(policy: Policy, { agent: id, only }: ExplainOptions): CredentialScope | undefined {
  const agent = policy.agents.get(id);
  if (agent === undefined || only === undefined) return undefined;
  const written = scopeForAgent(agent, only);
  const hosts = (written.hosts ?? []).flatMap((text) => hostPattern(text) ?? []);
  return [{ groups: written.only ?? [], hosts }];
}

/** Those of a broken file are not known here; the running proxy keeps what it had. */
async function revocationsFor(io: Io, directory: string): Promise<readonly RevocationEntry[]> {
  const { entries, problems } = await readRevocationFile(directory, io.clock.now());
  if (entries !== null) return entries;
  for (const problem of problems) io.stderr.write(`${formatProblem(problem)}\n`);
  io.stderr.write('sallyport: what is revoked or quarantined could not be read and is left out.\n');
  return [];
}

/** Broken allowlists decide nothing. Errors only: warnings are `sallyport check`'s. */
export function refuseBroken(io: Io, { problems }: CompileResult): void {
  io.exitStatus = 1;
  const errors = problems.filter(({ severity }) => severity === 'error');
  writeProblems(io, errors, io.stderr);
  io.stderr.write('sallyport: the allowlists do not compile, so there is nothing to decide by.\n');
}

/** The object of `--json` (contract §2). */
function jsonOf(outcome: Outcome, agent: string, policy: string): Record<string, unknown> {
  const { verdict, reason, written, decision, quarantine, near } = outcome;
  const entry = decision?.entry ?? null;
  const at = quarantine?.place ?? entry?.at;
  return {
    verdict,
    reason,
    agent,
    scheme: schemeOf(outcome),
    host: written?.target.host ?? null,
    port: written?.target.port ?? null,
    ...(at === undefined ? {} : { entry: at }),
    group: entry?.group ?? null,
    policy,
    inspect: decision?.inspect ?? false,
    near: near.map((item) => ({ entry: item.entry.at, host: item.entry.pattern, why: item.why })),
  };
}

/** @throws CommandError (2) */
function requireUrl({ path }: WrittenTarget): void {
  if (path !== undefined) return;
  throw new CommandError('--tool: tools are called at a URL. Write https://HOST/PATH.', 2);
}

/** @throws CommandError (2) */
function timeOf(text: string): number {
  const time = parseTime(text);
  if ('value' in time) return time.value;
  throw new CommandError(`--at: ${time.message}. ${time.hint}`, 2);
}

/** @throws CommandError (2) */
function methodOf(text: string): string {
  if (/^[A-Z][A-Z0-9_-]{0,31}$/u.test(text)) return text;
  throw new CommandError(
    `--method: ${JSON.stringify(text)} is not a method. Write GET, HEAD, POST …, in upper case.`,
    2,
  );
}
