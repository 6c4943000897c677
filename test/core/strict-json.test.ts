import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseStrictObject } from '../../src/core/strict-json.ts';

const parse = (text: string | Uint8Array, depth = 4): unknown =>
  parseStrictObject(Buffer.from(text), depth);

describe('an object', () => {
  const good: readonly [string, unknown][] = [
    ['{}', {}],
    [' {"a" : 1 , "b":[true,null,{"a":"x"}]}\n', { a: 1, b: [true, null, { a: 'x' }] }],
    ['{"a:b":"c:d","{":"]"}', { 'a:b': 'c:d', '{': ']' }],
    ['{"a":"\\"}:{\\\\"}', { a: '"}:{\\' }],
    ['{"a":{"b":{"c":{}}}}', { a: { b: { c: {} } } }],
    ['{"é":"\\u00e9"}', { é: 'é' }],
  ];
  for (const [text, value] of good) test(text, () => assert.deepEqual(parse(text), value));

  test('a key that objects inherit is a key like any other', () => {
    const value = parse('{"__proto__":{"sub":"x"},"constructor":1}') as object;
    assert.deepEqual(Object.keys(value), ['__proto__', 'constructor']);
    assert.equal((value as { sub?: string }).sub, undefined);
  });
});

describe('refused', () => {
  const bad: readonly [string, string | Uint8Array][] = [
    ['nothing', ''],
    ['a list', '[]'],
    ['text', '"x"'],
    ['null', 'null'],
    ['a key twice', '{"a":1,"a":1}'],
    ['a key twice, spelled differently', '{"a":1,"\\u0061":2}'],
    ['a key twice further in', '{"x":[{"a":1,"b":2,"a":3}]}'],
    ['__proto__ twice', '{"__proto__":1,"__proto__":2}'],
    ['five levels', '{"a":[[[[]]]]}'],
    ['two values', '{}{}'],
    ['a comma too many', '{"a":1,}'],
    ['a byte order mark', '\ufeff{}'],
    ['a string without end', '{"a":"'],
    ['a backslash at the end', '{"a":"\\'],
    ['a control character', '{"a":"\n"}'],
    ['bytes that are not UTF-8', Buffer.from('7b22ff223a317d', 'hex')],
    ['1000 levels', `${'{"a":'.repeat(1000)}1${'}'.repeat(1000)}`],
    ['brackets without end', '['.repeat(8000)],
  ];
  for (const [what, text] of bad) test(what, () => assert.equal(parse(text), null));
});

test('whatever JSON.stringify writes of an object comes back', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })), (value) => {
      assert.deepEqual(parse(JSON.stringify(value), 9), JSON.parse(JSON.stringify(value)));
    }),
  );
});

test('no bytes make it throw', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), (text) => {
      parse(text);
    }),
  );
});
