import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { didYouMean, nearestSpelling } from '../../src/config/spelling.ts';

const keys = [
  'owner',
  'purpose',
  'credentials',
  'allow',
  'deny',
  'mode',
  'limits',
  'sources-alone',
];

describe('the nearest spelling', () => {
  const rows: readonly [string, string | null][] = [
    ['alow', 'allow'],
    ['allwo', 'allow'],
    ['allow_domain', 'allow'],
    ['Owner', 'owner'],
    ['sources_alone', 'sources-alone'],
    ['limit', 'limits'],
    ['credential', 'credentials'],
    ['dney', 'deny'],
    ['zzz', null],
    ['', null],
    ['a'.repeat(1000), null],
    ['constructor', null],
  ];
  for (const [word, expected] of rows) {
    test(JSON.stringify(word.slice(0, 20)), () =>
      assert.equal(nearestSpelling(word, keys), expected),
    );
  }

  test('is the word itself if it is there, and always one of the candidates', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ maxLength: 12 })),
        fc.string({ maxLength: 12 }),
        (words, word) => {
          const found = nearestSpelling(word, words);
          assert.ok(found === null || words.includes(found));
          if (words.includes(word))
            assert.equal(
              found?.toLowerCase().replaceAll('_', '-'),
              word.toLowerCase().replaceAll('_', '-'),
            );
        },
      ),
    );
  });

  test('as the end of a message', () => {
    assert.equal(didYouMean('alow', keys), '; did you mean `allow`?');
    assert.equal(didYouMean('zzz', keys), '');
  });
});
