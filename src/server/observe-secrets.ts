import type { OperationsLog } from '../observe/operations-log.ts';
import type { SecretObserver } from '../upstream/secret-source.ts';

/** Tells the operations log what becomes of the secrets that entries add; never what they are. */
export function observeSecrets(operations: OperationsLog, worker: number): SecretObserver {
  return {
    failed: (source, why, kept) =>
      operations.error(`a secret for \`inject\`: ${source} ${why}`, { worker, kept }),
    recovered: (source) =>
      operations.info(`a secret for \`inject\` is there again: ${source}`, { worker }),
    exposed: (source, why) =>
      operations.warn(`a secret for \`inject\`: ${source} ${why}`, { worker }),
  };
}
