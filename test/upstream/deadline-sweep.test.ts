import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeadlineSweep } from '../../src/upstream/deadline-sweep.ts';
import { ManualClock } from '../support/manual-clock.ts';

describe('DeadlineSweep', () => {
  it('expires what is due, once, oldest first, and nothing else', (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const clock = new ManualClock();
    const sweep = new DeadlineSweep(clock);
    const expired: string[] = [];
    const add = (name: string, ms: number) => {
      const item = { expiresAt: clock.monotonic() + ms, expire: () => expired.push(name) };
      sweep.add(item);
      return item;
    };
    const pass = (ms: number) => {
      clock.advance(ms);
      t.mock.timers.tick(ms);
    };
    add('a', 1000);
    const b = add('b', 1000);
    pass(400);
    add('c', 1000);
    sweep.delete(b);
    sweep.delete(b);
    pass(400);
    assert.deepEqual(expired, []);
    pass(200);
    assert.deepEqual(expired, ['a']);
    pass(400);
    assert.deepEqual(expired, ['a', 'c']);
    pass(2000);
    // Idle by now: the next one starts the timer again.
    add('d', 200);
    pass(200);
    assert.deepEqual(expired, ['a', 'c', 'd']);
  });
});
