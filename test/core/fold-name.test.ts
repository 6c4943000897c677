import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { foldName } from '../../src/core/fold-name.ts';

describe('a name folds', () => {
  const cases: readonly [name: string, folded: string][] = [
    ['method', 'method'],
    ['inputSchema', 'inputschema'],
    ['tools/call', 'toolscall'],
    ['param\u017f', 'params'],
    ['\u212aey', 'key'],
    ['\u0131d', 'id'],
    ['\u0130D', 'id'],
    ['i\u0307d', 'id'],
    ['ｎａｍｅ', 'name'],
    ['n\u00e4me', 'name'],
    [' na\u200bme\0', 'name'],
    ['𝐧𝐚𝐦𝐞', 'name'],
    ['ⓝame', 'name'],
    ['名前', '名前'],
    ['$', '$'],
    ['', ''],
    ['Name'.padEnd(65), 'Name'.padEnd(65)],
    ['Name'.padEnd(64), 'name'],
    ['\ufdfa'.repeat(4), '\ufdfa'.repeat(4)],
  ];
  for (const [name, folded] of cases) {
    test(JSON.stringify(name), () => assert.equal(foldName(name), folded));
  }

  test('whatever stands between its letters, and in any case', () => {
    const noise = fc.constantFrom('', '', '\u200b', '-', '\u0301', ' ', '\0');
    const letter = fc.tuple(fc.constantFrom(...'abcmnopstxyz0189'), fc.boolean(), noise);
    fc.assert(
      fc.property(fc.array(letter, { minLength: 1, maxLength: 16 }), (letters) => {
        const name = letters.map(([one, upper, sign]) => (upper ? one.toUpperCase() : one) + sign);
        assert.equal(foldName(name.join('')), letters.map(([one]) => one).join(''));
      }),
    );
  });
});
