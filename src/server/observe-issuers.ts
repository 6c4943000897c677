import type { Clock } from '../core/clock.ts';
import { type WorkloadProblem, workloadProblems } from '../identity/workload-token.ts';
import type { OperationsLog } from '../observe/operations-log.ts';
import type { IssuerKeyObserver } from '../upstream/issuer-keys.ts';
import { OnceAMinute } from './once-a-minute.ts';

export interface IssuerObserver extends Pick<IssuerKeyObserver, 'loaded' | 'failed'> {
  refused(issuer: string, problem: WorkloadProblem): void;
}

/** Tells the operations log what this worker knows of other issuers: keys, and refused tokens. */
export function observeIssuers(
  operations: OperationsLog,
  worker: number,
  clock: Clock,
): IssuerObserver {
  // Issuers of policies by problems of a closed list: it does not grow with what clients send.
  const due = new OnceAMinute(clock, Number.POSITIVE_INFINITY);
  return {
    loaded: (issuer, keys) =>
      operations.info("an issuer's keys are there", { worker, issuer, keys }),
    failed: (issuer, why, kept) =>
      operations.error("an issuer's keys cannot be had", { worker, issuer, why, kept }),
    refused: (issuer, problem) => {
      if (!due.isDue(`${issuer} ${problem}`)) return;
      operations.warn('a token of an issuer was refused', {
        worker,
        issuer,
        why: workloadProblems[problem],
      });
    },
  };
}
