import type { Clock } from '../core/clock.ts';
import { type CommandOptions, SecretCommand } from './secret-command.ts';
import type { SecretReports } from './secret-reports.ts';
import {
  type HeldSecret,
  type SecretReceiver,
  secretProblem,
  withoutLineEnd,
} from './secret-source.ts';

/** Milliseconds after the first failure, and after many. */
const shortestPause = 1000;
const longestPause = 60_000;

/**
 * A secret that a command prints. It runs at the start, and again after `refresh` milliseconds, as soon
 * as somebody asks; never twice at the same time. While it fails, the last secret is good for twice
 * `refresh` since it came, and the command is tried again after 1 s, 2 s … 60 s. Whoever asks when
 * there is no secret waits for the run that is under way; in a pause there is none.
 */
export class CommandSecret implements HeldSecret {
  readonly #options: CommandOptions;
  readonly #refresh: number;
  readonly #clock: Clock;
  readonly #reports: SecretReports;
  #secret: string | null = null;
  /** When it came; monotonic, like the other. */
  #since = 0;
  #notBefore = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #why = '';
  #running: SecretCommand | null = null;
  /** The run that is under way may have read what was there before a reload. */
  #again = false;
  #waiting: SecretReceiver[] = [];
  #closed = false;

  /** @param refresh milliseconds; less than a second counts as one. */
  constructor(options: CommandOptions, refresh: number, clock: Clock, reports: SecretReports) {
    this.#options = options;
    this.#refresh = Math.max(refresh, shortestPause);
    this.#clock = clock;
    this.#reports = reports;
    this.#run();
  }

  get(done: SecretReceiver): void {
    if (this.#closed) {
      done(null);
      return;
    }
    const now = this.#clock.monotonic();
    const age = now - this.#since;
    if (this.#secret !== null && age >= 2 * this.#refresh) this.#expire();
    const due = this.#secret === null || age >= this.#refresh;
    if (due && this.#running === null && now >= this.#notBefore) this.#run();
    if (this.#secret !== null || this.#running === null) done(this.#secret);
    else this.#waiting.push(done);
  }

  reload(): void {
    this.#notBefore = Number.NEGATIVE_INFINITY;
    if (this.#running === null) this.#run();
    else this.#again = true;
  }

  close(): void {
    this.#closed = true;
    this.#secret = null;
    this.#running?.stop();
    this.#running = null;
    this.#answer();
  }

  #run(): void {
    this.#running = new SecretCommand(this.#options, (output) => {
      this.#running = null;
      if (this.#again) {
        this.#again = false;
        this.#run();
      }
      this.#take(output);
    });
  }

  #take(output: Buffer | string): void {
    if (typeof output === 'string') {
      this.#fail(output);
      return;
    }
    const secret = withoutLineEnd(output);
    const problem = secretProblem(secret);
    if (problem !== null) {
      this.#fail(`printed what cannot be used: it ${problem}`);
      return;
    }
    this.#secret = secret;
    this.#since = this.#clock.monotonic();
    this.#failures = 0;
    this.#reports.read(null);
    this.#answer();
  }

  #fail(why: string): void {
    const pause = Math.min(shortestPause * 2 ** this.#failures, longestPause);
    this.#failures++;
    this.#why = why;
    this.#notBefore = this.#clock.monotonic() + pause;
    if (this.#clock.monotonic() - this.#since >= 2 * this.#refresh) this.#secret = null;
    this.#reports.failed(why, this.#secret !== null);
    // After a reload the next run is under way already.
    if (this.#running === null) this.#answer();
  }

  /** Its time is over; nobody is told if that is only because nobody asked. */
  #expire(): void {
    this.#secret = null;
    if (this.#failures > 0) this.#reports.failed(this.#why, false);
  }

  #answer(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const done of waiting) done(this.#secret);
  }
}
