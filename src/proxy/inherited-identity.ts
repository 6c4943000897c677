import type { Reason } from '../core/reasons.ts';
import type { Exchange } from './exchange.ts';

/**
 * Contract §4 step 3 for a request inside a tunnel: its identity is the tunnel's, which may have
 * ended since. Null if it stands and `exchange.identity` is set.
 */
export function inheritIdentity(exchange: Exchange, tunnel: Exchange): Reason | null {
  exchange.identity = tunnel.identity;
  exchange.agent = tunnel.agent;
  exchange.token = tunnel.token;
  if (tunnel.identity === null) return 'no_credentials';
  const { identifier } = exchange.services;
  const failure = identifier.recheck(exchange.policy, tunnel.identity, exchange.evidence);
  if (failure !== null) return failure === 'policy_changed' ? 'bad_credentials' : failure;
  const agent = exchange.policy.agents.get(tunnel.identity.agent.id);
  if (agent === undefined) return 'bad_credentials';
  exchange.identity = { ...tunnel.identity, agent };
  exchange.agent = agent;
  return null;
}
