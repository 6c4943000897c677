import type { CompileResult } from '../config/compile.ts';
import type { Problem } from '../config/problem.ts';
import type { Clock } from '../core/clock.ts';
import type { MetricsSnapshot } from '../observe/metrics-snapshot.ts';
import type { OperationsLog } from '../observe/operations-log.ts';
import type { Policy } from '../policy/policy.ts';
import type { LiveDescription } from '../proxy/services.ts';
import type { CutOrder } from './connections.ts';
import type { RevokingWorker } from './revocation-plane.ts';

/** A worker as the control plane sees it: in this thread or in another one. */
export interface Worker extends RevokingWorker {
  apply(compiled: CompileResult, policy: Policy): void;
  /** Reads the credential keys again. */
  useKeys(): void;
  reopenLog(): void;
  snapshot(): Promise<MetricsSnapshot>;
  connections(): Promise<LiveDescription[]>;
  /** Ends live connections; gives the ids of those that it had. */
  cut(order: CutOrder): Promise<readonly string[]>;
  drain(): void;
  /** Client connections still open. */
  open(): Promise<number>;
  stop(): Promise<void>;
}

export interface ControlPlaneOptions {
  readonly compile: () => Promise<CompileResult>;
  readonly workers: readonly Worker[];
  readonly operations: OperationsLog;
  readonly clock: Clock;
}

/** What /ready and `POST /reload` tell. */
export interface ReloadState {
  readonly digest: string;
  /** When the policy in force took effect, ms since the epoch. */
  readonly since: number;
  /** Errors of the last reload, if it was refused; empty if the files on disk are in force. */
  readonly errors: readonly Problem[];
}

/**
 * Policies in, orders out: compiles the allowlist files, and only when they are whole and right
 * puts them in force in every worker at once. On any error the old policy stays.
 */
export class ControlPlane {
  readonly #options: ControlPlaneOptions;
  #policy: Policy;
  #since: number;
  #errors: readonly Problem[] = [];
  #running: Promise<void> | null = null;
  #again: 'no' | 'if-changed' | 'always' = 'no';
  #draining = false;

  constructor(options: ControlPlaneOptions, initial: Policy) {
    this.#options = options;
    this.#policy = initial;
    this.#since = options.clock.now();
  }

  get state(): ReloadState {
    return { digest: this.#policy.digest, since: this.#since, errors: this.#errors };
  }

  /** In force now. */
  get policy(): Policy {
    return this.#policy;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /**
   * Reads the allowlists again. One reload at a time; what is asked for meanwhile follows as one.
   * @param how `always` reports a reload even if nothing changed (SIGHUP, POST /reload).
   */
  reload(how: 'if-changed' | 'always'): Promise<void> {
    if (this.#running !== null) {
      if (this.#again !== 'always') this.#again = how;
      return this.#running;
    }
    this.#running = this.#reloadAll(how).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #reloadAll(first: 'if-changed' | 'always'): Promise<void> {
    let how: 'if-changed' | 'always' | 'no' = first;
    while (how !== 'no') {
      this.#again = 'no';
      await this.#reloadOnce(how);
      how = this.#again;
    }
  }

  async #reloadOnce(how: 'if-changed' | 'always'): Promise<void> {
    const compiled = await this.#options.compile();
    if (this.#draining) return;
    if (compiled.policy === null) this.#refuse(compiled, how);
    else if (how === 'always' || compiled.policy.digest !== this.#policy.digest) {
      this.#accept(compiled, compiled.policy);
    } else if (this.#errors.length > 0) {
      this.#errors = [];
      this.#options.operations.info('the allowlists are what is in force again', {
        policy: this.#policy.digest,
      });
    }
  }

  #accept(compiled: CompileResult, policy: Policy): void {
    const before = this.#policy.digest;
    this.#policy = policy;
    this.#since = this.#options.clock.now();
    this.#errors = [];
    for (const worker of this.#options.workers) worker.apply(compiled, policy);
    this.#options.operations.info('allowlists reloaded', {
      policy: policy.digest,
      before,
      agents: policy.agents.size,
      groups: policy.groups.size,
      warnings: compiled.problems.length,
    });
  }

  #refuse(compiled: CompileResult, how: 'if-changed' | 'always'): void {
    const errors = compiled.problems.filter((problem) => problem.severity === 'error');
    const first = errors[0];
    const known = JSON.stringify(errors) === JSON.stringify(this.#errors);
    this.#errors = errors;
    if (known && how === 'if-changed') return;
    for (const worker of this.#options.workers) {
      worker.refuseReload(first === undefined ? undefined : `${first.file}:${first.line}`);
    }
    this.#options.operations.error('allowlists not reloaded: the old policy stays in force', {
      policy: this.#policy.digest,
      errors: errors.length,
      first:
        first === undefined
          ? undefined
          : `${first.file}:${first.line}:${first.column} ${first.code} ${first.message}`,
    });
  }

  async snapshots(): Promise<MetricsSnapshot[]> {
    return Promise.all(this.#options.workers.map((worker) => worker.snapshot()));
  }

  async connections(): Promise<LiveDescription[]> {
    return (await Promise.all(this.#options.workers.map((worker) => worker.connections()))).flat();
  }

  /** Ends live connections by their ids; gives those that there were. */
  async cut(order: CutOrder): Promise<string[]> {
    return (await Promise.all(this.#options.workers.map((worker) => worker.cut(order)))).flat();
  }

  useKeys(): void {
    for (const worker of this.#options.workers) worker.useKeys();
  }

  reopenLogs(): void {
    for (const worker of this.#options.workers) worker.reopenLog();
  }

  /**
   * Stops accepting, waits until all connections have ended, for `timeout` milliseconds at most,
   * then cuts the rest and closes the logs.
   * @param hurry ends the wait early (a second signal).
   */
  async drain(timeout: number, hurry: AbortSignal): Promise<void> {
    this.#draining = true;
    const { workers, clock } = this.#options;
    for (const worker of workers) worker.drain();
    const until = clock.monotonic() + timeout;
    while (!hurry.aborted && clock.monotonic() < until) {
      const open = await Promise.all(workers.map((worker) => worker.open()));
      if (open.every((count) => count === 0)) break;
      await new Promise<void>((resolve) => {
        setTimeout(resolve, 50);
      });
    }
    await Promise.all(workers.map((worker) => worker.stop()));
  }
}
