import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { answerAll, head } from '../support/http-stage.ts';
import { InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { data, type Fields, headers, RawHttp2 } from '../support/raw-http2.ts';

await enterNamespace(import.meta.filename);

const host = 'api.test';
let stage: InspectionStage;
before(async () => {
  stage = await InspectionStage.start();
  await stage.proxy.reload({
    'demo.yaml': stage.lists([{ host, tools: { allow: ['good', 'read_*'], deny: ['read_EVIL'] } }]),
  });
});
after(async () => await stage[Symbol.asyncDispose]());
beforeEach(() => {
  stage.connections.length = 0;
  stage.script = answerAll;
});

const received = (): string => stage.connections.map(({ text }) => text).join('');
const call = '"jsonrpc":"2.0","id":1,"method":"tools/call"';
const evil = `{${call},"params":{"name":"EVIL"}}`;
const good = `{${call},"params":{"name":"good"}}`;

/** Bodies by which some server would call EVIL. */
const bodies: [what: string, body: string | Buffer][] = [
  ['plainly', evil],
  ['in escapes', evil.replace('EVIL', '\\u0045VIL')],
  ['its method in escapes', evil.replace('tools/call', 'tools\\/call')],
  ['its method in other escapes', evil.replace('tools/call', '\\u0074ools/call')],
  ['its method in capitals', evil.replace('tools/call', 'TOOLS/CALL')],
  ['its method with a blank', evil.replace('tools/call', 'tools/call ')],
  ['its method with NUL', evil.replace('tools/call', 'tools/call\\u0000')],
  ['its method in wide letters', evil.replace('tools/call', 'ｔools/call')],
  ['a name in wide letters', evil.replace('EVIL', 'ＥVIL')],
  ['a name with a blank', evil.replace('EVIL', 'EVIL ')],
  ['a name behind NUL', evil.replace('EVIL', 'good\\u0000EVIL')],
  ['a name with an invisible letter', evil.replace('EVIL', 'read_\\u200bEVIL')],
  [
    'a name that deny has in another case',
    evil.replace('EVIL', 'read_evil').replace('read_evil', 'read_EViL'),
  ],
  ['a name that is a list', evil.replace('"EVIL"', '["EVIL"]')],
  ['a name that is an object', evil.replace('"EVIL"', '{"a":"EVIL"}')],
  ['a name twice', evil.replace('"name":"EVIL"', '"name":"EVIL","name":"good"')],
  ['a name twice, turned round', evil.replace('"name":"EVIL"', '"name":"good","name":"EVIL"')],
  [
    'a name twice, once in escapes',
    evil.replace('"name":"EVIL"', '"name":"good","n\\u0061me":"EVIL"'),
  ],
  ['a Name beside its name', evil.replace('"name":"EVIL"', '"name":"good","Name":"EVIL"')],
  ['params twice', `{${call},"params":{"name":"good"},"params":{"name":"EVIL"}}`],
  [
    'a method twice',
    `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"EVIL"}}`,
  ],
  ['params that are a list', `{${call},"params":["EVIL"]}`],
  ['params that are text', `{${call},"params":"{\\"name\\":\\"EVIL\\"}"}`],
  ['a batch', `[${good},${evil}]`],
  ['a batch in a batch', `[[${evil}]]`],
  ['a batch in an object', `{"0":${evil},"length":1,${call.slice(0, 16)}}`],
  ['a batch of two hundred', `[${Array.from({ length: 200 }, () => good).join(',')},${evil}]`],
  ['two bodies', `${good}${evil}`],
  ['two bodies in lines', `${good}\n${evil}\n`],
  ['a comma too many', `[${evil},]`],
  ['a comment', `/**/${evil}`],
  ['a byte order mark', `\ufeff${evil}`],
  ['UTF-16', Buffer.from(`\ufeff${evil}`, 'utf16le')],
  ['UTF-7', evil.replace('EVIL', '+AEU-VIL')],
  [
    'bytes that are no UTF-8',
    Buffer.from(`{${call},"params":{"name":"good","x":"\xff"},"y":"EVIL"}`, 'latin1'),
  ],
  [
    'overlong UTF-8',
    Buffer.concat([
      Buffer.from(`{${call},"params":{"name":"`),
      Buffer.of(0xc1, 0x85),
      Buffer.from('VIL"}}'),
    ]),
  ],
  [
    'depth',
    `{${call},"params":{"name":"EVIL","arguments":${'['.repeat(5000)}${']'.repeat(5000)}}}`,
  ],
  ['__proto__', `{${call},"params":{"__proto__":{"name":"EVIL"}}}`],
  ['a form', `jsonrpc=2.0&method=tools/call&name=EVIL`],
  ['events', `data: ${evil}\n\n`],
  ['an answer that is a request, too', evil.replace('{', '{"result":{},')],
];

const head1 = (more: string, method = 'POST'): string =>
  head(`${method} /mcp`, `Content-Type: application/json\r\n${more}Connection: close\r\n`, host);

function chunked(body: Buffer): string {
  let text = '';
  for (const byte of body) text += `1\r\n${String.fromCharCode(byte)}\r\n`;
  return `${text}0\r\nContent-Type: text/plain\r\nX-Name: EVIL\r\n\r\n`;
}

async function overHttp2(
  body: Buffer,
  more: Fields = [],
  method = 'POST',
  trailers: Fields = [],
): Promise<number> {
  const raw = new RawHttp2(await stage.openTls(host, { ALPNProtocols: ['h2'] }), 'client');
  raw.write(
    headers(
      1,
      [
        [':method', method],
        [':scheme', 'https'],
        [':authority', host],
        [':path', '/mcp'],
        ['content-type', 'application/json'],
        ...more,
      ],
      false,
    ),
  );
  for (let at = 0; at < body.length; at += 1000) raw.write(data(1, body.subarray(at, at + 1000)));
  raw.write(trailers.length > 0 ? headers(1, trailers) : data(1, '', true));
  await raw.untilOver(1);
  raw.socket.destroy();
  return raw.statuses(1)[0] ?? 0;
}

describe('a forbidden tool is not called', () => {
  for (const [what, body] of bodies) {
    const bytes = Buffer.from(body as string);
    test(`${what}, in one piece`, async () => {
      const text = await stage.exchange(
        host,
        Buffer.concat([Buffer.from(head1(`Content-Length: ${bytes.length}\r\n`)), bytes]),
      );
      assert.match(text, /^HTTP\/1\.1 40[03] /);
      assert.equal(received(), '');
    });
    if (bytes.length < 2000) {
      test(`${what}, byte by byte`, async () => {
        const text = await stage.exchange(
          host,
          Buffer.from(head1('Transfer-Encoding: chunked\r\n') + chunked(bytes), 'latin1'),
        );
        assert.match(text, /^HTTP\/1\.1 40[03] /);
        assert.equal(received(), '');
      });
    }
    test(`${what}, in HTTP/2`, async () => {
      assert.ok([400, 403].includes(await overHttp2(bytes)));
      assert.equal(received(), '');
    });
  }

  const plain = Buffer.from(good);
  for (const [what, more] of [
    ['another type', [['content-type', 'text/plain']]],
    ['another type with an underscore', [['content_type', 'text/plain']]],
    ['another coding', [['content-encoding', 'gzip']]],
    ['another name in a header', [['mcp-name', 'EVIL']]],
    ['another method in a header', [['mcp-method', 'EVIL']]],
    ['another name with an underscore', [['mcp_name', 'EVIL']]],
  ] as const satisfies readonly (readonly [string, Fields])[]) {
    test(`${what}, in HTTP/2`, async () => {
      const status = await overHttp2(plain, more);
      assert.ok(
        status === 400 || !/EVIL|text\/plain|gzip/.test(received()),
        `${status} ${received()}`,
      );
    });
  }
  for (const method of ['PUT', 'PATCH', 'DELETE', 'GET', 'OPTIONS', 'HEAD', 'QUERY', 'post']) {
    test(`by ${method} in HTTP/2`, async () => {
      assert.ok([400, 403].includes(await overHttp2(Buffer.from(evil), [], method)));
      assert.equal(received(), '');
    });
  }
  test('by trailers in HTTP/2', async () => {
    assert.equal(
      await overHttp2(plain, [], 'POST', [
        ['mcp-name', 'EVIL'],
        ['content-encoding', 'gzip'],
      ]),
      200,
    );
    assert.doesNotMatch(received(), /EVIL|gzip/);
  });
  test('and one that may be is, byte by byte, with one framing', async () => {
    const text = await stage.exchange(
      host,
      head1('Transfer-Encoding: chunked\r\n') + chunked(plain),
    );
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.match(received(), new RegExp(`content-length: ${plain.length}\r\n`, 'i'));
    assert.doesNotMatch(received(), /transfer-encoding|EVIL/i);
  });
});

const listed = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  result: { tools: [{ name: 'good' }, { name: 'EVIL' }] },
});

