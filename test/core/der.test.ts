import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  DerError,
  DerReader,
  enterWhole,
  readBoolean,
  readObjectId,
  readWhole,
  tags,
} from '../../src/core/der.ts';
import { der } from '../support/certificates.ts';

const hex = (digits: string) => Buffer.from(digits.replaceAll(' ', ''), 'hex');
const problem = (message: RegExp) => (error: unknown) =>
  error instanceof DerError && message.test(error.message);

describe('elements', () => {
  test('are read in their order, to the end', () => {
    const reader = enterWhole(hex('30 08 02 01 05 0c 01 61 31 00'), tags.sequence);
    assert.equal(reader.peek(), tags.integer);
    assert.equal(reader.readOptional(tags.boolean), null);
    assert.deepEqual(reader.readOptional(tags.integer), Buffer.of(5));
    assert.equal(reader.read(tags.utf8String).toString(), 'a');
    assert.deepEqual([reader.contentStart, reader.contentEnd], [7, 8]);
    assert.deepEqual(reader.readElement(tags.set), hex('3100'));
    assert.deepEqual([reader.atEnd, reader.peek()], [true, -1]);
    reader.finish();
    assert.throws(() => reader.skip(tags.set), problem(/tag 31 belongs where the end is/));
  });

  test('of every length', () => {
    for (const length of [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000]) {
      const content = Buffer.alloc(length, 7);
      assert.deepEqual(readWhole(der(tags.octetString, content), tags.octetString), content);
    }
  });

  const bad: readonly [string, string, RegExp][] = [
    ['nothing', '', /04 belongs where the end is/],
    ['another tag', '05 00', /04 belongs where tag 05/],
    ['no length', '04', /within its head/],
    ['a length cut short', '04 82 01', /within its head/],
    ['too little content', '04 02 00', /longer than its place/],
    ['too much', '04 00 00', /behind the last/],
    ['an indefinite length', '04 80 00 00', /not DER/],
    ['a length of five bytes', '04 85 00 00 00 00 01 00', /not DER/],
    ['a length of 4 GiB', '04 84 ff ff ff ff 00', /longer than its place/],
    ['a long form of a short length', '04 81 01 00', /shortest/],
    ['a leading zero', '04 82 00 80', /shortest/],
    ['a length of zero in the long form', '04 81 00', /shortest/],
  ];
  for (const [what, digits, message] of bad) {
    test(`are refused: ${what}`, () => {
      assert.throws(() => readWhole(hex(digits), tags.octetString), problem(message));
    });
  }

  test('do not reach beyond what surrounds them', () => {
    const inner = enterWhole(hex('30 03 04 02 00'), tags.sequence);
    assert.throws(() => inner.read(tags.octetString), problem(/longer than its place/));
    const beside = new DerReader(hex('30 02 04 01 00 00'));
    const short = beside.enter(tags.sequence);
    assert.throws(() => short.read(tags.octetString), problem(/longer than its place/));
  });

  test('of any bytes are read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        const reader = new DerReader(Buffer.from(bytes));
        try {
          while (!reader.atEnd) {
            const before = reader.contentEnd;
            const whole = reader.readElement(reader.peek());
            assert.equal(reader.contentEnd, before + whole.length);
            assert.ok(whole.length >= 2);
          }
        } catch (error) {
          assert.ok(error instanceof DerError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('object identifiers', () => {
  const cases: readonly [string, string][] = [
    ['06 03 55 04 03', '2.5.4.3'],
    ['06 01 00', '0.0'],
    ['06 01 27', '0.39'],
    ['06 01 28', '1.0'],
    ['06 01 4f', '1.39'],
    ['06 01 50', '2.0'],
    ['06 02 88 37', '2.999'],
    ['06 0a 09 92 26 89 93 f2 2c 64 01 01', '0.9.2342.19200300.100.1.1'],
    ['06 09 2a 86 48 86 f7 0d 01 01 0b', '1.2.840.113549.1.1.11'],
    ['06 14 69 83 fe f3 d9 aa b5 d5 fa d5 aa d5 aa d5 aa d5 aa d5 aa 7f', ''],
  ];
  for (const [digits, text] of cases) {
    test(text || 'of 128 bits', () => {
      const read = readObjectId(new DerReader(hex(digits)));
      if (text === '') assert.match(read, /^2\.25\.\d{30,}$/);
      else assert.equal(read, text);
    });
  }
  for (const digits of ['06 00', '06 01 80', '06 02 80 01', '06 03 55 80 01', '06 02 55 84']) {
    test(`${digits} is none`, () => {
      assert.throws(() => readObjectId(new DerReader(hex(digits))), problem(/object identifier/));
    });
  }
  test('of 65 bytes is none', () => {
    const long = der(tags.oid, Buffer.alloc(65, 1));
    assert.throws(() => readObjectId(new DerReader(long)), problem(/object identifier/));
  });
});

test('truth values', () => {
  assert.equal(readBoolean(new DerReader(hex('01 01 ff'))), true);
  assert.equal(readBoolean(new DerReader(hex('01 01 00'))), false);
  for (const digits of ['01 01 01', '01 00', '01 02 ff ff']) {
    assert.throws(() => readBoolean(new DerReader(hex(digits))), problem(/truth value/));
  }
});
