import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createIdSource, newId, ulidTime } from '../../src/core/ulid.ts';

const module = new URL('../../src/core/ulid.ts', import.meta.url).href;

describe('newId', () => {
  it('is a ULID with the given time in front', () => {
    // The time of the example in the ULID specification.
    assert.match(newId(1_469_918_176_385), /^01ARYZ6S41[0-9A-HJKMNP-TV-Z]{16}$/);
  });

  it('differs between threads that start with the same time', async () => {
    const code = `import(${JSON.stringify(module)}).then(({ newId }) =>
      require('node:worker_threads').parentPort.postMessage(newId(1)))`;
    const idOf = () =>
      new Promise<string>((resolve, reject) => {
        new Worker(code, { eval: true }).once('message', resolve).once('error', reject);
      });
    const ids = await Promise.all([idOf(), idOf()]);
    assert.notEqual(ids[0], ids[1]);
    assert.equal(ids[0]?.slice(0, 10), ids[1]?.slice(0, 10));
  });
});

describe('ulidTime', () => {
  it('is the time with which an id was made', () => {
    for (const time of [0, 1, 1_469_918_176_385, 2 ** 48 - 1]) {
      assert.equal(ulidTime(createIdSource(new Uint8Array(12))(time)), time);
    }
    assert.equal(ulidTime('01ARZ3NDEKTSV4RRFFQ69G5FAV'), 1_469_922_850_259);
  });
});

describe('createIdSource', () => {
  const source = () => createIdSource(new Uint8Array(12).fill(31));

  it('counts within a millisecond and begins anew in the next', () => {
    const next = source();
    assert.equal(next(32), '0000000010ZZZZZZZZZZZZ0000');
    assert.equal(next(32), '0000000010ZZZZZZZZZZZZ0001');
    assert.equal(next(33), '0000000011ZZZZZZZZZZZZ0000');
  });

  it('rises strictly whatever the clock does', () => {
    const next = source();
    const ids = [5, 5, 5.5, 4, -1, Number.NaN, 5, 6, 6.2, 1e12, 3, 1e12].map(next);
    assert.deepEqual(ids, ids.toSorted());
    assert.equal(new Set(ids).size, ids.length);
    for (const id of ids) assert.match(id, /^[0-9A-HJKMNP-TV-Z]{26}$/);
  });

  it('takes whole milliseconds of a finer clock', () => {
    const next = source();
    assert.equal(next(5.9).slice(0, 10), '0000000005');
    assert.equal(next(6.2).slice(0, 10), '0000000006');
  });

  it('borrows the next millisecond when 2^20 ids of one are used up', () => {
    const next = source();
    let last = '';
    for (let i = 0; i < 2 ** 20; i++) last = next(7);
    assert.equal(last, '0000000007ZZZZZZZZZZZZZZZZ');
    assert.equal(next(7), '0000000008ZZZZZZZZZZZZ0000');
    assert.equal(next(8), '0000000008ZZZZZZZZZZZZ0001');
    assert.equal(next(9), '0000000009ZZZZZZZZZZZZ0000');
  });
});
