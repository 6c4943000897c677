import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type FamilyResult,
  fromError,
  fromRecords,
  mergeFamilies,
  unanswered,
} from '../../src/upstream/family-results.ts';

const four = (ttl: number, ...addresses: string[]): FamilyResult =>
  fromRecords(
    4,
    addresses.map((address) => ({ address, ttl })),
  );
const six = (ttl: number, ...addresses: string[]): FamilyResult =>
  fromRecords(
    6,
    addresses.map((address) => ({ address, ttl })),
  );
const failed = (code: string): FamilyResult => fromError({ code });

function describeAnswer(a: FamilyResult, aaaa: FamilyResult): string {
  const answer = mergeFamilies(a, aaaa);
  if (typeof answer === 'string') return answer;
  return `${answer.addresses.map((ip) => ip.text).join(' ')} ttl ${answer.ttl}`;
}

describe('mergeFamilies', () => {
  const cases: readonly [title: string, a: FamilyResult, aaaa: FamilyResult, expected: string][] = [
    ['A before AAAA, smallest TTL', four(60, '192.0.2.1'), six(30, '::1'), '192.0.2.1 ::1 ttl 30'],
    ['A alone', four(60, '192.0.2.1'), failed('ENODATA'), '192.0.2.1 ttl 60'],
    ['A, AAAA does not exist', four(60, '192.0.2.1'), failed('ENOTFOUND'), '192.0.2.1 ttl 60'],
    ['AAAA alone', failed('ENODATA'), six(9, '::1'), '::1 ttl 9'],
    ['A, AAAA failed', four(60, '192.0.2.1'), failed('ESERVFAIL'), '192.0.2.1 ttl 5'],
    ['A, AAAA silent', four(2, '192.0.2.1'), unanswered, '192.0.2.1 ttl 2'],
    ['A refused, AAAA there', failed('EREFUSED'), six(60, '::1'), '::1 ttl 5'],
    ['neither exists', failed('ENOTFOUND'), failed('ENOTFOUND'), 'NXDOMAIN'],
    ['exists without addresses', failed('ENODATA'), failed('ENODATA'), 'NODATA'],
    ['contradiction about existence', failed('ENOTFOUND'), failed('ENODATA'), 'NODATA'],
    ['failure outranks emptiness', failed('ENODATA'), failed('ESERVFAIL'), 'SERVFAIL'],
    ['silence outranks emptiness', unanswered, failed('ENODATA'), 'TIMEOUT'],
    ['failure outranks silence', unanswered, failed('EREFUSED'), 'REFUSED'],
    ['both silent', failed('ETIMEOUT'), unanswered, 'TIMEOUT'],
    ['unknown error', failed('EWHATEVER'), failed('ENODATA'), 'FAILED'],
    ['error without code', fromError({}), failed('ENODATA'), 'FAILED'],
    ['bad response', failed('EBADRESP'), failed('EBADRESP'), 'FORMERR'],
    ['no records', four(60), six(60), 'NODATA'],
  ];
  for (const [title, a, aaaa, expected] of cases) {
    it(title, () => assert.equal(describeAnswer(a, aaaa), expected));
  }

  it('leaves no address out, because one alone may refuse the name', () => {
    const many = Array.from({ length: 300 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
    const answer = mergeFamilies(four(60, ...many), six(60, '::1'));
    assert.ok(typeof answer !== 'string');
    assert.deepEqual(
      answer.addresses.map((ip) => ip.text),
      [...many, '::1'],
    );
  });
});

describe('fromRecords', () => {
  it('drops what is not an address of the family', () => {
    const records = ['::1', 'nonsense', '1.2.3', '192.0.2.7', '192.0.2.08'];
    const result = four(60, ...records);
    assert.deepEqual(
      result.addresses.map((ip) => ip.text),
      ['192.0.2.7'],
    );
  });

  it('is a bad response if nothing is left', () => {
    assert.equal(four(60, 'nonsense').rcode, 'FORMERR');
  });

  it('takes a TTL with the top bit set for zero', () => {
    assert.equal(four(0x80000000, '192.0.2.1').ttl, 0);
    assert.equal(four(-1, '192.0.2.1').ttl, 0);
    assert.equal(four(Number.NaN, '192.0.2.1').ttl, 0);
    assert.equal(four(0x7fffffff, '192.0.2.1').ttl, 0x7fffffff);
  });
});
