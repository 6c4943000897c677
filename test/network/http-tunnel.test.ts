import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { clientHello } from '../support/client-hello.ts';
import { until } from '../support/deadline.ts';
import { type EgressLine, linesLike } from '../support/egress-lines.ts';
import { answerAll, demo, HttpStage, head, once, summary } from '../support/http-stage.ts';
import { enterNamespace } from '../support/namespace.ts';

await enterNamespace(import.meta.filename);

let stage: HttpStage;
before(async () => {
  stage = await HttpStage.start();
});
after(async () => await stage[Symbol.asyncDispose]());
afterEach(() => {
  stage.script = answerAll;
});

const get = (path: string, host = 'good.test', more = '') => head(`GET ${path}`, more, host);
const last = 'Connection: close\r\n';
const end = { end: 'client', verdict: 'allow' } as const;
const cut = (reason: string) => ({ end: reason, reason, verdict: 'block' }) as const;

describe('inside a tunnel to an http entry', () => {
  const cases: [
    what: string,
    target: string,
    bytes: string | Buffer,
    answers: string,
    close: { end: string; reason?: string; verdict: 'allow' | 'block' },
  ][] = [
    [
      'requests are served',
      'good.test:80',
      get('/1') + get('/2', 'good.test', last),
      '200 GET /1 HTTP/1.1|200 GET /2 HTTP/1.1',
      end,
    ],
    [
      'Host is compared as a name',
      'good.test:80',
      get('/', 'GOOD.test.:80', last),
      '200 GET / HTTP/1.1',
      end,
    ],
    [
      'Host has the port',
      'good.test:8080',
      get('/', 'good.test:8080', last),
      '200 GET / HTTP/1.1',
      end,
    ],
    [
      'Host without the port is another',
      'good.test:8080',
      get('/'),
      '403 host_mismatch',
      cut('host_mismatch'),
    ],
    [
      'another Host is refused',
      'good.test:80',
      get('/', 'other.test') + get('/'),
      '403 host_mismatch',
      cut('host_mismatch'),
    ],
    [
      'two Hosts are malformed',
      'good.test:80',
      get('/', 'good.test', 'Host: good.test\r\n'),
      '400 bad_request',
      cut('bad_request'),
    ],
    [
      'no Host is malformed',
      'good.test:80',
      'GET / HTTP/1.1\r\n\r\n',
      '400 bad_request',
      cut('bad_request'),
    ],
    [
      'the URL counts, not Host',
      'good.test:80',
      get('http://good.test/u', 'evil.test', last),
      '200 GET /u HTTP/1.1',
      end,
    ],
    [
      'a URL that leads elsewhere is refused',
      'good.test:80',
      get('http://other.test/'),
      '403 host_mismatch',
      cut('host_mismatch'),
    ],
    [
      'a method is refused',
      'api.test:80',
      head('POST /public/x', '', 'api.test'),
      '403 method_not_allowed',
      cut('method_not_allowed'),
    ],
    [
      'a path is refused',
      'api.test:80',
      get('/secret', 'api.test'),
      '403 path_not_allowed',
      cut('path_not_allowed'),
    ],
    [
      'a path is allowed',
      'api.test:80',
      get('/public/x', 'api.test', last),
      '200 GET /public/x HTTP/1.1',
      end,
    ],
    ['another protocol is cut', 'good.test:80', 'SSH-2.0-OpenSSH\r\n', '', cut('bad_request')],
    [
      'bytes of any kind are cut',
      'good.test:80',
      Buffer.from([0, 1, 2, 3]),
      '',
      cut('bad_request'),
    ],
    ['TLS is cut', 'good.test:80', clientHello({ sni: 'good.test' }), '', cut('bad_request')],
    ['HTTP/2 is cut', 'good.test:80', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '', cut('bad_request')],
    [
      'a second CONNECT is cut',
      'good.test:80',
      `CONNECT other.test:80 HTTP/1.1\r\nHost: x\r\n${demo}\r\n`,
      '',
      cut('bad_request'),
    ],
    [
      'other bytes behind a request are cut',
      'good.test:80',
      `${get('/1')}XX YY\r\n\r\n`,
      '200 GET /1 HTTP/1.1',
      cut('bad_request'),
    ],
    [
      'https and http: http is served',
      'both.test:80',
      get('/', 'both.test', last),
      '200 GET / HTTP/1.1',
      end,
    ],
    [
      'https and http: neither is cut',
      'both.test:80',
      'SSH-2.0-OpenSSH\r\n',
      '',
      cut('bad_request'),
    ],
    [
      'our own pages are there',
      'sallyport.internal:80',
      get('/health', 'sallyport.internal', last),
      '200 {"status":"ok"}\n',
      end,
    ],
  ];
  for (const [what, target, bytes, answers, close] of cases) {
    test(what, async () => {
      const before = linesLike(stage.proxy.lines(), { event: 'close' }).length;
      const client = await stage.client();
      assert.equal((await client.tunnel(target, demo)).status, 200);
      client.write(bytes);
      assert.equal(summary((await client.readToClose()).toString('latin1')), answers);
      client.close();
      if (target.startsWith('sallyport')) return;
      const line = await nextClose(before);
      const { end: ended, reason, verdict } = line;
      assert.deepEqual({ end: ended, reason, verdict }, { reason: undefined, ...close });
      assert.ok((line.bytes_up ?? 0) >= bytes.length, JSON.stringify(line));
    });
  }

  test('a failing origin is 502, and the end of the tunnel its own', async () => {
    stage.script = once('garbage\r\n\r\n');
    const before = linesLike(stage.proxy.lines(), { event: 'close' }).length;
    const client = await stage.client();
    await client.tunnel('good.test:80', demo);
    client.write(get('/failing'));
    assert.equal(summary((await client.readToEnd()).toString('latin1')), '502 connect_failed');
    client.close();
    const { end: ended, verdict } = await nextClose(before);
    assert.deepEqual([ended, verdict], ['origin', 'allow']);
  });

  test('an origin that closes is connected to again', async () => {
    stage.script = once('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', ({ socket }) =>
      socket.end(),
    );
    const client = await stage.client();
    await client.tunnel('good.test:80', demo);
    for (const path of ['/first', '/again']) {
      client.write(get(path));
      assert.equal((await client.readResponse()).body.toString(), 'ok');
      await stage.connections.at(-1)?.waitForEnd();
    }
    client.close();
  });
});

/** The close line behind the first `count`. */
async function nextClose(count: number): Promise<EgressLine> {
  const closes = () => linesLike(stage.proxy.lines(), { event: 'close' });
  await until(
    () => closes().length > count,
    () => 'no close line',
  );
  return closes()[count] as EgressLine;
}

test('the log is whole: each tunnel its close, each request its own lines', async () => {
  const lines = await stage.stop();
  for (const line of linesLike(lines, { event: 'request' })) assert.equal(line.scheme, 'http');
  for (const line of linesLike(lines, { event: 'close' })) assert.equal(line.method, 'CONNECT');
});
