import { reasonOf, tokenOf } from '../identity/revocations.ts';
import type { EgressRecord } from '../observe/egress-log.ts';
import type { Policy } from '../policy/policy.ts';
import type { LiveDescription } from '../proxy/services.ts';
import type { CutOrder } from './connections.ts';
import type { RevocationChange } from './revocation-plane.ts';

/**
 * The egress line of a revocation or quarantine: `requested_by` is who ended it, `task` why. What is
 * lifted is a change of what is in force, so that it is a `reload`, whose `end` says what ended.
 */
export function revocationRecord(
  { entry, lifted }: RevocationChange,
  policy: Policy,
): EgressRecord {
  const isAgent = entry.kind === 'agent' || entry.kind === 'quarantine';
  const common = {
    agent: isAgent ? policy.agents.get(entry.id) : undefined,
    entry: entry.place,
    policy: policy.digest,
    token: tokenOf(entry),
  };
  if (lifted) return { ...common, event: 'reload', end: reasonOf(entry) };
  return {
    ...common,
    event: 'revoke',
    reason: reasonOf(entry),
    requestedBy: entry.by,
    task: entry.why,
  };
}

/** The egress line of one connection that somebody ended by hand; its last line follows. */
export function cutRecord(live: LiveDescription, order: CutOrder, policy: Policy): EgressRecord {
  return {
    event: 'revoke',
    id: live.id,
    agent: policy.agents.get(live.agent),
    reason: 'policy_changed',
    host: live.host,
    port: live.port,
    policy: policy.digest,
    task: order.why,
    requestedBy: order.by,
    token: live.token,
    client: live.client,
  };
}
