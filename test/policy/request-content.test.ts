import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  admitsContentType,
  admitsHeaders,
  isMediaRange,
  type RequestContent,
} from '../../src/policy/request-content.ts';

function content(
  lines: Readonly<Record<string, readonly string[]>>,
  hasBody = true,
): RequestContent {
  return {
    header: (name) => lines[name]?.join(', '),
    lines: (name) => lines[name]?.length ?? 0,
    hasBody,
  };
}

const ranges = ['application/json', 'image/*'];

/** [values of Content-Type, one for each line; does the body fit?] */
const types: readonly (readonly [readonly string[], boolean])[] = [
  [['application/json'], true],
  [['Application/JSON'], true],
  [['application/json; charset=utf-8'], true],
  [['application/json;charset="utf-8; \\"x"'], true],
  [['application/json ;  ; a=b ; '], true],
  [['image/png'], true],
  [['image/svg+xml;a=b'], true],
  [[], false],
  [[''], false],
  [['application/json', 'application/json'], false],
  [['application/json, text/html'], false],
  [['application/json; a=b, text/html'], false],
  [['application/json; a="b, text/html'], false],
  [['application/json text/html'], false],
  [['application/jsonp'], false],
  [['text/application/json'], false],
  [['application'], false],
  [['application/'], false],
  [['/json'], false],
  [['application /json'], false],
  [['application/json; a'], false],
  [['application/json; =b'], false],
  [['imagex/png'], false],
  [['image/'], false],
  [['image'], false],
  [['text/html; a=application/json'], false],
];

describe('the type of a body', () => {
  for (const [lines, expected] of types) {
    it(`${JSON.stringify(lines)}: ${expected}`, () => {
      const headers = lines.length === 0 ? {} : { 'content-type': lines };
      assert.equal(admitsContentType(ranges, content(headers)), expected);
      assert.ok(
        admitsContentType(ranges, content(headers, false)),
        'without a body it is no matter',
      );
    });
  }

  it('takes no longer for parameters that are almost right', () => {
    const odd = `application/json${';  a=b;  '.repeat(5000)}x`;
    assert.ok(!admitsContentType(ranges, content({ 'content-type': [odd] })));
  });

  it('is never one of another type', () => {
    const part = fc.constantFrom(
      'application',
      'json',
      'text',
      'html',
      '/',
      ';',
      ',',
      ' ',
      '"',
      '=',
      'a',
    );
    let admitted = 0;
    fc.assert(
      fc.property(fc.array(part, { maxLength: 9 }), (parts) => {
        const value = parts.join('');
        if (!admitsContentType(ranges, content({ 'content-type': [value] }))) return;
        admitted++;
        assert.match(value, /^application\/json *(?:;|$)/);
      }),
      { numRuns: 5000, examples: [[['application', '/', 'json', ';']]] },
    );
    assert.ok(admitted > 0);
  });
});

describe('media ranges', () => {
  for (const text of ['application/json', 'image/*', 'application/vnd.a+json', 'X/y']) {
    it(`${text} is one`, () => assert.ok(isMediaRange(text)));
  }
  for (const text of ['', '*/*', '*/json', 'image/p*', 'image', 'a/b/c', 'a/b;c=d', 'a /b', '*']) {
    it(`${text} is none`, () => assert.ok(!isMediaRange(text)));
  }
});

describe('required headers', () => {
  const require = [
    { name: 'x-team', values: ['blue', 'a, b'] },
    { name: 'x-any', values: undefined },
  ];
  for (const [lines, expected] of [
    [{ 'x-team': ['blue'], 'x-any': [''] }, true],
    [{ 'x-team': ['a', 'b'], 'x-any': ['1'] }, true],
    [{ 'x-team': ['blue', 'blue'], 'x-any': ['1'] }, false],
    [{ 'x-team': ['Blue'], 'x-any': ['1'] }, false],
    [{ 'x-team': ['blue'] }, false],
    [{ 'x-any': ['1'] }, false],
    [{}, false],
  ] as const) {
    it(`${JSON.stringify(lines)}: ${expected}`, () => {
      assert.equal(admitsHeaders({ require, strip: [] }, content(lines)), expected);
    });
  }
});
