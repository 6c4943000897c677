import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';
import { clientHello } from '../support/client-hello.ts';
import { until } from '../support/deadline.ts';
import { linesLike, waitForLine } from '../support/egress-lines.ts';
import { answerAll, answering, head, ok, summary } from '../support/http-stage.ts';
import { allow, demo, InspectionStage, second } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

let stage: InspectionStage;
before(async () => {
  stage = await InspectionStage.start({ limits: { 'hello-timeout': '1s' } });
});
after(async () => await stage[Symbol.asyncDispose]());
afterEach(() => {
  stage.script = answerAll;
});

const last = 'Connection: close\r\n';
const get = (path: string, more = '', host = 'api.test') => head(`GET ${path}`, more, host);
const served = (line: string) => `200 ${line} HTTP/1.1`;

describe('inside an inspected tunnel', () => {
  const cases: [what: string, bytes: string, answers: string][] = [
    ['a request is served', get('/public/a?b=c', last), served('GET /public/a?b=c')],
    [
      'requests that come at once are served in order',
      get('/public/1') + get('/public/2') + get('/public/3', last),
      ['1', '2', '3'].map((name) => served(`GET /public/${name}`)).join('|'),
    ],
    [
      'each request is decided alone',
      get('/public/1') + get('/secret') + get('/public/3'),
      `${served('GET /public/1')}|403 path_not_allowed`,
    ],
    ['HEAD has no body', head('HEAD /public/a', last, 'api.test'), '200 '],
    ['a method is refused', head('DELETE /public/a', '', 'api.test'), '403 method_not_allowed'],
    ['a method of another path', head('POST /public/a', '', 'api.test'), '403 path_not_allowed'],
    [
      'Host is compared as a name',
      get('/public/a', last, 'API.test.:443'),
      served('GET /public/a'),
    ],
    ['another Host', get('/public/a', '', 'hooks.test'), '403 host_mismatch'],
    ['another port', get('/public/a', '', 'api.test:80'), '403 host_mismatch'],
    ['two Hosts', get('/public/a', 'Host: api.test\r\n'), '400 bad_request'],
    ['no Host', 'GET /public/a HTTP/1.1\r\n\r\n', '400 bad_request'],
    ['a URL', get('https://api.test/public/a'), '400 bad_target'],
    ['a URL without TLS', get('http://api.test/public/a'), '400 bad_target'],
    ['our own pages', get('/policy', '', 'sallyport.internal'), '403 host_mismatch'],
    [
      'two lengths',
      head('POST /upload', 'Content-Length: 1\r\nContent-Length: 2\r\n', 'api.test'),
      '',
    ],
    [
      'length and chunks',
      head('POST /upload', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', 'api.test'),
      '',
    ],
    [
      'another upgrade',
      get('/public/a', 'Connection: Upgrade\r\nUpgrade: h2c\r\n'),
      '403 upgrade_not_allowed',
    ],
    [
      'a second method in a header',
      get('/public/a', 'X-HTTP-Method-Override: DELETE\r\n'),
      '403 method_not_allowed',
    ],
    ['a second method in the query', get('/public/a?x=1&_METHOD=DELETE'), '403 method_not_allowed'],
    ['the same, encoded', get('/public/a?%5fmethod=DELETE'), '403 method_not_allowed'],
    [
      'a method in the query of another key',
      get('/public/a?method=1', last),
      served('GET /public/a?method=1'),
    ],
    ['a byte of no path', get('/public/\xe9'), ''],
    ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n', ''],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', ''],
    ['a CONNECT', `CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\n${demo}\r\n`, ''],
  ];
  for (const [what, bytes, answers] of cases) {
    test(what, async () => {
      const before = stage.connections.length;
      assert.equal(summary(await stage.exchange('api.test', bytes)), answers);
      if (!answers.includes('200')) assert.equal(stage.connections.length, before);
    });
  }

  for (const path of [
    '/public/../secret',
    '/public/%2e%2e/secret',
    '/public/.%2E/secret',
    '/public/%252e%252e/secret',
    '/public/..%2fsecret',
    '/public/..%5csecret',
    '/public/..;/secret',
    '/public/;a=b/../secret',
    '/public//secret',
    '//public/secret',
    '/public/%c0%ae%c0%ae/secret',
    '/public/a%00',
    '/public/a%0d%0aX:%20y',
    '/public/%u002e%u002e/secret',
    '/public/.../secret',
    '/public/. ./secret'.replace(' ', '%20'),
    '/public/%ef%bc%8e%ef%bc%8e/secret',
    '/Public/a',
    '/public',
    '*',
    '/public\\..\\secret',
  ]) {
    test(`the path ${JSON.stringify(path)} is refused`, async () => {
      const before = stage.connections.length;
      const text = await stage.exchange('api.test', Buffer.from(get(path), 'latin1'));
      assert.match(text, /^HTTP\/1\.1 40[03] /);
      assert.match(text, /\r\nSallyport-Reason: (?:path_not_allowed|bad_target|bad_request)\r\n/);
      assert.equal(stage.connections.length, before);
    });
  }

  test('the log says what was in it, and no query', async () => {
    await stage.exchange('api.test', get('/public/logged?secret=1', last));
    const line = await waitForLine(stage.proxy.logFile, {
      path: '/public/logged',
      event: 'request',
    });
    const { agent, verdict, scheme, host, port, method, status, entry, token } = line;
    assert.deepEqual(
      { agent, verdict, scheme, host, port, method, status, entry },
      {
        agent: 'demo',
        verdict: 'allow',
        scheme: 'https',
        host: 'api.test',
        port: 443,
        method: 'GET',
        status: 200,
        entry: line.entry,
      },
    );
    assert.match(String(entry), /^demo\.yaml:\d+$/);
    assert.match(String(token), /^sha256:/);
    assert.equal(linesLike(stage.proxy.lines(), { event: 'open', id: line.id ?? '' }).length, 1);
    const tunnel = linesLike(stage.proxy.lines(), { event: 'close', method: 'CONNECT' }).at(-1);
    assert.deepEqual([tunnel?.sni, tunnel?.verdict, tunnel?.end], ['api.test', 'allow', 'client']);
  });

  test('the origin gets its own host, our Via, and no proxy credential', async () => {
    await stage.exchange(
      'api.test',
      get('/public/a', `${last}${demo}X-Forwarded-For: 1.2.3.4\r\n`),
    );
    const text = stage.connections.at(-1)?.text ?? '';
    assert.match(text, /^GET \/public\/a HTTP\/1\.1\r\nHost: api\.test\r\n/i);
    assert.match(text, /\r\nVia: 1\.1 sallyport\r\n/);
    assert.doesNotMatch(text, /proxy-authorization|x-forwarded-for/i);
  });

  test('one connection to the origin serves the requests of one tunnel, and of no other', async () => {
    const before = stage.connections.length;
    await stage.exchange('hooks.test', get('/1', '', 'hooks.test') + get('/2', last, 'hooks.test'));
    assert.equal(stage.connections.length, before + 1);
    const other = await stage.open('hooks.test', { as: second });
    other.write(get('/3', last, 'hooks.test'));
    await other.readToClose();
    assert.equal(stage.connections.length, before + 2);
    assert.match(stage.connections.at(-1)?.text ?? '', /^GET \/3 /);
  });

  test('a client that has said all still gets its answer', async () => {
    const client = await stage.open('api.test');
    client.write(get('/public/fin'));
    client.end();
    assert.equal(summary((await client.readToEnd()).toString()), served('GET /public/fin'));
    client.close();
  });

  test('a client that has gone from a stream of events is not waited for', async () => {
    let ended = false;
    stage.script = ({ socket }) => {
      socket.on('end', () => {
        ended = true;
      });
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n');
      });
    };
    const client = await stage.open('api.test');
    client.write(head('GET /public/events', '', 'api.test'));
    await client.readUntil('data: 1');
    client.socket.end();
    await until(
      () => ended,
      () => 'the origin still sends',
    );
    const path = '/public/events';
    const line = await waitForLine(stage.proxy.logFile, { event: 'request', path });
    assert.equal(line.end, 'client');
  });

  test('an upgrade behind a request has a connection of its own', async () => {
    const before = stage.connections.length;
    const client = await stage.open('hooks.test');
    client.write(get('/first', '', 'hooks.test'));
    assert.equal((await client.readResponse()).status, 200);
    stage.script = (received) => {
      received.socket.once('data', () => {
        const fields = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
        received.socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`);
      });
    };
    const fields =
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
    client.write(get('/ws', fields, 'hooks.test'));
    assert.match((await client.readUntil('\r\n\r\n')).toString(), /^HTTP\/1\.1 101 /);
    assert.equal(stage.connections.length, before + 2);
    client.close();
  });

  test('large bodies pass whole, both ways', async () => {
    const body = randomBytes(3_000_000);
    stage.script = (received) => {
      received.socket.on('data', () => {
        const at = received.bytes.indexOf('\r\n\r\n') + 4;
        if (received.bytes.length < at + body.length) return;
        received.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
        received.socket.write(received.bytes.subarray(at));
      });
    };
    const client = await stage.open('api.test');
    client.write(head('PUT /upload', `Content-Length: ${body.length}\r\n`, 'api.test'));
    client.write(body);
    const response = await client.readResponse();
    assert.equal(response.status, 200);
    const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    assert.equal(digest(response.body), digest(body));
    client.close();
  });

  test('a chunked body waits for 100 Continue, and passes', async () => {
    stage.script = answering((text) => ok(text.split('\r\n', 1)[0] ?? ''));
    const client = await stage.open('api.test');
    const fields = 'Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n';
    client.write(head('POST /upload', fields, 'api.test'));
    assert.match((await client.readUntil('\r\n\r\n')).toString(), /^HTTP\/1\.1 100 /);
    client.write('5\r\nhello\r\n0\r\n\r\n');
    assert.equal((await client.readResponse()).status, 200);
    await until(
      () => (stage.connections.at(-1)?.text ?? '').includes('hello'),
      () => 'the body did not arrive',
    );
    client.close();
  });

  test('an upload beyond the cap of the entry is refused', async () => {
    const fields = 'Content-Length: 200000\r\n';
    const text = await stage.exchange('hooks.test', head('POST /', fields, 'hooks.test'));
    assert.equal(summary(text), '413 upload_limit');
  });

  test('a WebSocket is joined', async () => {
    stage.script = (received) => {
      received.socket.once('data', () => {
        received.socket.write(
          'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
        );
        received.socket.on('data', (chunk: Buffer) => received.socket.write(chunk));
      });
    };
    const client = await stage.open('hooks.test');
    const fields =
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
    client.write(get('/ws', fields, 'hooks.test'));
    assert.match((await client.readUntil('\r\n\r\n')).toString(), /^HTTP\/1\.1 101 /);
    client.write('frames of any kind');
    assert.equal((await client.readBytes(18)).toString(), 'frames of any kind');
    client.close();
  });

  test('an address is inspected without SNI', async () => {
    stage.script = answerAll;
    const client = await RawClient.connect({ port: stage.proxy.port });
    assert.equal((await client.tunnel('93.184.215.14:443', demo)).status, 200);
    const secure = await client.startTls({ host: '93.184.215.14', ca: stage.authority });
    const inner = new RawClient(secure);
    inner.write(get('/', last, '93.184.215.14'));
    assert.equal(summary((await inner.readToClose()).toString()), served('GET /'));
    inner.close();
  });
});

describe('the other ends of an inspected tunnel', () => {
  for (const [host, why] of [
    ['expired.test', 'its certificate has expired'],
    ['wrong.test', 'its certificate is for another name'],
    ['stranger.test', 'no trusted root has signed its certificate'],
  ] as const) {
    test(`an origin with a bad certificate is 502: ${why}`, async () => {
      const text = await stage.exchange(host, get('/', '', host));
      assert.equal(summary(text), '502 upstream_tls');
      assert.ok(text.includes(why), text);
      const line = await waitForLine(stage.proxy.logFile, { host, event: 'request' });
      assert.deepEqual([line.reason, line.status, line.verdict], ['upstream_tls', 502, 'allow']);
    });
  }

  test('a client that does not trust the authority is cut, and the operators are told', async () => {
    const alert = Buffer.from('15030300020230', 'hex');
    const client = await RawClient.connect({ port: stage.proxy.port });
    assert.equal((await client.tunnel('api.test:443', demo)).status, 200);
    client.write(clientHello({ sni: 'api.test' }));
    client.write(alert);
    await client.readToClose();
    const line = await waitForLine(stage.proxy.logFile, { event: 'close', end: 'not_tls' });
    assert.deepEqual([line.host, line.verdict, line.reason], ['api.test', 'block', 'not_tls']);
    await until(
      () => stage.proxy.stderr.includes('does not trust the authority'),
      () => stage.proxy.stderr,
    );
    assert.match(stage.proxy.stderr, /"host":"api\.test","entry":"demo\.yaml:\d+"/);
  });

  test('a client that does not trust it and leaves without an alert is told of, too', async () => {
    await assert.rejects(stage.open('api.test', { ca: [], rejectUnauthorized: true }));
    await until(
      () => /"host":"api\.test".*a client left in the middle of it/u.test(stage.proxy.stderr),
      () => stage.proxy.stderr,
    );
  });

  test('another SNI is cut before TLS begins', async () => {
    await assert.rejects(stage.open('api.test', { servername: 'hooks.test' }));
    await waitForLine(stage.proxy.logFile, {
      event: 'close',
      end: 'sni_mismatch',
      sni: 'hooks.test',
    });
  });

  test('a handshake that does not go on is cut', async () => {
    const client = await RawClient.connect({ port: stage.proxy.port });
    assert.equal((await client.tunnel('api.test:443', demo)).status, 200);
    client.write(clientHello({ sni: 'api.test' }));
    await client.readToClose();
    await waitForLine(stage.proxy.logFile, { event: 'close', end: 'hello_timeout' });
  });

  test('a handshake that the client ends is over at once', async () => {
    const client = await RawClient.connect({ port: stage.proxy.port });
    assert.equal((await client.tunnel('api.test:443', demo)).status, 200);
    client.write(clientHello({ sni: 'api.test' }));
    const { localAddress, localPort } = client.socket;
    client.end();
    const close = { event: 'close', client: `${localAddress}:${localPort}` };
    const line = await waitForLine(stage.proxy.logFile, close);
    assert.equal(line.end, 'not_tls');
    client.close();
  });

  test('no session is resumed', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const client = await RawClient.connect({ port: stage.proxy.port });
      assert.equal((await client.tunnel('hooks.test:443', demo)).status, 200);
      const options = { servername: 'hooks.test', ca: stage.authority, maxVersion };
      const first = await client.startTls(options);
      const session = first.getSession();
      first.destroy();
      const again = await RawClient.connect({ port: stage.proxy.port });
      assert.equal((await again.tunnel('hooks.test:443', demo)).status, 200);
      const resumed = await again.startTls({ ...options, session });
      assert.equal(resumed.isSessionReused(), false);
      resumed.destroy();
    }
  });

  test('what needs no inspection is not inspected', async () => {
    const client = await RawClient.connect({ port: stage.proxy.port });
    assert.equal((await client.tunnel('free.test:443', demo)).status, 200);
    await assert.rejects(client.startTls({ servername: 'free.test', ca: stage.authority }));
  });

  test('/ca.pem is the authority, without a credential', async () => {
    const client = await RawClient.connect({ port: stage.proxy.port });
    client.write('GET /ca.pem HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.equal((await client.readResponse()).body.toString(), stage.authority);
    client.close();
  });

  test('a tunnel ends when its entry goes, and one that was not inspected when it must be', async () => {
    const inspected = await stage.open('hooks.test');
    inspected.write(get('/before', '', 'hooks.test'));
    assert.equal((await inspected.readResponse()).status, 200);
    const opaque = await RawClient.connect({ port: stage.proxy.port });
    assert.equal((await opaque.tunnel('free.test:443', demo)).status, 200);
    opaque.write(clientHello({ sni: 'free.test' }));
    await opaque.readBytes(5);
    const kept = await stage.open('api.test');
    const rest = allow.filter((entry) => entry !== 'free.test' && !isHost(entry, 'hooks.test'));
    const reloaded = [...rest, { host: 'free.test', methods: ['GET'] }];
    const answer = await stage.proxy.reload({ 'demo.yaml': stage.lists(reloaded) });
    assert.equal(answer.status, 200, answer.text);
    await inspected.readToClose();
    await opaque.readToClose();
    for (const host of ['hooks.test', 'free.test']) {
      const line = { event: 'close', method: 'CONNECT', host, end: 'policy_changed' };
      await waitForLine(stage.proxy.logFile, line);
    }
    kept.write(get('/public/after', last));
    assert.equal(summary((await kept.readToClose()).toString()), served('GET /public/after'));
    kept.close();
  });

  test('a tunnel ends with its grant', async () => {
    const until = new Date(Date.now() + 1500).toISOString();
    const short = { host: 'hooks.test', methods: ['GET'], until };
    await stage.proxy.reload({ 'demo.yaml': stage.lists([short]) });
    const client = await stage.open('hooks.test');
    client.write(get('/granted', '', 'hooks.test'));
    assert.equal((await client.readResponse()).status, 200);
    await client.readToClose();
    await waitForLine(stage.proxy.logFile, { event: 'close', end: 'entry_expired' });
  });

  test('every line of the log is whole', async () => {
    await stage.stop();
  });
});

function isHost(entry: unknown, host: string): boolean {
  return typeof entry === 'object' && (entry as { host: string }).host === host;
}
