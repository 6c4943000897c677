import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { admitsQuery, compileQuery, isQueryKey, queryMiss } from '../../src/policy/query.ts';

const rules = compileQuery([
  { key: 'any', values: undefined },
  { key: 'service', values: ['git-upload-pack', 'ls refs', 'ls+refs'] },
  { key: 'plus', values: ['a+b'] },
  { key: 'a[]', values: ['x'] },
  { key: '__proto__', values: ['x'] },
]);

/** [request target, is its query admitted?] */
const cases: readonly (readonly [string, boolean])[] = [
  ['/a', true],
  ['/a?', true],
  ['/a?any', true],
  ['/a?any=', true],
  ['/a?any=x&any=y', true],
  ['/a?any=a=b?c/d:e@f', true],
  ['/a?service=git-upload-pack', true],
  ['/a?service=git%2Dupload%2dpack', true],
  ['/a?serv%69ce=git-upload-pack&any=1', true],
  ['/a?service=ls%20refs', true],
  ['/a?service=ls+refs', true],
  ['/a?service=ls%2Brefs', true],
  ['/a?plus=a%2Bb', true],
  ['/a?a[]=x&a%5B%5D=x', true],
  ['/a?any=%26service%3Dgit-receive-pack', true],
  ['/a?any=%e2%82%ac', true],
  ['/a?__proto__=x', true],
  // Other keys and values, and one of two that is.
  ['/a?service=git-receive-pack', false],
  ['/a?service=git-upload-pack&service=git-receive-pack', false],
  ['/a?service=git-receive-pack&service=git-upload-pack', false],
  ['/a?service=GIT-UPLOAD-PACK', false],
  ['/a?Service=git-upload-pack', false],
  ['/a?service', false],
  ['/a?service=', false],
  ['/a?service=git-upload-pack%20', false],
  ['/a?constructor=x', false],
  ['/a?other', false],
  // A blank to forms, a plus to others: both must be meant.
  ['/a?plus=a+b', false],
  ['/a?an+y=1', false],
  ['/a?an%2By=1', false],
  // What servers read in different ways.
  ['/a?any=1;service=git-receive-pack', false],
  ['/a?any=1&', false],
  ['/a?&any=1', false],
  ['/a?any=1&&any=2', false],
  ['/a?=1', false],
  ['/a?any=%', false],
  ['/a?any=%4', false],
  ['/a?any=%zz', false],
  ['/a?any=%u0041', false],
  ['/a?any=%c0%af', false],
  ['/a?any=%ed%a0%80', false],
  ['/a?any=%ff', false],
  ['/a?any=%00', false],
  ['/a?any=%0d%0aservice=x', false],
  ['/a?any=%7f', false],
  ['/a?any%00=1', false],
  ['/a?any%3Dx=1', false],
  ['/a?any%26x=1', false],
  ['/a?any%253D=1', false],
  ['/a?serv%2569ce=git-upload-pack', false],
  ['/a?any=1#service', false],
  ['/a?any=1 2', false],
  ['/a?any="', false],
  ['/a?any=\\', false],
  ['/a?any={x}', false],
  ['/a?any=\u00e9', false],
  ['/a?any=\u0000', false],
];

describe('a query', () => {
  for (const [target, expected] of cases) {
    it(`${JSON.stringify(target)}: ${expected}`, () => {
      assert.equal(admitsQuery(rules, target), expected);
      assert.equal(queryMiss(rules, target) === null, expected);
    });
  }

  it('is there in no form where none may be', () => {
    const none = compileQuery([]);
    assert.ok(admitsQuery(none, '/a') && admitsQuery(none, '/a?'));
    for (const query of ['a', '=', '&', '?', 'a=b']) assert.ok(!admitsQuery(none, `/a?${query}`));
  });

  it('is told by its keys, and never by its values', () => {
    assert.equal(
      queryMiss(rules, '/?token=hunter2'),
      'query key token is not in any, service, plus, a[], __proto__',
    );
    assert.equal(
      queryMiss(rules, '/?plus=hunter2'),
      'query key plus has a value that is not in a+b',
    );
    assert.equal(queryMiss(rules, '/?;hunter2'), 'servers read its query in different ways');
    assert.equal(
      queryMiss(new Map(), '/?a=hunter2'),
      'query key a is not in it: there may be no query',
    );
  });
});

