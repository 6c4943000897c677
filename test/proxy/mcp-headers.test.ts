import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readRpcBody } from '../../src/core/rpc-body.ts';
import { mcpHeaderProblem } from '../../src/proxy/mcp-headers.ts';

function body(message: unknown) {
  const read = readRpcBody(Buffer.from(JSON.stringify(message)));
  assert.ok(typeof read !== 'string', String(read));
  return read;
}

const call = (name: string) => ({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name } });
const json = ['content-type', 'application/json'];
const base64 = (text: string): string => `=?base64?${Buffer.from(text).toString('base64')}?=`;

describe('headers that say what the body says', () => {
  const good: readonly [what: string, headers: readonly string[], message: unknown][] = [
    ['nothing but the type', json, call('x')],
    ['another case', ['Content-Type', 'Application/JSON'], call('x')],
    ['a charset', ['content-type', 'application/json; charset=utf-8'], call('x')],
    ['a charset in quotes', ['content-type', 'application/json;charset="UTF-8" '], call('x')],
    ['the method', [...json, 'Mcp-Method', 'tools/call'], call('x')],
    ['method and name', [...json, 'mcp-method', 'tools/call', 'MCP-NAME', 'x'], call('x')],
    ['a name in Base64', [...json, 'mcp-name', base64('天気')], call('天気')],
    [
      'a name that looks like Base64',
      [...json, 'mcp-name', base64('=?base64?eA==?=')],
      call('=?base64?eA==?='),
    ],
    [
      'a resource',
      [...json, 'mcp-name', 'file:///a'],
      { jsonrpc: '2.0', id: 1, method: 'resources/read', params: { uri: 'file:///a' } },
    ],
    ['parameters of the tool', [...json, 'mcp-param-region', 'eu'], call('x')],
    ['a batch without them', json, [call('x'), call('y')]],
    ['an answer', json, { jsonrpc: '2.0', id: 1, result: {} }],
  ];
  for (const [what, headers, message] of good) {
    test(what, () => assert.equal(mcpHeaderProblem(headers, body(message)), null));
  }
});

describe('refused', () => {
  const bad: readonly [what: string, headers: readonly string[], message: unknown, why: RegExp][] =
    [
      ['no type', [], call('x'), /Content-Type/],
      ['two types', [...json, ...json], call('x'), /more than once/],
      ['another type', ['content-type', 'text/plain'], call('x'), /Content-Type/],
      ['a type with a suffix', ['content-type', 'application/json+x'], call('x'), /Content-Type/],
      [
        'two types in one',
        ['content-type', 'application/json, text/plain'],
        call('x'),
        /Content-Type/,
      ],
      ['another charset', ['content-type', 'application/json; charset=utf-16'], call('x'), /UTF-8/],
      [
        'two charsets',
        ['content-type', 'application/json; charset=utf-8; charset=utf-7'],
        call('x'),
        /UTF-8/,
      ],
      ['a profile', ['content-type', 'application/json; profile=x'], call('x'), /UTF-8/],
      ['a content coding', [...json, 'content-encoding', 'gzip'], call('x'), /Content-Encoding/],
      ['identity', [...json, 'Content-Encoding', 'identity'], call('x'), /Content-Encoding/],
      [
        'a coding with an underscore',
        [...json, 'content_encoding', 'gzip'],
        call('x'),
        /Content-Encoding/,
      ],
      ['a type with an underscore', [...json, 'content_type', 'text/xml'], call('x'), /underscore/],
      ['a name with an underscore', [...json, 'Mcp_Name', 'x'], call('x'), /underscore/],
      ['another method', [...json, 'mcp-method', 'tools/list'], call('x'), /Mcp-Method/],
      [
        'another case of the method',
        [...json, 'mcp-method', 'Tools/call'],
        call('x'),
        /Mcp-Method/,
      ],
      [
        'a method in Base64',
        [...json, 'mcp-method', base64('tools/call')],
        call('x'),
        /Mcp-Method/,
      ],
      ['an empty method', [...json, 'mcp-method', ''], call('x'), /Mcp-Method/],
      [
        'the method twice',
        [...json, 'mcp-method', 'tools/call', 'mcp-method', 'tools/call'],
        call('x'),
        /more than once/,
      ],
      ['a method of a batch', [...json, 'mcp-method', 'tools/call'], [call('x')], /Mcp-Method/],
      [
        'a method of an answer',
        [...json, 'mcp-method', 'ping'],
        { jsonrpc: '2.0', id: 1, result: {} },
        /Mcp-Method/,
      ],
      ['another name', [...json, 'mcp-name', 'y'], call('x'), /Mcp-Name/],
      ['another case of the name', [...json, 'mcp-name', 'X'], call('x'), /Mcp-Name/],
      [
        'a name of what has none',
        [...json, 'mcp-name', 'x'],
        { jsonrpc: '2.0', id: 1, method: 'tools/list' },
        /Mcp-Name/,
      ],
      ['a name of a batch', [...json, 'mcp-name', 'x'], [call('x')], /Mcp-Name/],
      ['Base64 without its padding', [...json, 'mcp-name', '=?base64?eA?='], call('x'), /Mcp-Name/],
      [
        'Base64 with something in it',
        [...json, 'mcp-name', '=?base64?e A==?='],
        call('x'),
        /Mcp-Name/,
      ],
      [
        'Base64 of bytes that are no text',
        [...json, 'mcp-name', '=?base64?/w==?='],
        call('x'),
        /Mcp-Name/,
      ],
      ['capital markers', [...json, 'mcp-name', '=?BASE64?eA==?='], call('x'), /Mcp-Name/],
      ['a name in Latin-1', [...json, 'mcp-name', 'caf\u00c3\u00a9'], call('café'), /Mcp-Name/],
    ];
  for (const [what, headers, message, why] of bad) {
    test(what, () => {
      const problem = mcpHeaderProblem(headers, body(message));
      assert.match(problem ?? '', why);
      assert.match(problem ?? '', /^[\x20-\x7e]+$/u);
    });
  }
});

test('only the name itself agrees with a name', () => {
  const name = fc.string({ minLength: 1, maxLength: 6, unit: fc.constantFrom(...'aA=?b64x') });
  fc.assert(
    fc.property(name, name, (header, tool) => {
      const headers = [...json, 'mcp-name', header];
      const said = header === tool && !/^=\?base64\?.*\?=$/u.test(header);
      assert.equal(mcpHeaderProblem(headers, body(call(tool))) === null, said);
    }),
  );
});
