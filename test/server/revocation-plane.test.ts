import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseRevocations, type RevocationFile } from '../../src/config/revocation-file.ts';
import type { RevocationEntry } from '../../src/identity/revocations.ts';
import { createOperationsLog } from '../../src/observe/operations-log.ts';
import { RevocationPlane } from '../../src/server/revocation-plane.ts';
import { until } from '../support/deadline.ts';
import { policyOf } from '../support/identity-policy.ts';

const now = Date.UTC(2026, 10, 22, 12);
const gone: RevocationFile = { entries: [], problems: [], exists: false };
const file = (...agents: string[]): RevocationFile =>
  parseRevocations(
    Buffer.from(`quarantined: [${agents.map((agent) => `{agent: ${agent}}`).join(', ')}]\n`),
    now,
  );
const broken = parseRevocations(Buffer.from('quarantined: ['), now);

/** A plane whose file reads as these, one after the other, the last one for ever. */
function planeOf(...files: readonly RevocationFile[]) {
  const told: string[] = [];
  const messages: string[] = [];
  const state = { files: [...files], reads: 0 };
  const worker = (name: string) => ({
    revoke: (
      entries: readonly RevocationEntry[],
      changes: readonly { readonly entry: RevocationEntry; readonly lifted: boolean }[],
    ) => {
      const lines = changes.map(({ entry, lifted }) => `${lifted ? '-' : '+'}${entry.id}`);
      told.push(`${name}: ${entries.map(({ id }) => id).join(' ')} (${lines.join(' ')})`);
      return Promise.resolve(2);
    },
    refuseReload: (place: string | undefined) => {
      told.push(`${name}: refused ${place}`);
    },
  });
  const plane = new RevocationPlane(
    {
      read: () => {
        state.reads++;
        const next = state.files.length > 1 ? state.files.shift() : state.files[0];
        return Promise.resolve(next ?? gone);
      },
      workers: [worker('0'), worker('1')],
      operations: createOperationsLog({ readable: false, write: (line) => messages.push(line) }),
      policy: () => policyOf({ demo: {}, bob: {} }),
    },
    [],
  );
  return { plane, told, messages, state };
}

describe('what is read', () => {
  test('is in force in every worker at once; one tells the log', async () => {
    const { plane, told, messages, state } = planeOf(file('demo', 'stranger'));
    assert.equal(await plane.reload(), 4);
    assert.deepEqual(told, ['0: demo stranger (+demo +stranger)', '1: demo stranger ()']);
    assert.equal(state.reads, 1);
    assert.ok(messages.some((line) => line.includes('there is no agent `stranger`')));
    assert.equal(await plane.reload(), 0);
    assert.equal(told.length, 2, 'the same again changes nothing');
  });

  test('is lifted only if it is still missing a moment later', async () => {
    const { plane, told } = planeOf(file('demo'), gone, file('demo'), file());
    await plane.reload();
    told.length = 0;
    await plane.reload();
    assert.deepEqual(told, [], 'it was away for a moment');
    await plane.reload();
    assert.deepEqual(plane.entries, []);
    assert.deepEqual(told, ['0:  (-demo)', '1:  ()']);
  });

  test('what comes does not wait for what goes', async () => {
    const { plane, told } = planeOf(file('demo'), file('bob'));
    await plane.reload();
    told.length = 0;
    await plane.reload();
    assert.deepEqual(told, ['0: bob demo (+bob)', '1: bob demo ()', '0: bob (-demo)', '1: bob ()']);
  });

  test('a file that is gone lifts everything, and that is a warning', async () => {
    const { plane, messages } = planeOf(file('demo'), gone);
    await plane.reload();
    await plane.reload();
    assert.deepEqual(plane.entries, []);
    assert.ok(messages.some((line) => /"warn".*revocations\.yaml is gone/.test(line)));
  });

  test('a file that does not settle lifts nothing, and is read again until it does', async () => {
    const flicker = [gone, file('bob'), gone, file('bob'), gone];
    const { plane } = planeOf(file('demo'), ...flicker);
    const ids = () => plane.entries.map(({ id }) => id).toSorted();
    await plane.reload();
    await plane.reload();
    assert.deepEqual(ids(), ['bob', 'demo']);
    await until(
      () => ids().length === 0,
      () => `${ids().join()} are left`,
    );
  });
});

describe('a broken file', () => {
  test('changes nothing, is told once, and is forgotten when it is well', async () => {
    const { plane, told, messages, state } = planeOf(file('demo'), broken);
    await plane.reload();
    told.length = 0;
    await plane.reload();
    await plane.reload();
    assert.deepEqual(told, ['0: refused revocations.yaml:1', '1: refused revocations.yaml:1']);
    assert.deepEqual(
      plane.entries.map(({ id }) => id),
      ['demo'],
    );
    assert.equal(plane.errors.length, 1);
    state.files = [file('demo')];
    await plane.reload();
    assert.deepEqual(plane.errors, []);
    assert.ok(messages.some((line) => line.includes('is in force again')));
  });

  test('half a file, seen while it is written, is not told', async () => {
    const { plane, told } = planeOf(broken, file('demo'));
    await plane.reload();
    assert.deepEqual(told, ['0: demo (+demo)', '1: demo ()']);
    assert.deepEqual(plane.errors, []);
  });
});

test('a hundred asking at once are two reads, and the last one sees the newest file', async () => {
  const { plane, state } = planeOf(file(), file('demo'));
  const asked = Array.from({ length: 100 }, () => plane.reload());
  const counts = await Promise.all(asked);
  assert.equal(state.reads, 2);
  assert.deepEqual([counts[0], counts[1], counts[99]], [0, 4, 4]);
  assert.equal(plane.entries.length, 1);
});
