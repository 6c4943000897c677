import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { filterToolList } from '../../src/proxy/tool-list.ts';

const admits = (tool: string): boolean => tool.startsWith('get_');

function filter(text: string | Buffer): string {
  const filtered = filterToolList(Buffer.from(text), admits);
  return typeof filtered === 'string' ? `refused: ${filtered}` : filtered.toString();
}

const answer = (tools: string): string => `{"jsonrpc":"2.0","id":1,"result":{"tools":${tools}}}`;

describe('a list of tools', () => {
  const cases: readonly [what: string, before: string, after: string][] = [
    [
      'loses what is not admitted',
      answer('[{"name":"get_a","x":1},{"name":"put_b"}]'),
      answer('[{"name":"get_a","x":1}]'),
    ],
    ['may become empty', answer('[{"name":"put"}]'), answer('[]')],
    [
      'keeps what stands beside it',
      '{"result":{"nextCursor":"c","tools":[{"name":"put"}],"ttlMs":1},"id":"a"}',
      '{"result":{"nextCursor":"c","tools":[],"ttlMs":1},"id":"a"}',
    ],
    [
      'in a batch',
      `[${answer('[{"name":"put"}]')},{"id":2,"result":{}},${answer('[{"name":"get_"}]')}]`,
      `[${answer('[]')},{"id":2,"result":{}},${answer('[{"name":"get_"}]')}]`,
    ],
    [
      'keeps numbers as they were written',
      answer('[{"name":"get_","m":9223372036854775807,"n":1.50,"o":1e400,"p":-0},{}]'),
      answer('[{"name":"get_","m":9223372036854775807,"n":1.50,"o":1e400,"p":-0}]'),
    ],
    [
      'keeps __proto__ an ordinary key',
      answer('[{"name":"get_","__proto__":{"name":"x"}},1]'),
      answer('[{"name":"get_","__proto__":{"name":"x"}}]'),
    ],
    [
      'with an escaped key',
      '{"result":{"\\u0074ools":[{"n\\u0061me":"put"}]}}',
      '{"result":{"tools":[]}}',
    ],
    [
      'for clients that do not mind case',
      '{"Result":{"TOOLS":[{"name":"put"}]}}',
      '{"Result":{"TOOLS":[]}}',
    ],
    [
      'for clients that fold a long s',
      '{"result":{"tool\u017f":[{"name":"put"}]}}',
      '{"result":{"tool\u017f":[]}}',
    ],
    [
      'twice, in two spellings',
      '{"result":{"tools":[{"name":"get_"}],"Tools":[{"name":"put"}]}}',
      '{"result":{"tools":[{"name":"get_"}],"Tools":[]}}',
    ],
    ['behind a byte order mark', `\ufeff${answer('[{"name":"put"}]')}`, answer('[]')],
    [
      'of things that are no tools',
      answer('["get_a",1,null,["get_a"],{"title":"get_a"},{"name":["get_a"]},{"name":null}]'),
      answer('[]'),
    ],
    ['with a name in two spellings', answer('[{"name":"get_a","Name":"put"}]'), answer('[]')],
    ['with a name in another spelling', answer('[{"Name":"get_a"}]'), answer('[]')],
  ];
  for (const [what, before, after] of cases) test(what, () => assert.equal(filter(before), after));

  test('of very many things', () => {
    const tools = `[${'1,'.repeat(200_000)}{"name":"get_"}]`;
    assert.equal(filter(answer(tools)), answer('[{"name":"get_"}]'));
  });
});

describe('passed on byte by byte', () => {
  const same: readonly [what: string, body: string][] = [
    [
      'a list with nothing to take out',
      ` {"result": {"tools": [ {"name":"get_a" , "n":1.0} ] }}\n`,
    ],
    ['an empty list', answer('[]')],
    ['tools that are no list', answer('{"name":"put"}')],
    [
      'a list elsewhere',
      '{"params":{"tools":[{"name":"put"}]},"result":{"capabilities":{"tools":{}}}}',
    ],
    [
      'the result of a call about tools',
      '{"result":{"content":[{"type":"text","text":"{\\"tools\\":[]}"}]}}',
    ],
    ['nothing', ''],
    ['text', 'Bad Gateway: no tools here'],
    ['JSON with a mistake and without tools', '{"error":1,}'],
    ['a key twice and no tools', '{"result":{"content":[1],"content":[2]}}'],
  ];
  for (const [what, body] of same) {
    test(what, () => {
      const bytes = Buffer.from(body);
      assert.equal(filterToolList(bytes, admits), bytes);
    });
  }

  test('bytes that are not UTF-8', () => {
    const bytes = Buffer.from('{"result":{"content":"\xe9"},"x":"tools"}', 'latin1');
    assert.equal(filterToolList(bytes, admits), bytes);
  });
});

describe('refused, because a lenient client may read a list', () => {
  const list = answer('[{"name":"put"}]');
  const bad: readonly [what: string, body: string | Buffer][] = [
    ['a comma too many', `${list.slice(0, -1)},}`],
    ['two values', list + list],
    ['a comment', `/* */${list}`],
    ['no quotes', '{result:{tools:[{name:"put"}]}}'],
    ['a result twice', '{"result":{"tools":[{"name":"put"}]},"result":{}}'],
    ['tools twice', '{"result":{"tools":[{"name":"put"}],"tools":[]}}'],
    ['a name twice', answer('[{"name":"put","name":"get_a"}]')],
    ['UTF-16', Buffer.from(list, 'utf16le')],
    ['UTF-16, the other way', Buffer.from(list, 'utf16le').swap16()],
    ['escapes in no valid JSON', '{"result":{"\\u0074ools":[],}}'],
    ['a thousand levels', answer(`${'['.repeat(1000)}${']'.repeat(1000)}`)],
  ];
  for (const [what, body] of bad) {
    test(what, () => assert.match(filter(body), /^refused: .*, and may hold a list of tools$/u));
  }
});

test('a client finds exactly the tools that are admitted', () => {
  const name = fc.constantFrom('get_a', 'get_b', 'put', 'GET_A', '');
  const item = fc.oneof(
    fc.record({ name, inputSchema: fc.jsonValue({ maxDepth: 2 }) }, { requiredKeys: [] }),
    fc.jsonValue({ maxDepth: 1 }),
  );
  const message = fc.oneof(
    fc.array(item).map((tools) => ({ jsonrpc: '2.0', id: 1, result: { tools } })),
    fc.jsonValue({ maxDepth: 3 }).map((result) => ({ result })),
  );
  fc.assert(
    fc.property(fc.oneof(message, fc.array(message)), (body) => {
      const text = JSON.stringify(body);
      const filtered = JSON.parse(filter(text)) as typeof body;
      const expected = JSON.parse(text) as typeof body;
      for (const { result } of (Array.isArray(expected) ? expected : [expected]) as {
        result: unknown;
      }[]) {
        const tools = (result as { tools?: unknown } | null)?.tools;
        if (!Array.isArray(tools)) continue;
        (result as { tools: unknown[] }).tools = tools.filter((tool) => {
          const own = (tool as { name?: unknown } | null)?.name;
          return !Array.isArray(tool) && typeof own === 'string' && admits(own);
        });
      }
      assert.deepEqual(filtered, expected);
    }),
  );
});
