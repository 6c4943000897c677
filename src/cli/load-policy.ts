import { compileDirectory } from '../config/compile.ts';
import { formatProblem, hasErrors } from '../config/problem.ts';
import type { Policy } from '../policy/policy.ts';
import type { Io } from './io.ts';

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