/** Decodes byte by byte; null for what is not UTF-8 or not an escape. */
function naiveDecode(text: string): string | null {
  const bytes: number[] = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== '%') bytes.push(text.charCodeAt(at));
    else {
      const digits = text.slice(at + 1, at + 3);
      if (!/^[0-9a-f]{2}$/i.test(digits)) return null;
      bytes.push(Number.parseInt(digits, 16));
      at += 2;
    }
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      Uint8Array.from(bytes),
    );
  } catch {
    return null;
  }
}

const plainCharacters =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@%/?[]";

/** Every reading of a query that some server could have: all must be covered. */
function naiveAdmits(wanted: Readonly<Record<string, readonly string[]>>, query: string): boolean {
  if (query === '') return true;
  if ([...query].some((character) => !plainCharacters.includes(character))) return false;
  return query.split('&').every((pair) => {
    const cut = pair.indexOf('=') === -1 ? pair.length : pair.indexOf('=');
    const key = naiveDecode(pair.slice(0, cut));
    const value = naiveDecode(pair.slice(cut + 1));
    const spaced = naiveDecode(pair.slice(cut + 1).replace(/\+/g, ' '));
    if (key === null || value === null || spaced === null) return false;
    if ([...value].some((character) => /\p{Cc}/u.test(character))) return false;
    if (!Object.hasOwn(wanted, key)) return false;
    const values = wanted[key] as readonly string[];
    return values.length === 0 || (values.includes(value) && values.includes(spaced));
  });
}

describe('a query, against a naive reader', () => {
  const wanted = { a: [], b: ['1', 'x y', 'x+y'], 'c[]': ['%'] };
  const compiled = compileQuery(
    Object.entries(wanted).map(([key, values]) => ({
      key,
      values: values.length === 0 ? undefined : values,
    })),
  );
  const piece = fc.constantFrom(
    ...['a', 'b', 'c', '[', ']', '1', 'x', 'y', '=', '&', '+', '%20', '%2B', '%61', '%31', '%25'],
    ...[
      '%',
      ';',
      '%3b',
      '%26',
      '%3D',
      '%00',
      '%c3%a9',
      '%c3',
      '#',
      '?',
      ' ',
      'é',
      '%5b%5D',
      '%2561',
    ],
  );
  const pair = fc.constantFrom('a=1', 'b=1', 'b=x+y', 'b=x%20y', 'c[]=%25', 'a', 'b=2', 'd=1');
  const pairs = fc.array(pair, { maxLength: 4 }).map((items) => items.join('&'));
  const mixed = fc.array(piece, { maxLength: 8 }).map((items) => items.join(''));

  it('agrees on what is admitted', () => {
    let admitted = 0;
    let refused = 0;
    fc.assert(
      fc.property(
        fc.oneof(
          pairs,
          mixed,
          fc.tuple(pairs, mixed).map((two) => two.join('&')),
        ),
        (query) => {
          const expected = naiveAdmits(wanted, query);
          assert.equal(admitsQuery(compiled, `/p?${query}`), expected);
          if (expected) admitted++;
          else refused++;
        },
      ),
      { numRuns: 5000 },
    );
    assert.ok(admitted > 300 && refused > 300, `${admitted} admitted, ${refused} refused`);
  });

  it('throws for no text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        admitsQuery(compiled, `/?${text}`);
        isQueryKey(text);
      }),
      { numRuns: 2000 },
    );
  });
});
