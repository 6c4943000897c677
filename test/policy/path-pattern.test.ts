import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { matchesPath, parsePathPattern, plainPath } from '../../src/policy/path-pattern.ts';

function covers(pattern: string, target: string): boolean {
  const parsed = parsePathPattern(pattern);
  assert.ok(!('message' in parsed), pattern);
  const path = plainPath(target);
  return path !== null && matchesPath(parsed, path);
}

const matching: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['/', ['/', '/?a=b'], ['/a']],
  ['/a', ['/a', '/a?x=../..'], ['/', '/a/', '/A', '/ab', '/%61', '/a/b']],
  ['/a/**', ['/a/', '/a/b', '/a/b/', '/a/b/c'], ['/a', '/', '/ab', '/b/a/', '/A/b']],
  ['/**', ['/', '/a', '/a/b/c'], []],
  ['/*', ['/a', '/ab'], ['/', '/a/', '/a/b']],
  ['/a/*', ['/a/b'], ['/a/', '/a', '/a/b/c', '/a/b/']],
  ['/a/*/', ['/a/b/'], ['/a/b', '/a/']],
  ['/a*c', ['/ac', '/abc', '/acc'], ['/a', '/abcd', '/a/c']],
  ['/*.tgz', ['/x.tgz', '/.tgz'], ['/x.tgzz', '/x.tg']],
  ['/a*b*c', ['/abc', '/axbxc', '/abbcc'], ['/acb', '/ac']],
  ['/ab*ba', ['/abba', '/abxba'], ['/aba']],
  ['/**/c', ['/c', '/b/c', '/c/c', '/a/b/c'], ['/c/', '/', '/xc']],
  ['/a/**/c', ['/a/c', '/a/b/c', '/a/b/b/c', '/a/c/c'], ['/a', '/c', '/a/c/', '/a/cc']],
  ['/a/**/b/**/c', ['/a/b/c', '/a/x/b/x/c', '/a/b/b/c'], ['/a/c', '/a/c/b']],
  ['/**/a/b/**', ['/a/b/', '/x/a/b/c', '/a/a/b/c'], ['/a/b', '/a/x/b/c']],
  ['/a%20b', ['/a%20b'], ['/a b', '/a+b']],
  ['/@scope/pkg:x~1,2=3', ['/@scope/pkg:x~1,2=3'], ['/@scope/pkg']],
];

/** An encoded slash is matched where the pattern has one, in that spelling, and by no star. */
const encodedSlashes: typeof matching = [
  [
    '/@*%2f*',
    ['/@scope%2fname', '/@a%2fb', '/@a%2fb%20c', '/@%2fb'],
    [
      '/@scope/name',
      '/@scope%2Fname',
      '/@scope%252fname',
      '/@scope%2f',
      '/@scope%2f%2fname',
      '/@scope%2fname%2f',
      '/@scope%2fa%2fb',
      '/@a%2Fb%2fc',
      '/@scope%2f..',
      '/@scope%2f.',
      '/@scope%2f%2e%2e',
      '/@scope%2f..%20',
      '/@scope%2f..%2f..%2fx',
      '/@scope%2f/name',
      '/@scope/%2fname',
      '/@scope%2fname/x',
      '/@scope%2fname;x',
      '/@scope%2fna%5cme',
      '/@scope%2f%ef%bc%8fname',
      '/@scope%ef%bc%8fname',
      '/@scope%2',
      '/scope%2fname',
    ],
  ],
  ['/@*%2F*', ['/@scope%2Fname'], ['/@scope%2fname', '/@scope/name', '/@a%2fb%2Fc']],
  ['/*', ['/@scope'], ['/a%2fb', '/%2f', '/%2fa', '/a%2f', '/%2F']],
  ['/**', ['/a/b'], ['/a%2fb', '/a/b%2fc', '/a%2Fb/c', '/a/..%2fb']],
  ['/a%2fb/**', ['/a%2fb/c', '/a%2fb/'], ['/a/b/c', '/a%2fb/c%2fd', '/a%2fb', '/a%2fb/%2fc']],
  ['/**/a%2fb', ['/a%2fb', '/x/a%2fb'], ['/x%2fy/a%2fb', '/x%2fa%2fb', '/a/b']],
  ['/**/*/a%2f*/c', ['/x/a%2fb/c', '/x/y/a%2fb/c'], ['/x%2fy/a%2fb/c', '/x%2fy/a/c']],
  ['/*%2f*%2F*', ['/a%2fb%2Fc'], ['/a%2Fb%2fc', '/a%2fb%2fc', '/a%2fb%2fc%2Fd', '/a%2fb']],
  ['/a%2fb*', ['/a%2fb', '/a%2fbc'], ['/a%2fb%2fc', '/a%2fb/c', '/a/b']],
];

