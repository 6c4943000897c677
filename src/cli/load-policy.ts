import { compileDirectory } from '../config/compile.ts';
import { formatProblem, hasErrors } from '../config/problem.ts';
import { didYouMean } from '../config/spelling.ts';
import type { Agent, Policy } from '../policy/policy.ts';
import { CommandError, type Io } from './io.ts';

/**
 * The policy of an allowlists directory, for a command whose output is something else: errors are
 * printed on standard error and end in null and exit status 1; warnings are `sallyport check`'s.
 */
export async function loadPolicy(io: Io, allowlists: string): Promise<Policy | null> {
  const { policy, problems } = await compileDirectory(allowlists, io.clock.now());
  if (policy !== null) return policy;
  for (const problem of problems) {
    if (hasErrors([problem])) io.stderr.write(`${formatProblem(problem)}\n`);
  }
  io.exitStatus = 1;
  return null;
}

/** @throws CommandError (1) if the policy has no such agent */
export function knownAgent(policy: Policy, id: string): Agent {
  const agent = policy.agents.get(id);
  if (agent !== undefined) return agent;
  const meant = didYouMean(id, policy.agents.keys());
  throw new CommandError(`no agent ${JSON.stringify(id)} in the allowlists${meant || '.'}`, 1);
}
