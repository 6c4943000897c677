import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { serialText } from '../../src/core/x509.ts';
import { SerialSet } from '../../src/tls/serial-set.ts';
import { der } from '../support/certificates.ts';

/** A list in which these numbers stand as INTEGERs, and where. */
function listOf(numbers: readonly bigint[]): { bytes: Buffer; offsets: number[] } {
  const offsets: number[] = [];
  let bytes = Buffer.from('30', 'hex');
  for (const number of numbers) {
    offsets.push(bytes.length + 2);
    bytes = Buffer.concat([bytes, der(0x02, contentOf(number))]);
  }
  return { bytes, offsets };
}

/** Two's complement, as short as it can be. */
function contentOf(number: bigint): Buffer {
  const digits = number.toString(16);
  const even = digits.length % 2 === 0 ? digits : `0${digits}`;
  const content = Buffer.from(even, 'hex');
  return (content[0] as number) >= 0x80 ? Buffer.concat([Buffer.of(0), content]) : content;
}

const small = fc.bigInt({ min: 1n, max: 600n });
const any = fc.bigInt({ min: 1n, max: (1n << 159n) - 1n });

describe('a set of serial numbers', () => {
  test('has exactly what was put into it', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(small, any), { maxLength: 60 }), any, (numbers, other) => {
        const { bytes, offsets } = listOf(numbers);
        const set = new SerialSet(bytes, offsets);
        for (const number of numbers) assert.ok(set.has(serialText(contentOf(number))));
        for (const number of [other, 601n]) {
          assert.equal(set.has(serialText(contentOf(number))), numbers.includes(number));
        }
      }),
    );
  });

  test('without any has none', () => {
    const set = new SerialSet(Buffer.alloc(0), []);
    assert.deepEqual(
      [set.size, set.has('01'), set.has('00'), set.has('')],
      [0, false, false, false],
    );
  });
});
