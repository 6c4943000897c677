import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseDuration, parseSize, parseTime } from '../../src/config/units.ts';

type Parse = typeof parseSize;

/** The value, or the hint of the complaint. */
function outcome(parse: Parse, text: string): number | string {
  const result = parse(text);
  return 'value' in result ? result.value : result.hint;
}

describe('sizes', () => {
  const rows: readonly [string, number | string][] = [
    ['1B', 1],
    ['50MB', 50_000_000],
    ['64KiB', 65_536],
    ['1KB', 1000],
    ['2GiB', 2 ** 31],
    ['1TB', 1e12],
    ['50', 'Write `50B`; KB is 1000 bytes, KiB is 1024.'],
    ['50mb', 'Write `50MB`; KB is 1000 bytes, KiB is 1024.'],
    ['50kib', 'Write `50KiB`; KB is 1000 bytes, KiB is 1024.'],
    ['0MB', 'Write a size from 1B to 9000TB.'],
    ['999999999999TB', 'Write a size from 1B to 9000TB.'],
  ];
  for (const [text, expected] of rows) {
    test(text, () => assert.equal(outcome(parseSize, text), expected));
  }
  for (const text of [
    '',
    'MB',
    '-1MB',
    '+1MB',
    '1.5MB',
    '1 MB',
    '050MB',
    '1e3B',
    '1MBs',
    '1MB ',
    '１MB',
  ]) {
    test(`${JSON.stringify(text)} is no size`, () => {
      assert.match(String(outcome(parseSize, text)), /^Write a whole number and a unit/u);
    });
  }
});

describe('durations', () => {
  const rows: readonly [string, number | string][] = [
    ['500ms', 500],
    ['10s', 10_000],
    ['15m', 900_000],
    ['8h', 28_800_000],
    ['24d', 2_073_600_000],
    ['10', 'Write a unit: 10s, 10m, 10h …'],
    ['0s', 'Write a duration from 1ms to 24d.'],
    ['25d', 'Write a duration from 1ms to 24d.'],
    ['10S', 'Write a whole number and a unit: 500ms, 10s, 15m, 8h, 7d.'],
    ['1h30m', 'Write a whole number and a unit: 500ms, 10s, 15m, 8h, 7d.'],
    ['-1s', 'Write a whole number and a unit: 500ms, 10s, 15m, 8h, 7d.'],
  ];
  for (const [text, expected] of rows) {
    test(text, () => assert.equal(outcome(parseDuration, text), expected));
  }
});

describe('times', () => {
  const noon = Date.UTC(2026, 11, 31, 12);
  const rows: readonly [string, number][] = [
    ['2026-12-31T12:00:00Z', noon],
    ['2026-12-31T12:00:00+00:00', noon],
    ['2026-12-31T14:30:00+02:30', noon],
    ['2026-12-31T04:00:00-08:00', noon],
    ['2026-12-31T12:00:00.5Z', noon + 500],
    ['2026-12-31T12:00:00.57Z', noon + 570],
    ['2026-12-31T12:00:00.999999999Z', noon + 999],
    ['2028-02-29T12:00:00Z', Date.UTC(2028, 1, 29, 12)],
  ];
  for (const [text, expected] of rows) {
    test(text, () => assert.equal(outcome(parseTime, text), expected));
  }
  const refused = [
    '2026-12-31',
    '2026-12-31T12:00:00',
    '2026-12-31T12:00Z',
    '2026-12-31 12:00:00Z',
    '2026-12-31t12:00:00z',
    '2026-02-29T12:00:00Z',
    '2026-13-01T12:00:00Z',
    '2026-12-31T24:00:00Z',
    '2026-12-31T23:59:60Z',
    '2026-12-31T12:00:00+24:00',
    '2026-12-31T12:00:00+01:60',
    '2026-12-31T12:00:00+0100',
    '0050-01-01T00:00:00Z',
    '1767225600',
    'tomorrow',
    '',
    '2026-12-31T12:00:00Z ',
    '2026-12-31T12:00:00.Z',
  ];
  for (const text of refused) {
    test(`${JSON.stringify(text)} is refused`, () => {
      const result = parseTime(text);
      assert.ok(!('value' in result));
      assert.equal(result.code, 'bad-time');
    });
  }

  test('every time that JavaScript writes is read back', () => {
    const time = fc.date({
      min: new Date('1970-01-01'),
      max: new Date('9999-12-31'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(time, (date) =>
        assert.equal(outcome(parseTime, date.toISOString()), date.getTime()),
      ),
    );
  });
});
