import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { connectionTable, readRows } from '../../src/cli/connection-table.ts';
import { styles } from '../../src/cli/output.ts';

const plain = styles({ write: () => undefined }, {});
const row = fc.record(
  {
    id: fc.constant('01M82BYGA7PAM8E6V5QCV50000'),
    agent: fc.string({ minLength: 1, maxLength: 63 }),
    kind: fc.constantFrom('tunnel', 'request'),
    host: fc.string({ minLength: 1, maxLength: 253 }),
    port: fc.integer({ min: 1, max: 65535 }),
    entry: fc.string({ maxLength: 80 }),
    token: fc.string({ maxLength: 128 }),
    task: fc.string({ unit: 'binary', maxLength: 128 }),
    bytes_up: fc.nat(),
    bytes_down: fc.maxSafeNat(),
    age: fc.double({ min: 0, max: 1e7, noNaN: true }),
  },
  { requiredKeys: ['id', 'agent', 'kind', 'host', 'port', 'bytes_up', 'bytes_down', 'age'] },
);

test('no line is wider than the terminal, and the id stays whole where it fits', () => {
  fc.assert(
    fc.property(
      fc.array(row, { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 250 }),
      (rows, width) => {
        const lines = connectionTable(rows, width, plain).trimEnd().split('\n');
        assert.equal(lines.length, rows.length + 1);
        for (const line of lines) assert.ok(line.length <= width, `${line.length} > ${width}`);
        if (width >= 28) assert.ok(lines[1]?.startsWith(rows[0]?.id ?? ''));
      },
    ),
  );
});

test('nothing for nothing', () => {
  assert.equal(connectionTable([], 80, plain), '');
});

const ages: [age: number, shown: string][] = [
  [0, '0s'],
  [59.99, '59s'],
  [60, '1m'],
  [3599, '59m'],
  [3600, '1h00m'],
  [86_399, '23h59m'],
  [90_061, '1d01h'],
];
const sizes: [bytes: number, shown: string][] = [
  [0, '0B'],
  [999, '999B'],
  [1000, '1.00KB'],
  [999_499, '999KB'],
  [999_500, '1.00MB'],
  [2_413_000, '2.41MB'],
  [5e17, '500PB'],
];
for (const [index, [age, shownAge]] of ages.entries()) {
  const [bytes, shownBytes] = sizes[index] ?? [0, '0B'];
  test(`${shownAge} and ${shownBytes}`, () => {
    const one = { id: 'i', agent: 'a', kind: 'tunnel', host: 'h', port: 1, bytes_up: bytes };
    const table = connectionTable([{ ...one, bytes_down: 0, age }], Infinity, plain);
    assert.deepEqual(table.split('\n')[1]?.split(/ +/).slice(4, 6), [shownAge, shownBytes]);
  });
}

test('what is no list of connections is none', () => {
  for (const value of [undefined, null, {}, [null], [{}], ['x'], [{ id: 1 }]]) {
    assert.equal(readRows(value), null);
  }
  assert.deepEqual(readRows([]), []);
});
