import type { Clock } from '../core/clock.ts';
import { EgressLineFormatter } from './egress-line.ts';
import type { EgressLog, EgressRecord } from './egress-log.ts';
import { LogFile } from './log-file.ts';

/** What the log tells about itself; the operations log takes it. */
export interface EgressLogObserver {
  /** Lines cannot be written any more; called once, until they can again. */
  failed(message: string): void;
  /** They can again. */
  recovered(message: string): void;
}

export interface FileEgressLogOptions {
  /** Path of the file; `-` is standard output. */
  readonly path: string;
  readonly clock: Clock;
  /** `host/worker`: `seq` counts per node. */
  readonly node: string;
  readonly observer: EgressLogObserver;
}

interface Commit {
  readonly record: EgressRecord;
  readonly done: (written: boolean) => void;
}

/** Lines that wait while all is well, in characters: beyond this they are written within the turn. */
const batchSize = 64 * 1024;

/** Lines that wait while nothing can be written, in characters. Those beyond are lost, and counted. */
const backlogSize = 1024 * 1024;

/** Milliseconds between two looks at the file when nothing is written. */
const upkeepInterval = 1000;

/**
 * An `EgressLog` on a file, a pipe or standard output. Lines stand in the file in the order of
 * their `seq`. An `open` line that `write` refused has no number: nothing happened. A line that the
 * backlog cannot hold keeps its number, so that the gap shows the loss.
 *
 * The constructor does not throw: a path that cannot be opened shows as `healthy` false.
 */
export class FileEgressLog implements EgressLog {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #observer: EgressLogObserver;
  readonly #file: LogFile;
  readonly #formatter: EgressLineFormatter;
  readonly #upkeep: NodeJS.Timeout;
  #seq = 0;
  #commits: Commit[] = [];
  #waiting: string[] = [];
  #waitingSize = 0;
  #turnEndPlanned = false;
  #failing = false;
  #closed = false;
  #failures = 0;
  #dropped = 0;

  constructor(options: FileEgressLogOptions) {
    this.#path = options.path;
    this.#clock = options.clock;
    this.#observer = options.observer;
    this.#formatter = new EgressLineFormatter(options.node);
    this.#file = new LogFile(options.path, options.clock);
    this.#upkeep = setInterval(() => this.#lookAfter(), upkeepInterval).unref();
    this.#note(this.#file.error === null);
  }

  get healthy(): boolean {
    return !this.#failing && !this.#closed;
  }

  /** Writes refused so far. */
  get failures(): number {
    return this.#failures;
  }

  /** Lines lost so far because the backlog was full. */
  get dropped(): number {
    return this.#dropped;
  }

  write(record: EgressRecord): boolean {
    if (this.#closed) return false;
    const line = this.#formatter.format(record, this.#clock.now(), this.#seq + 1);
    const written = this.#append(line);
    if (written || record.event !== 'open') this.#seq++;
    if (!written) {
      this.#failures++;
      if (record.event !== 'open') this.#keep(line);
    }
    return written;
  }

  commit(record: EgressRecord, done: (written: boolean) => void): void {
    this.#commits.push({ record, done });
    this.#planTurnEnd();
  }

  writeLater(record: EgressRecord): void {
    if (this.#closed) return;
    this.#keep(this.#formatter.format(record, this.#clock.now(), ++this.#seq));
    if (this.#waitingSize >= batchSize && !this.#failing) this.#append('');
    else if (!this.#failing) this.#planTurnEnd();
  }

  reopen(): void {
    if (this.#closed) return;
    this.#flush();
    this.#file.reopen();
    this.#note(this.#file.error === null);
    this.#flush();
  }

  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    clearInterval(this.#upkeep);
    this.#file.close();
  }

  /** Everything that was committed in this turn, in one write; one by one if that fails. */
  #commitAll(): void {
    const commits = this.#commits;
    this.#commits = [];
    const together = commits.length > 1 ? this.#writeTogether(commits) : 0;
    for (const [index, { record, done }] of commits.entries()) {
      done(index < together || this.write(record));
    }
  }

  /** How many of them are in the file: all, or as many as a pipe took before it failed. */
  #writeTogether(commits: readonly Commit[]): number {
    if (this.#closed || this.#failing) return 0;
    const now = this.#clock.now();
    let lines = '';
    let seq = this.#seq;
    for (const { record } of commits) lines += this.#formatter.format(record, now, ++seq);
    const before = this.#waiting.length;
    const written = this.#append(lines)
      ? commits.length
      : Math.max(0, this.#file.keptLines - before);
    this.#seq += written;
    return written;
  }

  /** Hands the waiting lines and `line` to the kernel together. True if all are there. */
  #append(line: string): boolean {
    const batch = this.#waiting.length === 0 ? line : this.#waiting.join('') + line;
    const written = this.#file.append(batch);
    this.#forget(written ? this.#waiting.length : this.#file.keptLines);
    this.#note(written);
    return written;
  }

  /** Puts a line behind those that wait, if there is room. */
  #keep(line: string): void {
    if (this.#waitingSize + line.length > backlogSize) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(line);
    this.#waitingSize += line.length;
  }

  /** Lets go of the first `count` waiting lines: they are in the file. */
  #forget(count: number): void {
    if (count === 0) return;
    const rest = this.#waiting.slice(count);
    this.#waiting = rest;
    this.#waitingSize = rest.reduce((size, line) => size + line.length, 0);
  }

  #flush(): void {
    if (this.#waiting.length > 0) this.#append('');
  }

  /** Lines that wait and lines to commit go out in the same write at the end of this turn. */
  #planTurnEnd(): void {
    if (this.#turnEndPlanned) return;
    this.#turnEndPlanned = true;
    setImmediate(this.#atTurnEnd);
  }

  readonly #atTurnEnd = (): void => {
    this.#turnEndPlanned = false;
    if (this.#commits.length > 0) this.#commitAll();
    else if (!this.#closed) this.#flush();
  };

  /** Follows a rotation and gets over a failure even when nobody writes. */
  #lookAfter(): void {
    this.#file.check();
    if (this.#waiting.length > 0) this.#flush();
    else this.#note(this.#file.error === null);
  }

  #note(good: boolean): void {
    const wasGood = !this.#failing;
    if (good === wasGood) return;
    this.#failing = !good;
    if (good) {
      this.#observer.recovered(
        `the egress log ${this.#name} can be written again; refused in all: ${this.#failures}, lost lines in all: ${this.#dropped}`,
      );
    } else {
      this.#observer.failed(
        `the egress log ${this.#name} cannot be written (${this.#file.error?.message}); new connections are refused with log_unavailable until it can`,
      );
    }
  }

  get #name(): string {
    return this.#path === '-' ? 'on standard output' : this.#path;
  }
}
