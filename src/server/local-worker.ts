import type { CompileResult } from '../config/compile.ts';
import type { RevocationEntry } from '../identity/revocations.ts';
import type { MetricsSnapshot } from '../observe/metrics-snapshot.ts';
import type { Policy } from '../policy/policy.ts';
import type { LiveDescription } from '../proxy/services.ts';
import type { CutOrder } from './connections.ts';
import type { Worker } from './control-plane.ts';
import type { DataPlane } from './data-plane.ts';
import type { RevocationChange } from './revocation-plane.ts';

/** The one worker of a proxy that runs in this thread. */
export class LocalWorker implements Worker {
  readonly #plane: DataPlane;

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  apply(_compiled: CompileResult, policy: Policy): void {
    this.#plane.apply(policy);
  }

  revoke(
    entries: readonly RevocationEntry[],
    changes: readonly RevocationChange[],
  ): Promise<number> {
    return Promise.resolve(this.#plane.revoke(entries, changes));
  }

  cut(order: CutOrder): Promise<readonly string[]> {
    return Promise.resolve(this.#plane.cut(order));
  }

  refuseReload(entry: string | undefined): void {
    this.#plane.refuseReload(entry);
  }

  useKeys(): void {
    this.#plane.useKeys();
  }

  reopenLog(): void {
    this.#plane.reopenLog();
  }

  snapshot(): Promise<MetricsSnapshot> {
    return Promise.resolve(this.#plane.metrics.snapshot());
  }

  connections(): Promise<LiveDescription[]> {
    return Promise.resolve(this.#plane.describe());
  }

  drain(): void {
    this.#plane.drain();
  }

  open(): Promise<number> {
    return Promise.resolve(this.#plane.open);
  }

  stop(): Promise<void> {
    this.#plane.stop();
    return Promise.resolve();
  }
}
