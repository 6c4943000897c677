import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { ToolCall } from '../../src/core/rpc-body.ts';
import { loggedParams, loggedTools } from '../../src/proxy/logged-calls.ts';

const call = (given: Record<string, unknown>, tool = 'x'): ToolCall => ({
  tool,
  arguments: new Map(Object.entries(given)),
});

describe('the parameters of a line', () => {
  const everything = {
    text: 'a"b\n',
    number: 1.5,
    yes: true,
    none: null,
    list: [1],
    object: { a: 1 },
    infinite: Number.POSITIVE_INFINITY,
  };
  const cases: readonly [
    what: string,
    calls: readonly ToolCall[],
    names: readonly string[],
    text: string | undefined,
  ][] = [
    ['none that are named', [call({ a: 1 })], ['b'], undefined],
    ['none at all', [], ['a'], undefined],
    ['no names', [call({ a: 1 })], [], undefined],
    [
      'every type',
      [call(everything)],
      Object.keys(everything),
      '{"text":"a\\"b\\n","number":1.5,"yes":true,"none":"null","list":"array","object":"object","infinite":"number"}',
    ],
    [
      'those that are named',
      [call({ repo: 'a', body: 'secret' })],
      ['repo', 'owner'],
      '{"repo":"a"}',
    ],
    [
      'one that a server may take for it',
      [call({ repo: 'a', REPO: 'b', re_po: 'c' })],
      ['repo'],
      '{"repo":"a","REPO":"b","re_po":"c"}',
    ],
    ['a name of signs alone', [call({ $: 1, _: 2 })], ['$'], '{"$":1}'],
    [
      'a batch',
      [call({ a: 1 }), call({}), call({ a: 2, b: 3 })],
      ['a', 'b'],
      '[{"a":1},{},{"a":2,"b":3}]',
    ],
    ['a long text', [call({ a: 'x'.repeat(129) })], ['a'], `{"a":"${'x'.repeat(128)}…"}`],
    ['a text with no room', [call({ a: '😀'.repeat(128) })], ['a'], `{"a":"${'😀'.repeat(64)}…"}`],
    [
      'the order of the names',
      [call({ body: 'x'.repeat(128), repo: 'r' })],
      ['repo', 'body'],
      `{"repo":"r","body":"${'x'.repeat(128)}"}`,
    ],
    ['a name twice', [call({ a: 1 })], ['a', 'a'], '{"a":1}'],
    ['128 characters', [call({ a: 'é'.repeat(128) })], ['a'], `{"a":"${'é'.repeat(128)}"}`],
    [
      'more than fits whole',
      [call(Object.fromEntries([...'abcdef'].map((name) => [name, 'x'.repeat(110)])))],
      [...'abcdef'],
      `{${[...'abcdef'].map((name) => `"${name}":"${'x'.repeat(64)}…"`).join(',')}}`,
    ],
    [
      'more than fits at all',
      [call(Object.fromEntries(Array.from({ length: 60 }, (_, at) => [`name${at + 10}`, true])))],
      Array.from({ length: 60 }, (_, at) => `name${at + 10}`),
      `{${Array.from({ length: 35 }, (_, at) => `"name${at + 10}":true`).join(',')},"…":25}`,
    ],
  ];
  for (const [what, calls, names, text] of cases) {
    test(what, () => assert.equal(loggedParams(calls, names), text));
  }

  test('of thousands of spellings of one name', () => {
    const spelled = Array.from(
      { length: 100_000 },
      (_, at) => [`repo${'-_.'[at % 3]}${String.fromCodePoint(0x2500 + at)}`, at] as const,
    );
    const text =
      loggedParams([call(Object.fromEntries([...spelled, ['repo', 'r']]))], ['repo']) ?? '';
    assert.match(text, /^\{"repo":"r",/u);
    assert.ok(Buffer.byteLength(text) <= 512);
    assert.doesNotThrow(() => JSON.parse(text));
  });

  test('are JSON of at most 512 bytes, whatever the arguments are', () => {
    const given = fc.dictionary(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.jsonValue()),
    );
    fc.assert(
      fc.property(fc.array(given, { maxLength: 4 }), (all) => {
        const names = all.flatMap((one) => Object.keys(one));
        const text = loggedParams(
          all.map((one) => call(one)),
          names,
        );
        if (text === undefined) return assert.equal(names.length, 0);
        assert.ok(Buffer.byteLength(text) <= 512);
        assert.equal(typeof JSON.parse(text), 'object');
      }),
    );
  });
});

describe('the tools of a line', () => {
  const many = Array.from({ length: 100 }, (_, at) => call({}, `tool_${at}`));
  const cases: readonly [what: string, calls: readonly ToolCall[], text: string | undefined][] = [
    ['none', [], undefined],
    ['one', [call({}, 'a')], 'a'],
    ['each once', [call({}, 'a'), call({}, 'b'), call({}, 'a')], 'a,b'],
  ];
  for (const [what, calls, text] of cases) test(what, () => assert.equal(loggedTools(calls), text));

  test('as many as fit, and how many more there are', () => {
    const text = loggedTools(many) ?? '';
    const [, shown = '', left] = /^(.*),…(\d+)$/u.exec(text) ?? [];
    assert.ok(Buffer.byteLength(text) <= 256);
    assert.equal(shown.split(',').length + Number(left), 100);
    assert.equal(loggedTools([call({}, 'x'.repeat(256)), call({}, 'y')]), `${'x'.repeat(256)},…1`);
  });
});
