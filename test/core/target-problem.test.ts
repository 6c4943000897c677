import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { hostProblem, targetProblems } from '../../src/core/target-problem.ts';
import cases from '../cases/targets.json' with { type: 'json' };

const problems = new Set<string>(Object.values(targetProblems));

it('every problem is plain ASCII that fits into a status line, and differs from the others', () => {
  for (const problem of problems) assert.match(problem, /^[ -~]{10,140}$/);
  assert.equal(problems.size, Object.keys(targetProblems).length);
});

it('a host problem is one of the fixed sentences, whatever the client wrote', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (host) => problems.has(hostProblem(host))));
});

it('every problem has a case in the table', () => {
  const rows: { problem?: string }[] = [...cases.authority, ...cases.hostPort, ...cases.absolute];
  const seen = new Set(rows.map((row) => row.problem));
  const missing = Object.keys(targetProblems).filter((name) => !seen.has(name));
  assert.deepEqual(missing, ['pathStart']);
});
