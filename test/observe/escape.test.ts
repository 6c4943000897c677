import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { cutMarker, escapeControls, escapeText } from '../../src/observe/escape.ts';

const dangerous = [
  [0x00, 0x1f],
  [0x7f, 0x9f],
  [0x61c, 0x61c],
  [0x200e, 0x200f],
  [0x2028, 0x202e],
  [0x2066, 0x2069],
  [0xd800, 0xdfff],
] as const;

function isDangerous(code: number): boolean {
  return dangerous.some(([first, last]) => code >= first && code <= last);
}

/** Every string, lone surrogates and controls included, rich in what must be escaped. */
const anyText = fc.string({
  unit: fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    fc.constantFrom(
      '"',
      '\\',
      '\n',
      '\u001b',
      '\u0085',
      '\u2028',
      '\u202e',
      '\ud800',
      'é',
      '😀',
      'a',
    ),
    fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
  ),
  maxLength: 60,
});

describe('escapeText', () => {
  const cases: [text: string, limit: number, expected: string][] = [
    ['', 10, ''],
    ['registry.npmjs.org', 64, 'registry.npmjs.org'],
    ['a"b\\c', 64, 'a\\"b\\\\c'],
    ['a\r\nb', 64, 'a\\u000d\\u000ab'],
    ['\u001b[2J\u007f\u009b', 64, '\\u001b[2J\\u007f\\u009b'],
    ['a\u2028\u2029\u202eb\u061c\u2066', 64, 'a\\u2028\\u2029\\u202eb\\u061c\\u2066'],
    ['\ud800x\udc00', 64, '\\ud800x\\udc00'],
    ['Jörg 😀', 64, 'Jörg 😀'],
    ['abcdef', 6, 'abcdef'],
    ['abcdefg', 6, 'abc…'],
    ['ab\ncdef', 8, 'ab…'],
    ['ab\nc', 9, 'ab\\u000ac'],
    ['😀😀', 8, '😀😀'],
    ['😀😀😀', 8, '😀…'],
    ['ééé', 5, 'é…'],
  ];
  for (const [text, limit, expected] of cases) {
    test(`${JSON.stringify(text)} in ${limit} bytes`, () => {
      assert.equal(escapeText(text, limit), expected);
    });
  }

  test('is the inside of a JSON string, within its limit, without anything dangerous', () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 3, max: 120 }), (text, limit) => {
        const escaped = escapeText(text, limit);
        assert.ok(Buffer.byteLength(escaped) <= limit);
        for (const char of escaped) assert.ok(!isDangerous(char.codePointAt(0) ?? 0));
        const read: unknown = JSON.parse(`"${escaped}"`);
        assert.ok(typeof read === 'string');
        if (read !== text) {
          assert.ok(read.endsWith(cutMarker));
          assert.ok(text.startsWith(read.slice(0, -cutMarker.length)));
        }
      }),
      { numRuns: 500 },
    );
  });

  test('cuts only what does not fit', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const whole = escapeText(text, 1_000_000);
        assert.equal(JSON.parse(`"${whole}"`), text);
        const size = Math.max(3, Buffer.byteLength(whole));
        assert.equal(escapeText(text, size), whole);
      }),
    );
  });
});

describe('escapeControls', () => {
  test('keeps a line of JSON what it says, and its last newline', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const line = escapeControls(`${JSON.stringify({ text })}\n`);
        assert.ok(line.endsWith('}\n'));
        assert.deepEqual(JSON.parse(line), { text });
        for (const char of line.slice(0, -1)) assert.ok(!isDangerous(char.codePointAt(0) ?? 0));
      }),
      { numRuns: 500 },
    );
  });

  test('leaves quotes alone and escapes a newline inside', () => {
    assert.equal(escapeControls('a "b\\c"\nd\n'), 'a "b\\c"\\u000ad\n');
  });
});
