import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Io } from '../../src/cli/io.ts';
import { run } from '../../src/cli/program.ts';
import { systemClock } from '../../src/core/clock.ts';

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A temporary home of an installation, removed with the test that declares it with `using`. */
export class Installation implements Disposable {
  readonly root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-cli-'));

  get allowlists(): string {
    return path.join(this.root, 'allowlists');
  }

  get certs(): string {
    return path.join(this.root, 'certs');
  }

  /** Writes an allowlist file. */
  allow(name: string, text: string): void {
    fs.mkdirSync(this.allowlists, { recursive: true });
    fs.writeFileSync(path.join(this.allowlists, name), text);
  }

  /** Runs a command line in this process; `now` is its wall clock, ms since the Unix epoch, `input` its standard input. */
  async run(
    argv: readonly string[],
    now = Date.now(),
    env: Io['env'] = {},
    input: string | null = null,
  ): Promise<CommandResult> {
    const home = {
      SALLYPORT_ALLOWLISTS: this.allowlists,
      SALLYPORT_CERTS: this.certs,
      // Nobody's: a proxy that runs on this machine must not be asked.
      SALLYPORT_ADMIN: '127.0.0.1:1',
    };
    return await runCommand(argv, { ...home, ...env }, () => now, input);
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.root, { recursive: true, force: true });
  }
}

/** Runs a command line in this process. */
export async function runCommand(
  argv: readonly string[],
  env: Io['env'],
  now: () => number = systemClock.now,
  input: string | null = null,
): Promise<CommandResult> {
  const out = { stdout: '', stderr: '' };
  const io: Io = {
    stdout: { write: (text) => (out.stdout += text) },
    stderr: { write: (text) => (out.stderr += text) },
    env,
    clock: { now, monotonic: systemClock.monotonic },
    input: () => Promise.resolve(input),
    exitStatus: 0,
  };
  const status = await run(argv, io);
  return { status, ...out };
}
