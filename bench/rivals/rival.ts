import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { proxyAddresses, proxyPort } from '../network/plan.ts';
import type { TrialSpec } from '../network/trial-types.ts';
import { pinned } from '../support/pinning.ts';

/** A proxy under test: how it is started, in the directory of its trial. */
export interface Rival {
  /** Writes what it needs and gives the command. */
  prepare(spec: TrialSpec): readonly string[];
  /** Its access log; null if it keeps none. */
  readonly logFile: string | null;
  /** The certificate of its own authority, PEM, there once it listens; null if it never opens TLS. */
  readonly authorityFile: string | null;
}

/** How long a proxy may take to listen, and to end, milliseconds. */
const startPatience = 15_000;
const stopPatience = 5_000;

/** A rival that listens. */
export class RunningRival {
  readonly #child: ChildProcess;
  readonly #log: string | null;

  private constructor(child: ChildProcess, log: string | null) {
    this.#child = child;
    this.#log = log;
  }

  /** @throws Error with what it said if it does not listen in time. */
  static async start(rival: Rival, spec: TrialSpec): Promise<RunningRival> {
    const [command = '', ...args] = pinned(spec.pinning?.proxy, rival.prepare(spec));
    const complaints = path.join(spec.directory, 'proxy.out');
    const output = openSync(complaints, 'a');
    const child = spawn(command, args, { cwd: spec.directory, stdio: ['ignore', output, output] });
    closeSync(output);
    const log = rival.logFile === null ? null : path.join(spec.directory, rival.logFile);
    const running = new RunningRival(child, log);
    process.once('exit', () => child.kill('SIGKILL'));
    await running.#untilListening(complaints);
    return running;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Lines in its access log; -1 if it keeps none. */
  countLogLines(): number {
    if (this.#log === null) return -1;
    let lines = 0;
    for (const byte of readFileSync(this.#log)) if (byte === 0x0a) lines++;
    return lines;
  }

  /** In good order, so that profiles and logs are whole; by force if that takes too long. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopPatience);
    await exited;
    clearTimeout(timer);
  }

  async #untilListening(complaints: string): Promise<void> {
    const deadline = Date.now() + startPatience;
    for (const address of proxyAddresses) {
      while (!(await accepts(address))) {
        if (this.#child.exitCode !== null || Date.now() > deadline) {
          throw new Error(`the proxy does not listen:\n${readFileSync(complaints, 'utf8')}`);
        }
        await sleep(20);
      }
    }
  }
}

async function accepts(host: string): Promise<boolean> {
  const socket = connect({ host, port: proxyPort });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
