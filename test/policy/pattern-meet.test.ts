import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '../../src/core/ip.ts';
import { covers, meet } from '../../src/policy/pattern-meet.ts';
import { pattern } from '../support/policy-specs.ts';

describe('covers', () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['a.com', 'a.com', true],
    ['a.com', 'b.a.com', false],
    ['a.com', 'xa.com', false],
    ['*.a.com', 'a.com', false],
    ['*.a.com', 'c.b.a.com', true],
    ['*.a.com', 'xa.com', false],
    ['.a.com', 'a.com', true],
    ['.a.com', 'b.a.com', true],
    ['x.*.a.com', 'x.b.a.com', true],
    ['x.*.a.com', 'x.a.com', false],
    ['x.*.a.com', 'x.b.c.a.com', false],
    ['*', 'a.com', true],
    ['*', '10.0.0.1', false],
    ['10.0.0.0/8', '10.0.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/8', 'a.com', false],
    ['::/0', '2001:db8::1', true],
    ['::/0', '10.0.0.1', false],
  ];
  for (const [text, host, expected] of cases) {
    it(`${text} ${expected ? 'covers' : 'does not cover'} ${host}`, () => {
      assert.equal(covers(pattern(text), host, parseIp(host)), expected);
    });
  }
});

describe('meet', () => {
  const cases: readonly (readonly [string, string, string | null])[] = [
    ['a.com', 'a.com', 'a.com'],
    ['a.com', 'b.com', null],
    ['*.a.com', 'a.com', null],
    ['.a.com', 'a.com', 'a.com'],
    ['.a.com', '*.a.com', '*.a.com'],
    ['*.com', '*.b.com', '*.b.com'],
    ['*.com', '.b.com', '.b.com'],
    ['x.*.a.com', '*.b.a.com', 'x.b.a.com'],
    ['*', '*.a.com', '*.a.com'],
    ['*', '10.0.0.0/8', null],
    ['10.0.0.0/8', '10.1.0.0/16', '10.1.0.0/16'],
    ['10.0.0.0/8', '11.0.0.0/8', null],
    ['::/0', '0.0.0.0/0', null],
    ['*.10.com', '10.0.0.1', null],
  ];
  for (const [a, b, expected] of cases) {
    it(`${a} and ${b}: ${expected}`, () => {
      assert.equal(meet(pattern(a), pattern(b))?.text ?? null, expected);
      assert.equal(meet(pattern(b), pattern(a))?.text ?? null, expected);
    });
  }

  it('covers exactly what both cover', () => {
    const label = fc.constantFrom('a', 'b');
    const dotted = (item: fc.Arbitrary<string>, minLength: number, maxLength: number) =>
      fc.array(item, { minLength, maxLength }).map((labels) => labels.join('.'));
    const name = fc
      .tuple(fc.constantFrom('', '*.', '.'), dotted(label, 1, 2), fc.constantFrom('', '.*', '.a'))
      .map(([lead, head, middle]) => `${lead}${head}${middle}.b.a`);
    const either = fc.oneof(name, fc.constantFrom('*', '.a', '*.a', '*.b.a', 'a.*.b.a'));
    const met = { yes: 0, no: 0 };
    fc.assert(
      fc.property(either, either, dotted(label, 1, 6), (a, b, host) => {
        const both = meet(pattern(a), pattern(b));
        const expected = [a, b].every((text) => covers(pattern(text), host, null));
        assert.equal(both !== null && covers(both, host, null), expected);
        met[expected ? 'yes' : 'no']++;
      }),
      { numRuns: 5000 },
    );
    assert.ok(met.yes > 50 && met.no > 50, JSON.stringify(met));
  });
});
