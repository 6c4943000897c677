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
  /** 0 fine, 1 the answer is no or problems were found, 2 wrong usage, 3 could not start. */
  exitStatus: number;
}

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
    exitStatus: 0,
  };
}
