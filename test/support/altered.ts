import assert from 'node:assert/strict';
import fc from 'fast-check';

/** Fails if any character of a good text can be another, be missing, or have one behind it. */
export function assertEveryCharacterCounts(
  good: string,
  verify: (text: string) => object | null,
): void {
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.string({ maxLength: 2 }), (at, insert) => {
      const other = good.slice(0, at) + insert + good.slice(at + 1);
      fc.pre(other !== good);
      assert.equal(verify(other), null);
    }),
    { numRuns: 1000 },
  );
}
