import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type RpcBody, readRpcBody } from '../../src/core/rpc-body.ts';
import { callsOf, parsePairs, readers } from '../support/careless-json.ts';

const read = (text: string | Uint8Array): RpcBody | string => readRpcBody(Buffer.from(text));

function accepted(text: string): RpcBody {
  const body = read(text);
  assert.ok(typeof body !== 'string', `${text}: ${body}`);
  return body;
}

const call = (params: string): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`;
const message = (members: string): string => `{"jsonrpc":"2.0",${members}}`;

/** Members `a0` … */
const many = (count: number): string =>
  Array.from({ length: count }, (_, at) => `"a${at}":1`).join(',');

describe('a body', () => {
  const good: readonly [what: string, text: string, expected: Partial<RpcBody>][] = [
    [
      'a call',
      call(
        '{"name":"get_weather","arguments":{"city":"Oslo","days":[1]},"_meta":{"progressToken":1}}',
      ),
      {
        messages: 1,
        batch: false,
        methods: ['tools/call'],
        calls: [
          {
            tool: 'get_weather',
            arguments: new Map<string, unknown>([
              ['city', 'Oslo'],
              ['days', [1]],
            ]),
          },
        ],
        named: 'get_weather',
      },
    ],
    [
      'a call without arguments',
      call('{"name":"now"}'),
      { calls: [{ tool: 'now', arguments: new Map() }] },
    ],
    [
      'a call with null for arguments',
      call('{"name":"now","arguments":null}'),
      { calls: [{ tool: 'now', arguments: new Map() }] },
    ],
    [
      'a call without id',
      message('"method":"tools/call","params":{"name":"x"}'),
      { calls: [{ tool: 'x', arguments: new Map() }] },
    ],
    [
      'another method',
      message('"id":"a","method":"tools/list"'),
      { methods: ['tools/list'], calls: [], named: undefined },
    ],
    ['params of null', message('"id":"a","method":"ping","params":null'), { methods: ['ping'] }],
    [
      'a resource',
      message('"id":2,"method":"resources/read","params":{"uri":"file:///a"}'),
      { named: 'file:///a' },
    ],
    [
      'a prompt',
      message('"id":2,"method":"prompts/get","params":{"name":"p","arguments":{"a":"b"}}'),
      { named: 'p', calls: [] },
    ],
    [
      'a notification',
      message('"method":"notifications/initialized"'),
      { methods: ['notifications/initialized'] },
    ],
    [
      'a result',
      message('"id":7,"result":{"method":"tools/call","Method":1}'),
      { messages: 1, methods: [], calls: [] },
    ],
    [
      'an error',
      message('"id":null,"error":{"code":-1,"message":"no"}'),
      { messages: 1, methods: [] },
    ],
    [
      'an argument named like a reserved key',
      call('{"name":"x","arguments":{"Name":"y","METHOD":1}}'),
      { methods: ['tools/call'] },
    ],
    [
      'NUL and half a character in a value',
      call('{"name":"x","arguments":{"a":"\\u0000\\ud83d"}}'),
      { methods: ['tools/call'] },
    ],
    ['a tool in another script', call('{"name":"天気"}'), { named: '天気' }],
    ['a tool with a space inside', call('{"name":"get weather"}'), { named: 'get weather' }],
    ['white space around', ` \r\n\t${call('{"name":"x"}')}\n`, { messages: 1 }],
    [
      'a batch',
      `[${call('{"name":"a"}')},${message('"method":"ping","id":1.5')},${message('"id":3,"result":{}')},${call('{"name":"b"}')}]`,
      {
        messages: 4,
        batch: true,
        methods: ['tools/call', 'ping', 'tools/call'],
        calls: [
          { tool: 'a', arguments: new Map() },
          { tool: 'b', arguments: new Map() },
        ],
        named: undefined,
      },
    ],
    ['64 keys', call(`{"name":"x","arguments":{${many(1000)}},${many(62)}}`), { messages: 1 }],
    ['a batch of one', `[${call('{"name":"a"}')}]`, { messages: 1, batch: true, named: undefined }],
    [
      '64 levels',
      call(`{"name":"x","arguments":{"a":${'['.repeat(61)}${']'.repeat(61)}}}`),
      { messages: 1 },
    ],
    ['a name of 256 characters', call(`{"name":"${'x'.repeat(256)}"}`), { messages: 1 }],
    [
      '100 messages',
      `[${Array.from({ length: 100 }, () => message('"method":"ping"')).join(',')}]`,
      { messages: 100 },
    ],
  ];
  for (const [what, text, expected] of good) {
    test(what, () => {
      const body = accepted(text) as unknown as Record<string, unknown>;
      for (const [key, value] of Object.entries(expected)) assert.deepEqual(body[key], value, key);
    });
  }
});

describe('refused', () => {
  const x = call('{"name":"x"}');
  const bad: readonly [what: string, text: string | Uint8Array, why: RegExp][] = [
    ['nothing', '', /not one JSON value/],
    ['two values', x + x, /not one JSON value/],
    ['one value a line', `${x}\n${x}`, /not one JSON value/],
    ['a comma too many', '[{"jsonrpc":"2.0","method":"a"},]', /not one JSON value/],
    ['a comment', `/**/${x}`, /not one JSON value/],
    ['single quotes', x.replaceAll('"', "'"), /not one JSON value/],
    ['a byte order mark', `\ufeff${x}`, /byte order mark/],
    ['UTF-16', Buffer.from(x, 'utf16le'), /not one JSON value/],
    ['UTF-16 with a mark', Buffer.from(`\ufeff${x}`, 'utf16le'), /not UTF-8/],
    [
      'an overlong letter',
      Buffer.from(x.replace('tools/call', 'tools\0call'), 'latin1').map((byte) =>
        byte === 0 ? 0xc0 : byte,
      ),
      /not UTF-8/,
    ],
    ['a form feed', `\f${x}`, /not one JSON value/],
    ['a no-break space', `\u00a0${x}`, /not one JSON value/],
    [
      '65 levels',
      call(`{"name":"x","arguments":{"a":${'['.repeat(62)}${']'.repeat(62)}}}`),
      /64 levels/,
    ],
    ['a million brackets', '['.repeat(1_000_000), /64 levels/],
    ['text', '"x"', /not an object/],
    ['null', 'null', /not an object/],
    ['a number', '1', /not an object/],
    ['an empty batch', '[]', /empty/],
    [
      '101 messages',
      `[${Array.from({ length: 101 }, () => message('"method":"ping"')).join(',')}]`,
      /more than 100/,
    ],
    ['a batch in a batch', `[[${x}]]`, /not an object/],
    ['65 keys in a message', message(`"method":"ping",${many(63)}`), /more than 64 keys/],
    ['65 keys in params', call(`{"name":"x",${many(64)}}`), /more than 64 keys/],
    ['no version', '{"id":1,"method":"ping"}', /jsonrpc/],
    ['a version of a number', '{"jsonrpc":2.0,"method":"ping"}', /jsonrpc/],
    ['another version', '{"jsonrpc":"1.0","method":"ping"}', /jsonrpc/],
    ['an id of a list', message('"id":[1],"method":"ping"'), /id/],
    ['an id of true', message('"id":true,"method":"ping"'), /id/],
    [
      'a key twice',
      message('"method":"ping","method":"tools/call","params":{"name":"x"}'),
      /twice/,
    ],
    ['a key twice, one escaped', message('"method":"ping","m\\u0065thod":"tools/call"'), /twice/],
    [
      'params twice',
      message('"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}'),
      /twice/,
    ],
    ['a name twice', call('{"name":"a","name":"b"}'), /twice/],
    ['an argument twice', call('{"name":"a","arguments":{"a":1,"a":2}}'), /twice/],
    ['a key twice far inside', call('{"name":"a","arguments":{"a":[{"b":1,"b":2}]}}'), /twice/],
    ['a key with NUL', call('{"name":"a","x\\u0000y":1}'), /valid text/],
    [
      'an argument with half a character',
      call('{"name":"a","arguments":{"\\ud800":1}}'),
      /valid text/,
    ],
    ['__proto__', message('"__proto__":{"method":"tools/call"},"method":"ping"'), /__proto__/],
    ['__proto__ in an argument', call('{"name":"a","arguments":{"__proto__":{}}}'), /__proto__/],
    ['no method and no answer', message('"id":1'), /neither/],
    ['a result and an error', message('"id":1,"result":{},"error":{}'), /neither/],
    ['a method and a result', message('"id":1,"method":"ping","result":{}'), /at once/],
    ['a method of a list', message('"method":["tools/call"]'), /visible ASCII/],
    ['a method of null', message('"method":null,"result":{}'), /visible ASCII/],
    ['an empty method', message('"method":""'), /visible ASCII/],
    ['a method with NUL', message('"method":"tools/call\\u0000"'), /visible ASCII/],
    ['a method of 257', message(`"method":"${'a'.repeat(257)}"`), /visible ASCII/],
    ['params of a list', message('"method":"tools/call","params":["x"]'), /not an object/],
    ['params of text', message('"method":"ping","params":"x"'), /not an object/],
    ['a call without params', message('"method":"tools/call"'), /no params/],
    ['a call with params of null', call('null'), /no params/],
    ['a call without a name', call('{"arguments":{}}'), /name of a tool/],
    ['a name of a number', call('{"name":1}'), /name of a tool/],
    ['an empty name', call('{"name":""}'), /name of a tool/],
    ['a name of 257 characters', call(`{"name":"${'x'.repeat(257)}"}`), /name of a tool/],
    ['a name with a space in front', call('{"name":" x"}'), /name of a tool/],
    ['a name with a line end', call('{"name":"x\\n"}'), /name of a tool/],
    ['a name with NUL', call('{"name":"x\\u0000y"}'), /name of a tool/],
    ['a name with a joiner', call('{"name":"x\\u200dy"}'), /name of a tool/],
    ['a name that reads backwards', call('{"name":"\\u202ex"}'), /name of a tool/],
    ['a name of half a character', call('{"name":"x\\udc00"}'), /name of a tool/],
    ['a name in full width', call('{"name":"ｘ"}'), /name of a tool/],
    ['a name in another form', call('{"name":"e\\u0301"}'), /name of a tool/],
    ['arguments of a list', call('{"name":"x","arguments":[]}'), /arguments/],
    ['arguments of text', call('{"name":"x","arguments":"{}"}'), /arguments/],
    [
      'one bad message in a batch',
      `[${x},${message('"method":"Tools/Call","params":{"name":"x"}')}]`,
      /almost like tools/,
    ],
  ];
  for (const [what, text, why] of bad) {
    test(what, () => {
      const problem = read(text);
      assert.ok(typeof problem === 'string', 'accepted');
      assert.match(problem, why);
      assert.match(problem, /^[\x20-\x7e]+$/u);
    });
  }

  for (const method of [
    'Tools/Call',
    'TOOLS/CALL',
    'tools//call',
    'tools.call',
    'tools_call',
    '/tools/call',
    'tools/call/',
    'toolscall',
    'tools\\\\call',
  ]) {
    test(`the method ${method}`, () => {
      assert.match(read(message(`"method":"${method}","params":{"name":"x"}`)) as string, /almost/);
    });
  }
  for (const method of [
    'tools/call ',
    ' tools/call',
    'tool\u017f/call',
    'tools\u2215call',
    'ｔools/call',
    'tools/call\u200b',
    '\ufefftools/call',
  ]) {
    test(`the method ${JSON.stringify(method)}`, () => {
      assert.match(read(message(`"method":${JSON.stringify(method)}`)) as string, /visible ASCII/);
    });
  }
  for (const key of [
    'Method',
    'METHOD',
    'method ',
    '\u200bmethod',
    'meth\u00f6d',
    'ｍethod',
    'me-thod',
    'PARAMS',
    'param\u017f',
    'Params\u0307',
    'ID',
    '\u0131d',
    '\u0130d',
    'Result',
    'error_',
    'JSONRPC',
    'json\u2010rpc',
  ]) {
    test(`the key ${JSON.stringify(key)} in a message`, () => {
      assert.match(
        read(message(`"method":"ping",${JSON.stringify(key)}:1`)) as string,
        /almost like one/,
      );
    });
  }
  for (const key of [
    'Name',
    'NAME',
    'n\u00e4me',
    'na\u00adme',
    '_name',
    'Argument\u017f',
    'argument\u017f',
    'URI',
    'ur\u0131',
  ]) {
    test(`the key ${JSON.stringify(key)} in params`, () => {
      assert.match(
        read(call(`{"name":"x",${JSON.stringify(key)}:"y"}`)) as string,
        /almost like one/,
      );
    });
  }
});

/** Text of JSON that is often valid, often nearly a call, and rarely what it seems. */
const key = fc.constantFrom(
  ...[
    'jsonrpc',
    'id',
    'method',
    'params',
    'name',
    'arguments',
    'result',
    'error',
    'Method',
    'NAME',
    'param\u017f',
    '\u0131d',
    'ｎame',
    'm\\u0065thod',
    'na\\u006de',
    '_meta',
    'Arguments',
    'name ',
    '__proto__',
  ],
);
const scalar = fc.constantFrom(
  '"2.0"',
  '1',
  'null',
  '"tools/call"',
  '"Tools/Call"',
  '"tools/\\u0063all"',
  '"ping"',
  '"a"',
  '"b"',
  '" b"',
  '"B"',
  'true',
);
const { value } = fc.letrec<{ value: string; object: string }>((tie) => ({
  object: fc
    .array(fc.tuple(key, fc.oneof({ weight: 3, arbitrary: scalar }, tie('value'))), {
      maxLength: 4,
    })
    .map((members) => `{${members.map(([name, text]) => `"${name}":${text}`).join(',')}}`),
  value: fc.oneof(
    { maxDepth: 3 },
    scalar,
    tie('object'),
    fc.array(tie('value'), { maxLength: 2 }).map((items) => `[${items.join(',')}]`),
  ),
}));
const members = fc.array(
  fc.tuple(key, value).map(([name, text]) => `"${name}":${text}`),
  { maxLength: 2 },
);
const nearCall = fc
  .tuple(
    members,
    fc.constantFrom('tools/call', 'ping', 'tools/\\u0063all'),
    members,
    fc.constantFrom('a', 'b', 'B'),
    members,
  )
  .map(
    ([first, method, more, tool, inside]) =>
      `{${[...first, '"jsonrpc":"2.0"', `"method":"${method}"`, `"params":{${[`"name":"${tool}"`, ...inside].join(',')}}`, ...more].join(',')}}`,
  );
const text = fc.oneof(
  nearCall,
  value,
  fc.array(nearCall, { maxLength: 3 }).map((list) => `[${list.join(',')}]`),
);

test('what is accepted means the same to every reader', () => {
  let calls = 0;
  fc.assert(
    fc.property(text, (body) => {
      const found = read(body);
      if (typeof found === 'string') return;
      const pairs = parsePairs(body);
      const expected = found.calls.map(({ tool }) => tool);
      calls += expected.length;
      for (const [name, reader] of Object.entries(readers)) {
        assert.deepEqual(callsOf(pairs, reader), expected, name);
      }
    }),
    { numRuns: 5000 },
  );
  assert.ok(calls > 100, `only ${calls} calls were accepted`);
});

test('no bytes make it throw', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 64 }),
        fc.json().map((json) => Buffer.from(json)),
      ),
      (bytes) => {
        readRpcBody(bytes);
      },
    ),
  );
});