/** Attack cases E49–E58: what servers may read in more than one way matches nothing. */
const ambiguous = [
  '/public/../secret',
  '/public/./secret',
  '/public/..',
  '/public/%2e%2e/secret',
  '/public/.%2e/secret',
  '/public/%2E./secret',
  '/public/..%20/secret',
  '/public/.../secret',
  '/public/..;/secret',
  '/public;x=1/secret',
  '/public/;/secret',
  '/public%3bx=1/secret',
  '/public//secret',
  '//public/secret',
  '/public/%2fsecret',
  '/public/%2Fsecret',
  '/public/%5csecret',
  '/public/\\secret',
  '/public/%252e%252e/secret',
  '/public/%25252e/secret',
  '/public/%25%32%65/secret',
  '/public/%252fsecret',
  '/public/%u002e/secret',
  '/public/%25u002e/secret',
  '/public/%00',
  '/public/%0d%0aX:%20y',
  '/public/%0a',
  '/public/%7f',
  '/public/%c2%85',
  '/public/%c0%ae%c0%ae/secret',
  '/public/%e0%80%af',
  '/public/%ed%a0%80',
  '/public/%ff',
  '/public/%ef%bc%8fsecret',
  '/public/%ef%bc%8e%ef%bc%8e/secret',
  '/public/%e2%84%80',
  '/public/%2',
  '/public/%',
  '/public/%zz',
  '/public/#/../secret',
  '/public/%23',
  '/public/%3f',
  '/public/a b',
  '/public/\u00e9',
  '/public/\t',
  '/public/"',
  'public/x',
  '*',
  '',
  'http://example.com/public/x',
];

const plain = [
  '/',
  '/a',
  '/a/',
  '/a.b/.c/..d/e..',
  '/%61',
  '/a%20',
  '/%C3%A9',
  '/100%25',
  '/@scope%2fname',
  '/a%2Fb/c%2fd',
  "/!$&'()*+,=:@-_~",
];

const wrong: readonly (readonly [string, string | undefined])[] = [
  ['', '/'],
  ['a/b', '/a/b'],
  ['**', '/**'],
  ['/a//b', '/a/b'],
  ['/a/../b', undefined],
  ['/a/%2e%2e/b', undefined],
  ['/a;b', undefined],
  ['/a?x=1', '/a'],
  ['/a#b', '/a'],
  ['/a**', '/a*'],
  ['/**a/b', '/*a/b'],
  ['/a/***', '/a/*'],
  ['/a/**/**/b', '/a/**/b'],
  ['/a b', undefined],
  ['/\u00e9', undefined],
  ['/%zz', undefined],
  ['/%2*', undefined],
  ['/a%*2fb', undefined],
  ['/%2fa', undefined],
  ['/a%2f', undefined],
  ['/a/%2f*', undefined],
  ['/a%2f%2fb', undefined],
  ['/a%2f../b', undefined],
  ['/a%2f**', '/a%2f*'],
  [`/${'a'.repeat(1024)}`, undefined],
];

