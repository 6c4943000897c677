import { unmapped } from '../core/embedded-ipv4.ts';
import { cidrContains, type Ip } from '../core/ip.ts';
import type { Agent } from '../policy/policy.ts';

/**
 * May this agent be used from this address? Agents without `sources` may be used from anywhere;
 * the others from nowhere if the address is not known (a listener on a Unix socket).
 */
export function sourceAllowed(agent: Agent, source: Ip | null): boolean {
  const { sources } = agent.credentials;
  if (sources.length === 0) return true;
  if (source === null) return false;
  const address = unmapped(source);
  return sources.some((range) => cidrContains(range, address));
}

/** The one agent that this address alone identifies; undefined if there is none, or no single one. */
export function agentBySource(agents: readonly Agent[], source: Ip | null): Agent | undefined {
  if (source === null) return undefined;
  const address = unmapped(source);
  let found: Agent | undefined;
  for (const agent of agents) {
    if (!agent.credentials.sources.some((range) => cidrContains(range, address))) continue;
    if (found !== undefined) return undefined;
    found = agent;
  }
  return found;
}
