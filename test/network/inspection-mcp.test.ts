import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { waitForLine } from '../support/egress-lines.ts';
import { answerAll, head, summary } from '../support/http-stage.ts';
import { InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import type { Script } from '../support/origins.ts';

await enterNamespace(import.meta.filename);

const host = 'api.test';
let stage: InspectionStage;
before(async () => {
  stage = await InspectionStage.start();
  await use({ tools: { allow: ['read_*', 'search'], deny: ['read_secret'], log: ['repo'] } });
});
after(async () => await stage[Symbol.asyncDispose]());
beforeEach(() => {
  stage.connections.length = 0;
  stage.script = answerAll;
});

async function use(...entries: readonly object[]): Promise<void> {
  const lists = stage.lists(entries.map((entry) => ({ host, ...entry })));
  assert.equal((await stage.proxy.reload({ 'demo.yaml': lists })).status, 200);
}

const call = (name: string, args: object = {}, id = 1): object => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args },
});

function post(body: string | object, more = ''): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const type = more.toLowerCase().includes('content-type')
    ? ''
    : 'Content-Type: application/json\r\n';
  const length = `Content-Length: ${Buffer.byteLength(text)}\r\n`;
  return head('POST /mcp', `${type}${length}${more}Connection: close\r\n`, host) + text;
}

const tools = ['read_file', 'read_secret', 'write_file', 'search'].map((name) => ({ name }));
const list = { jsonrpc: '2.0', id: 7, result: { tools } };

/** Answers with these bytes as this type. */
const answer =
  (type: string, body: string, more = ''): Script =>
  ({ socket }) => {
    socket.once('data', () => {
      const length = Buffer.byteLength(body);
      socket.end(
        `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n${more}\r\n${body}`,
      );
    });
  };

const bodyOf = (text: string): string => text.slice(text.indexOf('\r\n\r\n') + 4);

describe('a tool that is called', () => {
  const cases: [what: string, request: string, answer: RegExp][] = [
    ['is let through', post(call('read_file')), /^200/],
    ['is refused', post(call('write_file')), /^403 tool_not_allowed/],
    ['is refused by deny', post(call('read_secret')), /^403 tool_not_allowed/],
    ['is refused by deny in any case', post(call('read_SECRET')), /^403 tool_not_allowed/],
    ['in a batch', post([call('search'), call('write_file', {}, 2)]), /^403 tool_not_allowed/],
    ['in a batch that may', post([call('search'), call('read_file', {}, 2)]), /^200/],
    ['another method', post({ jsonrpc: '2.0', id: 1, method: 'tools/list' }), /^200/],
    [
      'with a name twice',
      post(
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","name":"write_file"}}',
      ),
      /^400/,
    ],
    [
      'with a Method beside its method',
      post(
        '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"write_file"}}',
      ),
      /^400/,
    ],
    ['in broken JSON', post('{"jsonrpc":"2.0"'), /^400/],
    ['in another coding', post(call('search'), 'Content-Encoding: gzip\r\n'), /^400/],
    ['in another type', post(call('search'), 'Content-Type: text/plain\r\n'), /^400/],
    [
      'in another charset',
      post(call('search'), 'Content-Type: application/json; charset=utf-7\r\n'),
      /^400/,
    ],
    ['under another name in a header', post(call('search'), 'Mcp-Name: write_file\r\n'), /^400/],
    ['by PUT', post(call('write_file')).replace('POST', 'PUT'), /^403 method_not_allowed/],
    ['by GET with a body', post(call('write_file')).replace('POST', 'GET'), /^400/],
    [
      'in an upgrade',
      head('GET /mcp', 'Connection: Upgrade\r\nUpgrade: websocket\r\n', host),
      /^403 upgrade_not_allowed/,
    ],
    ['in too long a body', post(call('search', { x: 'y'.repeat(1_100_000) })), /^413 upload_limit/],
  ];
  for (const [what, request, expected] of cases) {
    test(what, async () => {
      assert.match(summary(await stage.exchange(host, request)), expected);
      if (!expected.test('200')) assert.equal(stage.connections.length, 0);
      else
        assert.ok(
          stage.connections[0]?.text.endsWith(request.slice(request.indexOf('{'))) ||
            request.includes('['),
        );
    });
  }

  test('is in the log, with the arguments that the entry names', async () => {
    await stage.exchange(
      host,
      post(call('read_logged', { repo: 'example/shop', token: 'hidden' })),
    );
    const line = await waitForLine(stage.proxy.logFile, { event: 'request', tool: 'read_logged' });
    assert.equal(line.params, '{"repo":"example/shop"}');
    await stage.exchange(host, post(call('write_logged', { repo: 'example/other' })));
    const block = await waitForLine(stage.proxy.logFile, { event: 'block', tool: 'write_logged' });
    assert.deepEqual(
      [block.reason, block.params],
      ['tool_not_allowed', '{"repo":"example/other"}'],
    );
  });

  test('is judged by every entry of the host', async () => {
    await use({ tools: ['one'] }, { tools: ['two'] });
    assert.match(summary(await stage.exchange(host, post(call('two')))), /^200/);
    assert.match(summary(await stage.exchange(host, post([call('one'), call('two')]))), /^403/);
    stage.script = answer(
      'application/json',
      JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        result: { tools: [{ name: 'one' }, { name: 'two' }, { name: 'three' }] },
      }),
    );
    const text = await stage.exchange(host, post({ jsonrpc: '2.0', id: 1, method: 'tools/list' }));
    assert.deepEqual(JSON.parse(bodyOf(text)).result.tools, [{ name: 'one' }, { name: 'two' }]);
    await use({ tools: { allow: ['read_*', 'search'], deny: ['read_secret'], log: ['repo'] } });
  });

  test('is told by its name in a refusal that a model understands', async () => {
    const text = await stage.exchange(host, post(call('write_file')));
    const { error } = JSON.parse(bodyOf(text));
    assert.match(error.hint, /Tools there: read_\*, search but not read_secret/);
  });
});