/** Event streams in which some client finds the list. */
const streams: [what: string, text: string][] = [
  ['one event', `data: ${listed}\n\n`],
  ['no blank behind the colon', `data:${listed}\n\n`],
  ['lines that end in CR', `data: ${listed}\r\r`],
  ['lines that end in CRLF', `id: 1\r\ndata: ${listed}\r\n\r\n`],
  ['an event in lines', `data: ${listed.replaceAll(',', ',\ndata: ')}\n\n`],
  ['an event that does not end', `data: ${listed}`],
  ['an event behind others', `: hello\n\ndata: 1\n\nevent: message\ndata: ${listed}\n\n`],
  ['a byte order mark', `\ufeffdata: ${listed}\n\n`],
  ['the list in a comment', `: ${listed}\n\n`],
  ['the list in its id', `id: ${listed}\ndata: 1\n\n`],
  ['a field in capitals', `DATA: ${listed}\n\n`],
  ['a field with a blank', ` data: ${listed}\n\n`],
  ['escapes', `data: ${listed.replace('tools', '\\u0074ools')}\n\n`],
  ['broken JSON', `data: ${listed.slice(0, -1)},}\n\n`],
];

describe('a list in events does not show what may not be called', () => {
  for (const [what, text] of streams) {
    for (const size of [1, 7, 100_000]) {
      test(`${what}, in pieces of ${size}`, async () => {
        stage.script = ({ socket }) => {
          socket.once('data', () => {
            socket.write(
              'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n',
            );
            const bytes = Buffer.from(text);
            for (let at = 0; at < bytes.length; at += size) {
              const piece = bytes.subarray(at, at + size);
              socket.write(
                Buffer.concat([
                  Buffer.from(`${piece.length.toString(16)}\r\n`),
                  piece,
                  Buffer.from('\r\n'),
                ]),
              );
            }
            socket.end('0\r\n\r\n');
          });
        };
        const answer = await stage.exchange(
          host,
          head('GET /mcp', 'Last-Event-ID: 0\r\nConnection: close\r\n', host),
        );
        assert.ok(!answer.replace(/\r\n[0-9a-f]+\r\n/g, '').includes('EVIL'), answer);
      });
    }
  }
  test('nor does one that is longer than the limit', async () => {
    stage.script = ({ socket }) => {
      socket.once('data', () => {
        socket.write(
          'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n',
        );
        socket.end(`${listed.slice(0, -1)},"x":"${'y'.repeat(17 * 1024 * 1024)}"}`);
      });
    };
    const answer = await stage.exchange(host, head('GET /mcp', 'Connection: close\r\n', host));
    assert.doesNotMatch(answer, /EVIL/);
    assert.match(answer, /^HTTP\/1\.1 502 /);
  });
});
