import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOperationsLog } from '../../src/observe/operations-log.ts';
import { observeCertificates } from '../../src/server/observe-certificates.ts';
import { ManualClock } from '../support/manual-clock.ts';

function observed() {
  const lines: string[] = [];
  const clock = new ManualClock();
  const write = (line: string) => lines.push(line);
  const operations = createOperationsLog({ write, readable: false });
  return { lines, clock, refused: observeCertificates(operations, 3, clock) };
}

test('a reason is told once a minute, with the first client that it met', () => {
  const { lines, clock, refused } = observed();
  for (const client of ['a:1', 'b:2']) refused(client, 'is odd');
  refused('c:3', 'is older');
  clock.advance(59_999);
  refused('d:4', 'is odd');
  assert.equal(lines.length, 2);
  clock.advance(1);
  refused('e:5', 'is odd');
  const told = lines.map((line) => {
    const { msg, worker, client, why } = JSON.parse(line) as Record<string, unknown>;
    return [msg, worker, client, why].join(' | ');
  });
  assert.deepEqual(
    told,
    ['a:1 | is odd', 'c:3 | is older', 'e:5 | is odd'].map(
      (rest) => `a client certificate was refused | 3 | ${rest}`,
    ),
  );
});

test('reasons without end are told up to a hundred a minute', () => {
  const { lines, clock, refused } = observed();
  for (let index = 0; index < 1000; index++) refused('a:1', `has extension ${index}`);
  assert.equal(lines.length, 100);
  clock.advance(60_000);
  refused('a:1', 'has extension 1000');
  assert.equal(lines.length, 101);
});
