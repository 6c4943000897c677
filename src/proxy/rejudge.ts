import type { Ip } from '../core/ip.ts';
import type { Decision, DecisionRequest } from '../policy/decide.ts';
import type { Policy } from '../policy/policy.ts';
import { judge } from './admit.ts';
import type { Exchange } from './exchange.ts';
import type { CutReason } from './services.ts';

/**
 * Does what is flowing still stand under this policy: its identity, its decision, and the address
 * it reached? If so the exchange moves over to the policy and its new decision is returned; if not,
 * why it must be cut, and the exchange keeps the entry that had allowed it for its last log line.
 * @param address the dialled address; null while there is none.
 */
export function standing(
  exchange: Exchange,
  policy: Policy,
  now: number,
  scheme: DecisionRequest['scheme'],
  address: Ip | null,
): Decision | CutReason {
  const { identity, services } = exchange;
  if (identity === null) return 'policy_changed';
  const failure = services.identifier.recheck(policy, identity, exchange.evidence);
  if (failure !== null) return cutFor(failure);
  const agent = policy.agents.get(identity.agent.id);
  if (agent === undefined) return 'policy_changed';
  const decision = judge(exchange, policy, scheme, now);
  if (decision.verdict === 'block') {
    return decision.reason === 'entry_expired' ? 'entry_expired' : 'policy_changed';
  }
  if (
    address !== null &&
    services.guard.check(address, exchange.port ?? 0, decision.addresses) !== 'ok'
  ) {
    return 'policy_changed';
  }
  exchange.policy = policy;
  exchange.identity = identity.agent === agent ? identity : { ...identity, agent };
  exchange.agent = agent;
  exchange.decision = decision;
  return decision;
}

function cutFor(failure: string): CutReason {
  switch (failure) {
    case 'credential_expired':
    case 'credential_revoked':
    case 'agent_quarantined':
      return failure;
    default:
      return 'policy_changed';
  }
}
