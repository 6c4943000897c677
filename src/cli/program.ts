import process from 'node:process';
import { Command, CommanderError } from 'commander';
import { CommandError, type Io } from './io.ts';

interface CommandModule {
  createCommand(io: Io): Command;
}

interface CommandRow {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}

/** Every command, in the order of `sallyport --help`. A module is loaded only when its command runs. */
export const commands: readonly CommandRow[] = [
  { name: 'serve', summary: 'run the proxy', load: async () => import('./serve.ts') },
  {
    name: 'check',
    summary: 'validate and lint allowlists',
    load: async () => import('./check.ts'),
  },
  {
    name: 'explain',
    summary: 'what the proxy would decide about a target, and why',
    load: async () => import('./explain.ts'),
  },
  {
    name: 'test',
    summary: 'run expectations about allowlists, written in files',
    load: async () => import('./test.ts'),
  },
  {
    name: 'token',
    summary: 'issue short-lived credentials, and narrow them',
    load: async () => import('./token.ts'),
  },
  {
    name: 'revoke',
    summary: 'end credentials now, before their time',
    load: async () => import('./revoke.ts'),
  },
  {
    name: 'quarantine',
    summary: 'stop an agent now, whatever it shows',
    load: async () => import('./quarantine.ts'),
  },
  {
    name: 'unquarantine',
    summary: 'let a quarantined agent go on',
    load: async () => import('./unquarantine.ts'),
  },
  {
    name: 'connections',
    summary: 'what the running proxy has open, and ending it',
    load: async () => import('./connections.ts'),
  },
  {
    name: 'env',
    summary: 'shell exports that send a sandbox through the proxy',
    load: async () => import('./env.ts'),
  },
  {
    name: 'ca',
    summary: 'the inspection and identity authority',
    load: async () => import('./ca.ts'),
  },
  {
    name: 'cert',
    summary: 'certificates for agents and listeners',
    load: async () => import('./cert.ts'),
  },
];

const oldestNode = [24, 18, 1] as const;

/**
 * Runs one command line (without `node` and the script) and returns its exit status: 0 fine, 1 the
 * answer is no or problems were found, 2 wrong usage, 3 could not start. Never throws.
 */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const tooOld = nodeTooOld(process.versions.node);
  if (tooOld !== null) return fail(io, tooOld, 3);
  try {
    const program = await createProgram(argv, io);
    await program.parseAsync(isStray(argv[0]) ? argv.slice(0, 1) : argv, { from: 'user' });
    return io.exitStatus;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof CommandError) return fail(io, error.message, error.exitStatus);
    return fail(io, sentenceOf(error), 3);
  }
}

/** No command of ours: then it is the error, whatever help is asked for behind it. */
function isStray(word: string | undefined): boolean {
  if (word === undefined || word === 'help' || word.startsWith('-')) return false;
  return !commands.some(({ name }) => name === word);
}

/** The whole program; only the command that `argv` names is more than its name and summary. */
async function createProgram(argv: readonly string[], io: Io): Promise<Command> {
  const program = new Command('sallyport')
    .description(
      'Egress filtering forward proxy for AI agents: denied by default, every connection logged.',
    )
    .configureHelp({ showGlobalOptions: true });
  const wanted = argv[0] === 'help' ? argv[1] : argv[0];
  for (const row of commands) {
    if (row.name === wanted) program.addCommand((await row.load()).createCommand(io));
    else program.command(row.name).description(row.summary);
  }
  program.addHelpText('after', '\nExample:\n  sallyport explain --agent demo registry.npmjs.org\n');
  govern(program, io);
  return program;
}

/** Output through `io`, and errors as exceptions, for a command and everything below it. */
function govern(command: Command, io: Io): void {
  command.exitOverride().showHelpAfterError(`See \`${pathOf(command)} --help\`.`);
  command.configureOutput({
    writeOut: (text) => io.stdout.write(text),
    writeErr: (text) => io.stderr.write(text),
    getOutHelpWidth: () => io.stdout.columns ?? 100,
    getErrHelpWidth: () => io.stderr.columns ?? 100,
    outputError: (text, write) => write(text.replace(/^error: /u, 'sallyport: ')),
  });
  for (const child of command.commands) govern(child, io);
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

function fail(io: Io, message: string, status: number): number {
  io.stderr.write(`sallyport: ${message}\n`);
  return status;
}

/** One line whatever was thrown: a stack means nothing to the person at the terminal. */
function sentenceOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0] ?? '';
}

/** Null if this Node will do, else a sentence that says what to do. Older releases lack fixes that the proxy relies on. */
export function nodeTooOld(version: string): string | null {
  const parts = version.split('.').map(Number);
  for (const [index, least] of oldestNode.entries()) {
    const part = parts[index] ?? 0;
    if (part > least) return null;
    if (part < least) {
      return `Node ${oldestNode.join('.')} or later is needed, this is ${version}: run \`npm ci\`, which brings it, and start with \`npm start\` or \`src/main.ts\`.`;
    }
  }
  return null;
}