describe('path patterns', () => {
  for (const [pattern, covered, others] of [...matching, ...encodedSlashes]) {
    it(pattern, () => {
      for (const target of covered) assert.ok(covers(pattern, target), target);
      for (const target of others) assert.ok(!covers(pattern, target), target);
    });
  }

  for (const [text, hint] of wrong) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      const problem = parsePathPattern(text);
      assert.ok('message' in problem);
      assert.equal(problem.code, 'bad-path');
      assert.equal(problem.hint, hint);
    });
  }
});

describe('plainPath', () => {
  for (const target of ambiguous) {
    it(`refuses ${JSON.stringify(target)}`, () => assert.equal(plainPath(target), null));
  }

  for (const path of plain) {
    it(`passes ${path} as it is`, () => {
      assert.equal(plainPath(path), path);
      assert.equal(plainPath(`${path}?a=/../;%00`), path);
    });
  }

  it('passes nothing that decodes to another structure', () => {
    const piece = fc.constantFrom(
      '/',
      '.',
      '%2e',
      '%2F',
      '%5C',
      '%25',
      '2e',
      'a',
      ';',
      '%',
      '%ef%bc%8f',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const target = `/${pieces.join('')}`;
        const path = plainPath(target);
        if (path === null) return;
        const decoded = decodeURIComponent(path);
        assert.equal(new URL(`http://h${path}`).pathname, path);
        assert.equal(decoded.split('/').length, path.split(/\/|%2f/i).length);
        assert.doesNotMatch(decoded, /\\|;|\/\/|\/\.{1,2}(\/|$)|%[0-9a-f]{2}/i);
      }),
      { numRuns: 3000 },
    );
  });
});

/** By trying everything; only for short paths. A star takes in no encoded slash. */
function naive(pattern: readonly string[], path: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return path.length === 0;
  if (first === '**') {
    const encoded = path.findIndex((segment) => /%2f/i.test(segment));
    if (rest.length === 0) return path.length > 0 && encoded === -1;
    const free = encoded === -1 ? path.length : encoded + 1;
    return path.slice(0, free).some((_, i) => naive(rest, path.slice(i)));
  }
  const glob = new RegExp(`^${first.replaceAll('*', '(?:(?!%2f).)*')}$`);
  const [head, ...tail] = path;
  if (head === undefined || !glob.test(head) || (head === '' && first !== '')) return false;
  return naive(rest, tail);
}

describe('matchesPath', () => {
  it('agrees with trying everything', () => {
    const stars = fc.constantFrom('a', 'b', 'ab', '*', 'a*', '*b', 'a*b', '*a*', '**', '');
    const segment = fc.oneof(stars, fc.constantFrom('a%2fb', '*%2f*', 'a%2f*', '*b%2fa*%2f*'));
    const pattern = fc.array(segment, { minLength: 1, maxLength: 5 });
    const word = fc.constantFrom('a', 'b', 'ab', 'aab', 'abab', 'a%2fb', 'b%2fa%2fb', 'ab%2fab');
    const path = fc.tuple(fc.array(word, { maxLength: 5 }), fc.constantFrom('', 'a', 'ab'));
    fc.assert(
      fc.property(pattern, path, (segments, [head, last]) => {
        const parsed = parsePathPattern(`/${segments.join('/')}`);
        if ('message' in parsed) return;
        const text = [...head, last];
        assert.equal(matchesPath(parsed, `/${text.join('/')}`), naive(segments, text));
      }),
      { numRuns: 3000 },
    );
  });

  it('does not backtrack over long paths', () => {
    const stars = parsePathPattern(`/${'a*'.repeat(200)}b`);
    const deep = parsePathPattern(`/${'**/a/'.repeat(200)}b`);
    assert.ok(!('message' in stars) && !('message' in deep));
    assert.equal(matchesPath(stars, `/${'a'.repeat(60_000)}`), false);
    assert.equal(matchesPath(deep, `/${'a/'.repeat(30_000)}`), false);
  });
});
