import assert from 'node:assert/strict';
import type http2 from 'node:http2';
import { after, afterEach, before, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import {
  answerAll,
  answering,
  once as answerOnce,
  head,
  ok as okWith,
} from '../support/http-stage.ts';
import { InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import type { Script } from '../support/origins.ts';

await enterNamespace(import.meta.filename);

/** What an origin says behind its answer, as if it were another one: nobody may ever hear it. */
const evil = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL';

let stage: InspectionStage;
before(async () => {
  stage = await InspectionStage.start();
  const tools = { allow: ['good'] };
  await stage.proxy.reload({
    'demo.yaml': stage.lists([
      'free.test',
      { host: 'api.test', methods: ['GET', 'HEAD'] },
      { host: 'hooks.test', tools },
    ]),
  });
});
after(async () => await stage[Symbol.asyncDispose]());
afterEach(() => {
  stage.script = answerAll;
});

/** What a client gets: the status, 0 if none, and everything it could read. */
interface Got {
  readonly status: number;
  readonly text: string;
}

async function askHttp2(host: string, method = 'GET'): Promise<Got> {
  const session = await stage.openHttp2(host);
  const got = await ask(session, method);
  session.destroy();
  return got;
}

async function ask(session: http2.ClientHttp2Session, method: string): Promise<Got> {
  const stream = session.request({ ':path': '/a', ':method': method });
  let status = 0;
  let text = '';
  stream.on('response', (fields) => {
    status = Number(fields[':status']);
  });
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  stream.on('error', () => undefined);
  stream.setTimeout(3000, () => stream.destroy());
  await new Promise((resolve) => stream.once('close', resolve));
  return { status, text };
}

/** Two requests at once: the answer to the second, if there is one, must be that of its own. */
async function askHttp1(host: string, method = 'GET'): Promise<Got> {
  const text = await stage.exchange(
    host,
    head(`${method} /a`, '', host) + head('GET /sentinel', 'Connection: close\r\n', host),
  );
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text };
}

/** Answers the first request with these bytes and every other with `sentinel`. */
function hostile(bytes: string): Script {
  return answering((text) => (text.includes('/sentinel') ? okWith('sentinel') : bytes));
}

const clients = { 'HTTP/1.1': askHttp1, 'HTTP/2': askHttp2 } as const;

/** Every header of which Node's HTTP/2 takes one line alone, and some that it never takes. */
const names = [
  'Content-Type',
  'ETag',
  'Date',
  'Location',
  'Retry-After',
  'Content-Encoding',
  'Content-Range',
  'Host',
  'X-Content-Type-Options',
  'Access-Control-Max-Age',
  'HTTP2-Settings',
  'TE',
  'Upgrade',
  'Keep-Alive',
  'Proxy-Connection',
  '__proto__',
  'constructor',
];

describe('an answer with a header twice', () => {
  for (const name of names) {
    const twice = `${name}: a\r\n${name}: b\r\n`;
    test(`${name} in its head, which comes alone`, async () => {
      stage.script = answerOnce(
        `HTTP/1.1 200 OK\r\n${twice}Content-Length: 2\r\n\r\n`,
        ({ socket }) =>
          void turn()
            .then(turn)
            .then(() => socket.write('ok')),
      );
      assert.deepEqual(await askHttp2('api.test'), { status: 200, text: 'ok' });
    });
    test(`${name} in its trailers`, async () => {
      stage.script = answerOnce(
        `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${twice}\r\n`,
      );
      assert.deepEqual(await askHttp2('api.test'), { status: 200, text: 'ok' });
    });
    test(`${name} before it`, async () => {
      stage.script = answerOnce(
        `HTTP/1.1 103 Early Hints\r\n${twice}\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`,
      );
      assert.deepEqual(await askHttp2('api.test'), { status: 200, text: 'ok' });
    });
  }
});

const ok = 'HTTP/1.1 200 OK\r\n';
const long = 'x'.repeat(70_000);

/** What an origin may say, and the statuses that clients may then see; 0: the connection ends. */
const answers: [what: string, bytes: string, statuses: readonly number[]][] = [
  [
    'a length and chunks',
    `${ok}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${evil}`,
    [502],
  ],
  ['two lengths', `${ok}Content-Length: 2\r\nContent-Length: 80\r\n\r\nok${evil}`, [502]],
  ['one length twice', `${ok}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok${evil}`, [502]],
  ['a list of lengths', `${ok}Content-Length: 2, 2\r\n\r\nok${evil}`, [502]],
  ['a signed length', `${ok}Content-Length: +2\r\n\r\nok${evil}`, [502]],
  [
    'a length beyond all numbers',
    `${ok}Content-Length: 18446744073709551618\r\n\r\nok${evil}`,
    [502],
  ],
  [
    'another coding below chunks',
    `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n${evil}`,
    [502],
  ],
  [
    'a coding that is almost chunked',
    `${ok}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${evil}`,
    [502],
  ],
  ['bare line feeds', `HTTP/1.1 200 OK\nContent-Length: 2\n\nok${evil}`, [502]],
  ['a folded line', `${ok}X-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok${evil}`, [502]],
  [
    'a carriage return in a value',
    `${ok}X-A: b\rSet-Cookie: c\r\nContent-Length: 2\r\n\r\nok`,
    [502],
  ],
  ['NUL in a value', `${ok}X-A: b\0c\r\nContent-Length: 2\r\n\r\nok`, [502]],
  ['a blank before the colon', `${ok}Content-Length : 2\r\n\r\nok${evil}`, [502]],
  ['a pseudo-header', `${ok}:status: 500\r\nContent-Length: 2\r\n\r\nok`, [502]],
  [
    'a switch of protocols that nobody asked for',
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n${evil}`,
    [502],
  ],
  [
    'a demand for credentials of the proxy',
    'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n',
    [502],
  ],
  ['a status beyond all', 'HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n', [502]],
  ['a status below all', 'HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n', [502]],
  ['a status of two digits', 'HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n', [502]],
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.6\r\n', [502]],
  ['a header of 70 KB', `${ok}X-A: ${long}\r\nContent-Length: 2\r\n\r\nok`, [502]],
  ['2,000 headers', `${ok}${'X-A: b\r\n'.repeat(2000)}Content-Length: 2\r\n\r\nok`, [502]],
  ['a body behind 204', `HTTP/1.1 204 No Content\r\n\r\n${evil}`, [204]],
  ['a body behind 304', `HTTP/1.1 304 Not Modified\r\nContent-Length: 69\r\n\r\n${evil}`, [304]],
  ['more than its length', `${ok}Content-Length: 2\r\n\r\nok${evil}`, [200]],
  [
    'more than its chunks',
    `${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${evil}`,
    [200],
  ],
  [
    'a control character in its phrase',
    `HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok`,
    [200, 502],
  ],
  ['other bytes in its phrase', `HTTP/1.1 200 \xe9\xff\r\nContent-Length: 2\r\n\r\nok`, [200]],
  [
    'a trailer that it announces',
    `${ok}Trailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: b\r\n\r\n`,
    [200],
  ],
  [
    'a trailer that it announces beside a length',
    `${ok}Trailer: X-A\r\nContent-Length: 2\r\n\r\nok`,
    [200],
  ],
  [
    'trailers that would be headers',
    `${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nConnection: x\r\nHost: a\r\nTE: b\r\n\r\n`,
    [200],
  ],
  [
    'a hundred informational answers',
    `${'HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n'.repeat(100)}${ok}Content-Length: 2\r\n\r\nok`,
    [200, 103],
  ],
];

for (const [version, get] of Object.entries(clients)) {
  describe(`an origin of HTTP/1.1 answers a client of ${version} with`, () => {
    for (const [what, bytes, statuses] of answers) {
      test(what, async () => {
        stage.script = hostile(bytes);
        const { status, text } = await get('api.test');
        assert.ok(!text.includes('EVIL'), text);
        assert.ok(statuses.includes(status), `${status} ${text.slice(0, 300)}`);
        if (status !== 502 && version === 'HTTP/1.1')
          assert.ok(text.endsWith('\r\n\r\nsentinel'), text);
        assert.equal(stage.proxy.running, true, stage.proxy.stderr);
      });
    }
  });
}

const list = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  result: { tools: [{ name: 'good' }, { name: 'BAD' }] },
});
const chunked = (type: string, body: string, more = '') =>
  `${ok}${type}${more}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\nX-A: b\r\n\r\n`;

/** Ways to show a client of MCP a list that it must not see. */
const lists: [what: string, bytes: string][] = [
  [
    'a trailer that it announces',
    chunked('Content-Type: application/json\r\n', list, 'Trailer: X-A\r\n'),
  ],
  [
    'two types, the last of which is harmless',
    chunked('Content-Type: application/json\r\nContent-Type: text/plain\r\n', list),
  ],
  [
    'two types, the first of which is harmless',
    chunked('Content-Type: text/plain\r\nContent-Type: application/json\r\n', list),
  ],
  ['two types in one line', chunked('Content-Type: text/plain, application/json\r\n', list)],
  [
    'two types in one line, turned round',
    chunked('Content-Type: application/json, text/plain\r\n', list),
  ],
  [
    'a parameter that is a type',
    chunked('Content-Type: text/plain; a="application/json"\r\n', list),
  ],
  [
    'events in a parameter',
    chunked('Content-Type: text/plain; text/event-stream\r\n', `data: ${list}\n\n`),
  ],
  ['JSON by another name', chunked('Content-Type: text/json\r\n', list)],
  ['JSON sequences', chunked('Content-Type: application/json-seq\r\n', `\x1e${list}\n`)],
  [
    'events under two types',
    chunked(
      'Content-Type: text/event-stream\r\nContent-Type: application/json\r\n',
      `data: ${list}\n\n`,
    ),
  ],
  ['no type', chunked('', list)],
  [
    'an unlikely coding',
    chunked('Content-Type: application/json\r\nContent-Encoding: identity, br\r\n', list),
  ],
];

for (const [version, get] of Object.entries(clients)) {
  describe(`an MCP server answers a client of ${version} with`, () => {
    for (const [what, bytes] of lists) {
      test(what, async () => {
        stage.script = hostile(bytes);
        const { text } = await get('hooks.test');
        assert.ok(!text.includes('BAD'), text);
        assert.equal(stage.proxy.running, true, stage.proxy.stderr);
      });
    }
  });
}

test('after all of it, others are served', async () => {
  for (const get of Object.values(clients)) assert.equal((await get('api.test')).status, 200);
  assert.doesNotMatch(stage.proxy.stderr, /"level":"(?:error|fatal)"/);
});
