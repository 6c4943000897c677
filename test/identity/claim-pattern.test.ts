import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { claimFits, matchesClaimPattern } from '../../src/identity/claim-pattern.ts';

describe('a pattern', () => {
  const cases: readonly [pattern: string, text: string, fits: boolean][] = [
    ['repo:example/app:ref:refs/heads/main', 'repo:example/app:ref:refs/heads/main', true],
    ['repo:example/app:ref:refs/heads/main', 'repo:example/app:ref:refs/heads/main2', false],
    ['repo:example/app:ref:refs/heads/main', 'Repo:example/app:ref:refs/heads/main', false],
    ['repo:example/*:ref:refs/heads/main', 'repo:example/app:ref:refs/heads/main', true],
    ['repo:example/*:ref:refs/heads/main', 'repo:example/:ref:refs/heads/main', true],
    [
      'repo:example/*:ref:refs/heads/main',
      'repo:example/x:environment:a:ref:refs/heads/main',
      false,
    ],
    ['repo:example/*:ref:refs/heads/main', 'repo:example/x/y:ref:refs/heads/main', false],
    ['repo:example/app:ref:refs/heads/*', 'repo:example/app:ref:refs/heads/a/b', false],
    ['repo:example/app:ref:refs/heads/**', 'repo:example/app:ref:refs/heads/a/b', true],
    ['repo:example/app:*', 'repo:example/app:pull_request', true],
    ['repo:example/app:*', 'repo:example/app:ref:refs/heads/main', false],
    ['repo:example/app:**', 'repo:example/app:ref:refs/heads/main', true],
    ['**:ref:refs/heads/main', 'a:ref:refs/heads/main:ref:refs/heads/main', true],
    ['a*c', 'abbc', true],
    ['a*c', 'ac', true],
    ['a*c', 'a:c', false],
    ['a**c', 'a:/c', true],
    ['a*b*c', 'aXbXbXc', true],
    ['a*b**c*', 'a1b:/:c', true],
    ['a*b**c*', 'a1b:/:c/', false],
    ['*b', 'b', true],
    ['*b', '', false],
    ['.+', 'xx', false],
    ['[a-z]*', 'abc', false],
    ['a\\*', 'a*', false],
    ['ü*', 'über', true],
    ['a*', 'a\u{1f600}', true],
    ['x*', 'x\n', true],
  ];
  for (const [pattern, text, fits] of cases) {
    test(`${pattern} ${fits ? 'fits' : 'does not fit'} ${JSON.stringify(text)}`, () => {
      assert.equal(matchesClaimPattern(pattern, text), fits);
      // Nothing is remembered from one time to the next.
      assert.equal(matchesClaimPattern(pattern, text), fits);
    });
  }

  test('says what a regular expression says', () => {
    const letters = fc.constantFrom('a', 'b', ':', '/', '*', '**', '.');
    const text = fc.array(fc.constantFrom('a', 'b', ':', '/', '.'), { maxLength: 12 });
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 8 }), text, (parts, characters) => {
        const pattern = parts.join('');
        fc.pre(!pattern.includes('***'));
        const source = pattern.replace(/\*\*|[*./]/g, (part) =>
          part === '**' ? '.*' : part === '*' ? '[^:/]*' : `\\${part}`,
        );
        const expected = new RegExp(`^(?:${source})$`, 's').test(characters.join(''));
        assert.equal(matchesClaimPattern(pattern, characters.join('')), expected);
      }),
      { numRuns: 2000 },
    );
  });

  test('stars by the dozen take no time to speak of', { timeout: 5000 }, () => {
    const pattern = `${'a**'.repeat(8)}b`;
    assert.equal(matchesClaimPattern(pattern, 'a'.repeat(8000)), false);
  });
});

describe('a claim', () => {
  const cases: readonly [pattern: string, claim: unknown, fits: boolean][] = [
    ['a', 'a', true],
    ['a', ['b', 'a'], true],
    ['a*', ['b', 'ab'], true],
    ['a', ['b', ['a']], false],
    ['a', [], false],
    ['a,b', ['a', 'b'], false],
    ['1', 1, false],
    ['1', [1], false],
    ['true', true, false],
    ['**', null, false],
    ['**', undefined, false],
    ['**', { a: 'a' }, false],
    ['[object Object]', {}, false],
  ];
  for (const [pattern, claim, fits] of cases) {
    test(`${pattern} ${fits ? 'fits' : 'does not fit'} ${JSON.stringify(claim)}`, () => {
      assert.equal(claimFits(pattern, claim), fits);
    });
  }
});
