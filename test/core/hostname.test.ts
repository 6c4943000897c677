import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { canonicalHostname, endsInNumber } from '../../src/core/hostname.ts';

/** The contract's rules once more, label by label and without a thought for speed. */
function oracle(text: string): string | null {
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  if (!/^[A-Za-z0-9._-]{1,253}$/.test(name)) return null;
  const labels = name.replace(/[A-Z]/g, (letter) => letter.toLowerCase()).split('.');
  const good = labels.every((label) => /^(?!-).{1,63}$/.test(label) && !label.endsWith('-'));
  if (!good || /^(?:[0-9]+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '')) return null;
  return labels.join('.');
}

const hostText = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'axnAXN019.-_f'), maxLength: 16 }),
  fc
    .array(fc.constantFrom('xn--', 'xn--a', 'a', '0x', '1', '-', '.', '_', 'A'), { maxLength: 8 })
    .map((parts) => parts.join('')),
  fc
    .array(fc.nat(70), { maxLength: 6 })
    .map((sizes) => sizes.map((size) => 'a'.repeat(size)).join('.')),
  fc.domain(),
  fc.string({ unit: 'binary' }),
);

describe('canonicalHostname', () => {
  it('agrees with the rules written out label by label', () => {
    fc.assert(
      fc.property(hostText, (text) => assert.equal(canonicalHostname(text), oracle(text))),
      { numRuns: 20_000 },
    );
  });

  it('leaves what is canonical as it is', () => {
    fc.assert(
      fc.property(hostText, (text) => {
        const name = canonicalHostname(text);
        if (name !== null) assert.equal(canonicalHostname(name), name);
      }),
    );
  });

  it('folds ASCII only: letters that other foldings map to ASCII are refused', () => {
    for (let code = 0x80; code <= 0xffff; code++) {
      const letter = String.fromCharCode(code);
      assert.equal(canonicalHostname(`a${letter}b.test`), null, `U+${code.toString(16)}`);
    }
  });

  it('drops one trailing dot and no more', () => {
    assert.equal(canonicalHostname('good.test.'), 'good.test');
    assert.equal(canonicalHostname('good.test..'), null);
    assert.equal(canonicalHostname('.'), null);
    assert.equal(canonicalHostname(''), null);
  });
});

describe('endsInNumber', () => {
  const cases: [text: string, number: boolean][] = [
    ['127.0.0.1', true],
    ['127.0.0.1.', true],
    ['a.0x1F', true],
    ['0X', true],
    ['a.09', true],
    ['a.0x1g', false],
    ['1.a', false],
    ['a.1a', false],
    ['a', false],
    ['', false],
    ['.', false],
    ['1..', false],
  ];
  for (const [text, number] of cases) {
    it(`${JSON.stringify(text)}: ${number}`, () => assert.equal(endsInNumber(text), number));
  }
});
