import type { Clock } from '../core/clock.ts';
import { SecretFileError } from '../core/secret-file.ts';
import type { OperationsLog } from '../observe/operations-log.ts';
import { policyNeedsInspection } from '../policy/inspection.ts';
import type { Policy } from '../policy/policy.ts';
import type { InspectionServices } from '../proxy/services.ts';
import { type Authority, loadAuthority } from '../tls/authority.ts';
import { SecureContexts } from '../tls/secure-contexts.ts';
import type { TlsClient } from '../upstream/tls-client.ts';
import { OnceAMinute } from './once-a-minute.ts';

/** Agents and hosts whose distrust is told in a minute. */
const mostTold = 1_000;

/**
 * Inspection as the authority in `certs/` allows it. Without one, or with one that cannot be used,
 * there is none: entries that need it block, and the operators are told so (`warnUninspected`).
 */
export function openInspection(
  certs: string,
  upstream: TlsClient,
  operations: OperationsLog,
  clock: Clock,
): InspectionServices | null {
  const authority = usableAuthority(certs, operations, clock.now());
  if (authority === null) return null;
  const due = new OnceAMinute(clock, mostTold);
  return {
    contexts: new SecureContexts({ authority, clock }),
    upstream,
    distrusted: ({ agent, host, entry, why }) => {
      if (!due.isDue(`${agent} ${host}`)) return;
      // Only an alert is the client's own word; else the two have no version or protocol in common.
      const cause = why.includes('ALERT')
        ? 'a client broke it off: most likely it does not trust the authority of this proxy (see `sallyport env`)'
        : 'it came to nothing: TLS 1.2 or later, and in it HTTP/2 or HTTP/1.1 are spoken here';
      operations.warn(`the TLS handshake of an inspected connection: ${cause}`, {
        agent,
        host,
        entry,
        why,
      });
    },
  };
}

/** Says so, if the policy has entries that need inspection and there is none. */
export function warnUninspected(
  inspection: InspectionServices | null,
  policy: Policy,
  operations: OperationsLog,
): void {
  if (inspection !== null || !policyNeedsInspection(policy)) return;
  operations.warn(
    'entries with methods, paths or inject on https block, because there is no authority to inspect TLS with: run `sallyport ca init` and start the proxy again',
  );
}

function usableAuthority(certs: string, operations: OperationsLog, now: number): Authority | null {
  try {
    const authority = loadAuthority(certs);
    if (authority === null || now < authority.certificate.validToDate.getTime()) return authority;
    operations.error('TLS is not inspected: the certificate of the authority has ended', {
      ended: authority.certificate.validToDate.toISOString(),
    });
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    operations.error(`TLS is not inspected: ${error.message}`);
  }
  return null;
}
