import process from 'node:process';
import { type Clock, systemClock } from '../core/clock.ts';

/** A place to write text to; `process.stdout` is one, so is a test's buffer. */
export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  /** Width of the terminal in characters, if it is one. */
  readonly columns?: number | undefined;
}

/** What a command may touch of the process around it. Tests pass their own. */
export interface Io {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** All of standard input, the first megabyte at most; null if it is a terminal, which has no end. */
  readonly input: () => Promise<string | null>;
  /** 0 fine, 1 the answer is no or problems were found, 2 wrong usage, 3 could not start. */
  exitStatus: number;
}

/** Characters. */
const MAX_INPUT = 1_000_000;

/** Ends a command with one sentence on standard error and this exit status. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitStatus: 1 | 2 | 3;
  constructor(message: string, exitStatus: 1 | 2 | 3) {
    super(message);
    this.exitStatus = exitStatus;
  }
}

/** The real process. A reader that went away (`sallyport check | head`) is not an error. */
export function processIo(): Io {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    clock: systemClock,
    input: readInput,
    exitStatus: 0,
  };
}

async function readInput(): Promise<string | null> {
  if (process.stdin.isTTY) return null;
  let text = '';
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > MAX_INPUT) break;
  }
  return text.slice(0, MAX_INPUT);
}
