import { needsInspection } from './conditions.ts';
import type { Agent, Policy } from './policy.ts';

/** Has the agent an entry, of its own or in a group, that only inspection can open? */
export function agentNeedsInspection(agent: Agent): boolean {
  return (
    agent.allow.some(needsInspection) ||
    agent.groups.some(({ group }) => group.allow.some(needsInspection))
  );
}

const known = new WeakMap<Policy, boolean>();

export function policyNeedsInspection(policy: Policy): boolean {
  let needs = known.get(policy);
  if (needs === undefined) {
    needs = [...policy.agents.values()].some(agentNeedsInspection);
    known.set(policy, needs);
  }
  return needs;
}
