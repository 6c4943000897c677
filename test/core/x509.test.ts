import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DerError, DerReader } from '../../src/core/der.ts';
import { readCertificate, readTime, serialText } from '../../src/core/x509.ts';
import { subject, zooCertificate, zooEnd, zooStart } from '../support/certificate-zoo.ts';
import { der, nameOf } from '../support/certificates.ts';

const timeOf = (tag: number, text: string) => readTime(new DerReader(der(tag, Buffer.from(text))));

describe('a time', () => {
  const good: readonly [number, string, number][] = [
    [0x17, '491231235959Z', Date.UTC(2049, 11, 31, 23, 59, 59)],
    [0x17, '500101000000Z', Date.UTC(1950, 0)],
    [0x17, '000229000000Z', Date.UTC(2000, 1, 29)],
    [0x18, '20500101000000Z', Date.UTC(2050, 0)],
    [0x18, '99991231235959Z', Date.UTC(9999, 11, 31, 23, 59, 59)],
  ];
  for (const [tag, text, expected] of good) {
    test(text, () => assert.equal(timeOf(tag, text), expected));
  }

  const bad: readonly [number, string][] = [
    [0x17, '20260101000000Z'],
    [0x17, '2601010000Z'],
    [0x17, '260101000000'],
    [0x17, '260101000000+0100'],
    [0x17, '261301000000Z'],
    [0x17, '260001000000Z'],
    [0x17, '260230000000Z'],
    [0x17, '270229000000Z'],
    [0x17, '260101240000Z'],
    [0x17, '260101006000Z'],
    [0x17, '260101000060Z'],
    [0x17, ' 60101000000Z'],
    [0x18, '260101000000Z'],
    [0x18, '20260101000000.0Z'],
    [0x18, '2026010100Z'],
    [0x18, ''],
    [0x16, '260101000000Z'],
  ];
  for (const [tag, text] of bad) {
    test(`${tag.toString(16)} ${text} is none`, () =>
      assert.throws(() => timeOf(tag, text), DerError));
  }

  test('is every second of 1950 to 2049', () => {
    fc.assert(
      fc.property(fc.integer({ min: -631_152_000, max: 2_524_607_999 }), (seconds) => {
        const digits = new Date(seconds * 1000).toISOString().replaceAll(/[-:T]|\.000/gu, '');
        assert.equal(timeOf(0x17, digits.slice(2)), seconds * 1000);
        assert.equal(timeOf(0x18, digits), seconds * 1000);
      }),
    );
  });
});

test('a serial number is its digits', () => {
  for (const [digits, text] of [
    ['00', '00'],
    ['0f', '0f'],
    ['00ff', 'ff'],
    ['0100', '0100'],
    ['000001', '01'],
  ] as const) {
    assert.equal(serialText(Buffer.from(digits, 'hex')), text);
  }
});

test('a certificate has its names byte for byte', () => {
  const name = subject(['O', 'Example'], ['CN', 'demo']);
  const read = readCertificate(zooCertificate({ subject: name }));
  assert.deepEqual(read.subject, name);
  assert.deepEqual(read.issuer, nameOf('Zoo'));
  assert.deepEqual([read.notBefore, read.notAfter], [zooStart, zooEnd]);
  assert.deepEqual([...read.extensions.keys()], ['2.5.29.19', '2.5.29.15', '2.5.29.37']);
  assert.equal(read.extensions.get('2.5.29.15')?.critical, true);
  assert.equal(read.extensions.get('2.5.29.37')?.critical, false);
});