describe('a list of tools', () => {
  const allowed = [{ name: 'read_file' }, { name: 'search' }];

  test('in JSON loses those that may not be called', async () => {
    stage.script = answer('application/json', JSON.stringify(list));
    const text = await stage.exchange(host, post({ jsonrpc: '2.0', id: 7, method: 'tools/list' }));
    assert.deepEqual(JSON.parse(bodyOf(text)), { ...list, result: { tools: allowed } });
    const length = /^content-length: ([0-9]+)\r$/im.exec(text)?.[1];
    assert.equal(Number(length), Buffer.byteLength(bodyOf(text)));
  });

  test('in events loses them as well, and other events stay', async () => {
    const events = `: hello\n\nevent: message\ndata: ${JSON.stringify(list)}\n\ndata: {"jsonrpc":"2.0","method":"notifications/x"}\n\n`;
    stage.script = answer('text/event-stream', events);
    const text = await stage.exchange(host, post({ jsonrpc: '2.0', id: 7, method: 'tools/list' }));
    assert.match(text, /: hello/);
    assert.match(text, /notifications\/x/);
    assert.doesNotMatch(text, /write_file|read_secret/);
    assert.match(text, /read_file/);
  });

  test('in events of a GET, too', async () => {
    stage.script = answer('text/event-stream', `data: ${JSON.stringify(list)}\n\n`);
    const text = await stage.exchange(host, head('GET /sse', 'Connection: close\r\n', host));
    assert.doesNotMatch(text, /write_file/);
    assert.match(text, /read_file/);
  });

  test('that is compressed is not passed on', async () => {
    stage.script = answer('application/json', 'x', 'Content-Encoding: gzip\r\n');
    const text = await stage.exchange(
      host,
      post({ jsonrpc: '2.0', id: 7, method: 'tools/list' }, 'Accept-Encoding: gzip\r\n'),
    );
    assert.equal(summary(text), '502 connect_failed');
    assert.match(stage.connections[0]?.text ?? '', /^accept-encoding: identity\r$/im);
    assert.doesNotMatch(stage.connections[0]?.text ?? '', /gzip/);
  });

  test('that is malformed is not passed on', async () => {
    stage.script = answer(
      'application/json',
      '{"result":{"tools":[{"name":"write_file"}]},"result":{}}',
    );
    const text = await stage.exchange(host, post({ jsonrpc: '2.0', id: 7, method: 'tools/list' }));
    assert.equal(summary(text), '502 connect_failed');
  });
});
