import { type ChildProcess, spawn } from 'node:child_process';

export interface CommandOptions {
  readonly argv: readonly [string, ...string[]];
  /** Where it runs: relative programs and arguments count from here. */
  readonly directory: string;
  /** All that it gets of an environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Milliseconds that it may take. */
  readonly timeout: number;
}

/** Gets what it printed, or the end of a sentence that says why that is no use. */
export type CommandDone = (output: Buffer | string) => void;

const mostBytes = 64 * 1024;

/**
 * One run of a command that prints a secret: without a shell, without standard input, and with its
 * errors thrown away, because what a program complains about may hold the secret. It leads a process
 * group of its own, which is killed when the command has ended, has printed more than 64 KiB or took
 * too long: it leaves nothing behind that holds the pipe open.
 */
export class SecretCommand {
  readonly #done: CommandDone;
  readonly #timer: NodeJS.Timeout;
  readonly #chunks: Buffer[] = [];
  #child: ChildProcess | null = null;
  #size = 0;
  #over = false;

  /** @param done called exactly once, never at once; not after `stop`. */
  constructor(options: CommandOptions, done: CommandDone) {
    this.#done = done;
    const { timeout } = options;
    this.#timer = setTimeout(() => this.#finish(`took longer than ${timeout} ms`), timeout);
    try {
      this.#child = this.#start(options);
    } catch (error) {
      setImmediate(() => this.#failed(error as NodeJS.ErrnoException));
    }
  }

  /** Ends it now. */
  stop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === null) return;
    // Once it has ended and was waited for, its number may be somebody else's.
    if (child.exitCode === null && child.signalCode === null) killGroup(child);
    child.stdout?.destroy();
  }

  #start({ argv, directory, environment }: CommandOptions): ChildProcess {
    const [program, ...rest] = argv;
    const child: ChildProcess = spawn(program, rest, {
      cwd: directory,
      env: environment,
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    child.on('error', (error) => this.#failed(error));
    child.on('exit', (status, signal) => {
      // Now, because nobody else can have its number yet.
      killGroup(child);
      if (signal !== null) this.#finish(`was ended by ${signal}`);
      else if (status !== 0) this.#finish(`ended with status ${status}`);
    });
    // There is no pipe if there were no descriptors left for it.
    child.stdout?.on('data', (chunk: Buffer) => this.#take(chunk));
    child.stdout?.on('error', (error) => this.#failed(error));
    child.on('close', () => this.#finish(Buffer.concat(this.#chunks)));
    return child;
  }

  #take(chunk: Buffer): void {
    this.#size += chunk.length;
    if (this.#size > mostBytes) this.#finish(`printed more than ${mostBytes} bytes`);
    else this.#chunks.push(chunk);
  }

  #failed({ code }: NodeJS.ErrnoException): void {
    this.#finish(`cannot be run (${code})`);
  }

  #finish(output: Buffer | string): void {
    if (this.#over) return;
    this.stop();
    this.#done(output);
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is empty.
  }
}
