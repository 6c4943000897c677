import type { Clock } from '../core/clock.ts';
import type { OperationsLog } from '../observe/operations-log.ts';
import { OnceAMinute } from './once-a-minute.ts';

/** Reasons may name what stands in a certificate, so that their number has no end of its own. */
const most = 100;

/**
 * Tells the operations log why client certificates prove nobody. The egress log has the connection
 * and `bad_credentials`; whoever set a certificate up needs to hear what is wrong with it.
 */
export function observeCertificates(
  operations: OperationsLog,
  worker: number,
  clock: Clock,
): (client: string, why: string) => void {
  const due = new OnceAMinute(clock, most);
  return (client, why) => {
    if (!due.isDue(why)) return;
    operations.warn('a client certificate was refused', { worker, client, why });
  };
}
