import type { Clock } from '../core/clock.ts';
import type { OperationsLog } from '../observe/operations-log.ts';

/** Milliseconds for which the same refusal is not told again: anybody can show bad certificates. */
const quiet = 60_000;
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
  const toldAt = new Map<string, number>();
  return (client, why) => {
    const now = clock.monotonic();
    if (now - (toldAt.get(why) ?? Number.NEGATIVE_INFINITY) < quiet) return;
    for (const [told, at] of toldAt) if (now - at >= quiet) toldAt.delete(told);
    if (toldAt.size >= most) return;
    toldAt.set(why, now);
    operations.warn('a client certificate was refused', { worker, client, why });
  };
}
