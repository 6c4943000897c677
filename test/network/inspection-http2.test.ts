import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../support/deadline.ts';
import { linesLike, readEgressLog, waitForLine } from '../support/egress-lines.ts';
import { answerAll } from '../support/http-stage.ts';
import { echo, type Http2Origin } from '../support/http2-origin.ts';
import { allow, InspectionStage, second } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import type { Received } from '../support/origins.ts';

await enterNamespace(import.meta.filename);

let stage: InspectionStage;
let h2: Http2Origin;
let both: Http2Origin;
before(async () => {
  stage = await InspectionStage.start({ limits: { 'hello-timeout': '2s' } });
  [h2, both] = stage.http2 as [Http2Origin, Http2Origin];
});
after(async () => await stage[Symbol.asyncDispose]());
afterEach(() => {
  stage.script = answerAll;
  h2.listener = echo;
  both.listener = echo;
});

interface Answer {
  readonly status: number;
  readonly headers: http2.IncomingHttpHeaders;
  readonly trailers: http2.IncomingHttpHeaders | null;
  readonly interim: readonly number[];
  readonly body: string;
  readonly rst: number;
}

/** Sends one request and reads its answer to the end. */
async function ask(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders | readonly string[],
  body?: string | Buffer,
): Promise<Answer> {
  const stream = session.request(headers as http2.OutgoingHttpHeaders, {
    endStream: body === undefined,
  });
  const interim: number[] = [];
  let trailers: http2.IncomingHttpHeaders | null = null;
  const chunks: Buffer[] = [];
  let head: http2.IncomingHttpHeaders = {};
  stream.on('headers', (information) => interim.push(Number(information[':status'])));
  stream.on('response', (response) => {
    head = response;
  });
  stream.on('trailers', (fields) => {
    trailers = fields;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => undefined);
  if (body !== undefined) stream.end(body);
  const late = setTimeout(() => stream.destroy(), 5000);
  await new Promise((resolve) => stream.once('close', resolve));
  clearTimeout(late);
  return {
    status: Number(head[':status'] ?? 0),
    headers: head,
    trailers,
    interim,
    body: Buffer.concat(chunks).toString('latin1'),
    rst: stream.rstCode ?? 0,
  };
}

async function askOnce(
  host: string,
  headers: http2.OutgoingHttpHeaders | readonly string[],
  body?: string | Buffer,
): Promise<Answer> {
  const session = await stage.openHttp2(host);
  try {
    return await ask(session, headers, body);
  } finally {
    session.close();
  }
}

describe('HTTP/2 inside an inspected tunnel', () => {
  for (const [host, what] of [
    ['api.test', 'an origin that speaks HTTP/1.1 alone'],
    ['h2.test', 'an origin that speaks HTTP/2 alone'],
    ['both.test', 'an origin that speaks both'],
  ] as const) {
    test(`a request is served by ${what}`, async () => {
      const { status, body } = await askOnce(host, { ':path': '/public/a?b=c' });
      assert.equal(status, 200);
      assert.match(body, /GET \/public\/a\?b=c/);
    });
  }

  test('is spoken to an origin that offers it, and HTTP/1.1 for a client of HTTP/1.1', async () => {
    both.requests.length = 0;
    await askOnce('both.test', { ':path': '/one' });
    const text = await stage.exchange(
      'both.test',
      'GET /two HTTP/1.1\r\nHost: both.test\r\nConnection: close\r\n\r\n',
    );
    assert.match(text, /^HTTP\/1.1 200 /);
    assert.deepEqual(
      both.requests.map(({ path, version }) => [path, version]),
      [
        ['/one', '2.0'],
        ['/two', '1.1'],
      ],
    );
  });

  test('a client of HTTP/1.1 reaches an origin of HTTP/2 alone', async () => {
    h2.requests.length = 0;
    const text = await stage.exchange(
      'h2.test',
      'POST /a HTTP/1.1\r\nHost: h2.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    );
    assert.match(text, /^HTTP\/1.1 200 [\s\S]*POST \/a abc/);
    const { headers, body } = h2.requests[0] ?? assert.fail();
    assert.equal(body, 'abc');
    assert.equal(headers[':authority'], 'h2.test');
    assert.equal(headers['transfer-encoding'], undefined);
  });

  test('requests at once share one connection to an origin that multiplexes', async () => {
    h2.requests.length = 0;
    h2.listener = (request, response) => {
      const wait = 5 * (20 - Number(request.url.slice(1)));
      setTimeout(() => response.end(`answer ${request.url}`), wait);
    };
    const session = await stage.openHttp2('h2.test');
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => ask(session, { ':path': `/${i}` })),
    );
    session.close();
    answers.forEach(({ status, body }, i) => {
      assert.equal(status, 200);
      assert.equal(body, `answer /${i}`);
    });
    assert.equal(new Set(h2.requests.map(({ connection }) => connection)).size, 1);
  });

  test('requests at once to an origin of HTTP/1.1 each get their own answer', async () => {
    const session = await stage.openHttp2('api.test');
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => ask(session, { ':path': `/public/${i}` })),
    );
    session.close();
    answers.forEach(({ status, body }, i) => {
      assert.equal(status, 200);
      assert.match(body, new RegExp(`^GET /public/${i} `));
    });
  });

  test('connections that it takes to an origin of HTTP/1.1 count as those of its agent', async () => {
    const entry = { host: 'api.test', methods: ['GET'] };
    const limited = stage.lists([entry], { limits: { connections: 3 } });
    assert.equal((await stage.proxy.reload({ 'demo.yaml': limited })).status, 200);
    // Those of the tests before this one count as well.
    await until(
      async () => (await stage.proxy.admin('/connections')).text === '{"connections":[]}\n',
      () => 'connections are left',
    );
    const held: Received[] = [];
    stage.script = (received) => held.push(received);
    const session = await stage.openHttp2('api.test');
    const asked = Array.from({ length: 6 }, (_, i) => ask(session, { ':path': `/${i}` }));
    await until(
      () => held.length === 3 && held.every(({ text }) => text.endsWith('\r\n\r\n')),
      () => `${held.length} connections`,
    );
    const early = await Promise.race([Promise.any(asked), delay(2_000)]);
    assert.equal(early?.status, 429);
    for (const { socket } of held) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    const statuses = (await Promise.all(asked)).map(({ status }) => status);
    assert.deepEqual(statuses.toSorted(), [200, 200, 200, 429, 429, 429]);
    // And they are given back.
    stage.script = answerAll;
    assert.equal((await ask(session, { ':path': '/again' })).status, 200);
    session.close();
    await stage.proxy.reload({ 'demo.yaml': stage.lists(allow) });
  });

  test('each request is decided alone, and a refusal ends its stream only', async () => {
    const session = await stage.openHttp2('api.test');
    const [good, path, method, later] = await Promise.all([
      ask(session, { ':path': '/public/1' }),
      ask(session, { ':path': '/secret' }),
      ask(session, { ':path': '/public/1', ':method': 'DELETE' }),
      ask(session, { ':path': '/public/2' }),
    ]);
    assert.deepEqual(
      [good, path, method, later].map(({ status }) => status),
      [200, 403, 403, 200],
    );
    assert.equal(path.headers['sallyport-reason'], 'path_not_allowed');
    assert.equal(path.headers.connection, undefined);
    assert.equal(JSON.parse(path.body).error.reason, 'path_not_allowed');
    assert.equal(method.headers['sallyport-reason'], 'method_not_allowed');
    session.close();
    const line = await waitForLine(stage.proxy.logFile, {
      event: 'block',
      reason: 'path_not_allowed',
      path: '/secret',
    });
    assert.equal(line.agent, 'demo');
  });

  const malformed: [what: string, headers: readonly string[], status: number][] = [
    ['another :authority', [':path', '/public/a', ':authority', 'hooks.test'], 403],
    ['another :authority that is allowed', [':path', '/public/a', ':authority', 'free.test'], 403],
    [
      'a Host beside another :authority',
      [':path', '/public/a', ':authority', 'api.test', 'host', 'hooks.test'],
      400,
    ],
    ['a URL for a path', [':path', 'https://api.test/public/a'], 0],
    ['another :scheme', [':path', '/public/a', ':scheme', 'http'], 400],
    ['a dot segment', [':path', '/public/../secret'], 403],
    ['an encoded slash', [':path', '/public/..%2fsecret'], 403],
    ['a fragment', [':path', '/public/a#b'], 400],
    ['another method in a header', [':path', '/public/a', 'x-http-method-override', 'DELETE'], 403],
    ['our own name', [':path', '/policy', ':authority', 'sallyport.internal'], 403],
  ];
  for (const [what, headers, status] of malformed) {
    test(`${what} goes nowhere`, async () => {
      const before = stage.connections.length;
      const full = [':method', 'GET', ...defaults(headers), ...headers];
      const answer = await askOnce('api.test', full);
      assert.equal(answer.status, status, answer.body);
      assert.equal(stage.connections.length, before);
    });
  }

  test('Host alone names the target', async () => {
    const { status, body } = await askOnce('api.test', [
      ':method',
      'GET',
      ':scheme',
      'https',
      ':path',
      '/public/a',
      'host',
      'api.test',
    ]);
    assert.equal(status, 200, body);
  });

  test('a head of too many lines is refused, and has its line in the log', async () => {
    const lines = Array.from({ length: 120 }, (_, i) => [`x-${i}`, 'v'] as const);
    const { status } = await askOnce('api.test', {
      ':path': '/many',
      ...Object.fromEntries(lines),
    });
    assert.equal(status, 400);
    await waitForLine(stage.proxy.logFile, {
      event: 'block',
      reason: 'bad_request',
      agent: 'demo',
      host: 'api.test',
      method: 'GET',
    });
  });

  test('cookies become one line again, and hop-by-hop fields stay here', async () => {
    stage.connections.length = 0;
    await askOnce('api.test', [
      ':method',
      'GET',
      ':scheme',
      'https',
      ':authority',
      'api.test',
      ':path',
      '/public/a',
      'cookie',
      'a=1',
      'te',
      'trailers',
      'cookie',
      'b=2',
      'x-forwarded-for',
      '10.0.0.1',
    ]);
    const text = stage.connections[0]?.text ?? '';
    assert.match(text, /^cookie: a=1; b=2\r$/m);
    assert.doesNotMatch(text, /^te:|x-forwarded-for/im);
    assert.match(text, /^host: api.test\r$/m);
    assert.match(text, /^Via: 2.0 sallyport\r$/m);
  });

  test('bodies go both ways, whole, and with backpressure', async () => {
    const bytes = randomBytes(3_000_000);
    h2.listener = (request, response) => {
      response.setHeader('x-length', request.headers['content-length'] ?? 'none');
      request.pipe(response);
    };
    for (const headers of [{}, { 'content-length': String(bytes.length) }]) {
      const answer = await askOnce(
        'h2.test',
        { ':method': 'PUT', ':path': '/echo', ...headers },
        bytes,
      );
      assert.equal(answer.status, 200);
      const digest = (data: Buffer) => createHash('sha256').update(data).digest('hex');
      assert.equal(digest(Buffer.from(answer.body, 'latin1')), digest(bytes));
    }
  });

  test('a body without a length reaches an origin of HTTP/1.1 with one framing', async () => {
    stage.connections.length = 0;
    const answer = await askOnce('api.test', { ':method': 'POST', ':path': '/upload' }, 'hello');
    assert.equal(answer.status, 200);
    const text = stage.connections[0]?.text ?? '';
    assert.match(
      text,
      /content-length: 5\r\n\r\nhello$|transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/i,
    );
  });

  test('a length that the frames do not keep goes nowhere', async () => {
    stage.connections.length = 0;
    const answer = await askOnce(
      'api.test',
      { ':method': 'POST', ':path': '/upload', 'content-length': '3' },
      'hello GET /secret HTTP/1.1',
    );
    assert.notEqual(answer.status, 200);
    assert.doesNotMatch(stage.connections.map(({ text }) => text).join(''), /secret/);
  });

  test('trailers and informational answers come through', async () => {
    h2.listener = (_request, response) => {
      response.writeEarlyHints({ link: '</a.css>; rel=preload' });
      response.addTrailers({ 'grpc-status': '0', 'x-sum': 'abc' });
      response.end('body');
    };
    const answer = await askOnce('h2.test', { ':path': '/a', te: 'trailers' });
    assert.deepEqual(answer.interim, [103]);
    assert.equal(answer.body, 'body');
    assert.equal(answer.trailers?.['grpc-status'], '0');
    assert.equal(answer.trailers?.['x-sum'], 'abc');
    const { te } = h2.requests.at(-1)?.headers ?? {};
    assert.equal(te, 'trailers');
  });

  test('trailers that are there before the body is read cost nothing of it', async () => {
    const body = randomBytes(5_000_000);
    h2.listener = (_request, response) => {
      response.setHeader('trailer', 'x-sum');
      response.write(body);
      response.addTrailers({ 'x-sum': '1' });
      response.end();
    };
    const session = await stage.openHttp2('h2.test');
    const stream = session.request({ ':path': '/whole' });
    const chunks: Buffer[] = [];
    let trailers: http2.IncomingHttpHeaders = {};
    stream.on('trailers', (fields) => {
      trailers = fields;
    });
    for await (const chunk of stream) {
      chunks.push(chunk as Buffer);
      if (chunks.length < 20) await delay(5);
    }
    assert.equal(Buffer.concat(chunks).length, body.length);
    assert.ok(Buffer.concat(chunks).equals(body));
    assert.equal(trailers['x-sum'], '1');
    session.close();
  });

  test('an answer that is its head alone ends with it', async () => {
    h2.listener = (_request, response) => {
      response.stream.respond({ ':status': 200, 'grpc-status': '5' }, { endStream: true });
    };
    const session = await stage.openHttp2('h2.test');
    const stream = session.request({ ':path': '/a', ':method': 'POST' });
    const [, flags] = (await once(stream, 'response')) as [unknown, number];
    stream.resume();
    await once(stream, 'close');
    session.close();
    assert.equal(flags & 1, 1);
  });

  test('server-sent events come as they are sent', async () => {
    let send: (text: string) => void = () => undefined;
    h2.listener = (_request, response) => {
      response.stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
      send = (text) => response.stream.write(text);
    };
    const session = await stage.openHttp2('h2.test');
    const stream = session.request({ ':path': '/events' });
    await once(stream, 'response');
    for (const text of ['data: 1\n\n', 'data: 2\n\n']) {
      send(text);
      const [chunk] = (await once(stream, 'data')) as [Buffer];
      assert.equal(chunk.toString(), text);
    }
    stream.close();
    session.close();
  });

  test('HEAD, 204 and 304 have no body', async () => {
    h2.listener = (request, response) => {
      response.statusCode = Number(request.url.slice(1));
      response.end();
    };
    const session = await stage.openHttp2('h2.test');
    const head = await ask(session, { ':method': 'HEAD', ':path': '/200' });
    const none = await ask(session, { ':path': '/204' });
    const same = await ask(session, { ':path': '/304' });
    session.close();
    assert.deepEqual(
      [head, none, same].map(({ status, body }) => [status, body]),
      [
        [200, ''],
        [204, ''],
        [304, ''],
      ],
    );
  });

  test('an answer that breaks off is not a whole one', async () => {
    h2.listener = (_request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half');
      setTimeout(() => response.stream.close(2), 50);
    };
    const answer = await askOnce('h2.test', { ':path': '/a' });
    assert.equal(answer.body, 'half');
    assert.notEqual(answer.rst, 0);
  });

  test('a request that the client takes back ends at the origin', async () => {
    let closed = false;
    h2.listener = (request, response) => {
      request.stream.on('close', () => {
        closed = true;
      });
      response.writeHead(200);
      response.write('begin');
    };
    const session = await stage.openHttp2('h2.test');
    const stream = session.request({ ':path': '/endless' });
    stream.on('error', () => undefined);
    await once(stream, 'data');
    stream.close(8);
    await until(
      () => closed,
      () => 'the origin still sends',
    );
    const { status } = await ask(session, { ':path': '/endless-not', ':method': 'HEAD' });
    assert.equal(status, 200);
    session.close();
    const line = await waitForLine(stage.proxy.logFile, { event: 'request', path: '/endless' });
    assert.equal(line.end, 'client');
  });

  test('a client that ends without a GOAWAY is gone, and what it asked for with it', async () => {
    let closed = false;
    h2.listener = (request, response) => {
      request.stream.on('close', () => {
        closed = true;
      });
      response.writeHead(200);
      response.write('begin');
    };
    const socket = await stage.openTls('h2.test', { ALPNProtocols: ['h2'] });
    const session = http2.connect('https://h2.test', { createConnection: () => socket });
    session.on('error', () => undefined);
    const stream = session.request({ ':path': '/left' });
    stream.on('error', () => undefined);
    await once(stream, 'data');
    socket.end();
    await until(
      () => closed,
      () => 'the origin still sends',
    );
    const { client = '' } = await waitForLine(stage.proxy.logFile, {
      event: 'request',
      path: '/left',
    });
    const close = await waitForLine(stage.proxy.logFile, { event: 'close', client });
    assert.deepEqual([close.end, close.verdict], ['client', 'allow']);
    session.destroy();
  });

  test('an upload cap ends the stream alone', async () => {
    stage.script = () => undefined;
    const session = await stage.openHttp2('hooks.test');
    const answer = await ask(session, { ':method': 'POST', ':path': '/' }, randomBytes(200_000));
    assert.equal(answer.status, 413);
    stage.script = answerAll;
    const { status } = await ask(session, { ':path': '/after' });
    assert.equal(status, 200);
    session.close();
  });

  // As curl leaves: without a word on HTTP/2, and with a body that nobody wants half sent.
  test('a client that has gone leaves no tunnel behind', async () => {
    const socket = await stage.openTls('api.test', { ALPNProtocols: ['h2'] });
    const session = http2.connect('https://api.test', { createConnection: () => socket });
    session.on('error', () => undefined);
    const path = '/gone';
    const request = { ':method': 'DELETE', ':path': path };
    const stream = session.request(request, { endStream: false });
    stream.on('error', () => undefined).resume();
    stream.write(Buffer.alloc(1_000_000));
    await once(stream, 'response');
    const line = await waitForLine(stage.proxy.logFile, { event: 'block', path });
    socket.destroySoon();
    await waitForLine(stage.proxy.logFile, { event: 'close', client: line.client as string });
  });

  test('agents see only their own entries', async () => {
    const session = await stage.openHttp2('hooks.test', { as: second });
    assert.equal((await ask(session, { ':path': '/a' })).status, 200);
    assert.equal((await ask(session, { ':method': 'POST', ':path': '/a' }, 'x')).status, 403);
    session.close();
  });

  test('another protocol than those two is refused in the handshake', async () => {
    await assert.rejects(stage.openTls('api.test', { ALPNProtocols: ['acme-tls/1'] }));
  });

  test('the tunnel and each request have their lines', async () => {
    const session = await stage.openHttp2('h2.test');
    await ask(session, { ':path': '/logged?secret=1' });
    session.close();
    const request = await waitForLine(stage.proxy.logFile, { event: 'request', path: '/logged' });
    assert.equal(request.method, 'GET');
    assert.equal(request.scheme, 'https');
    assert.equal(request.status, 200);
    const client = request.client ?? '';
    const close = await waitForLine(stage.proxy.logFile, { event: 'close', client });
    assert.ok(Number(close.bytes_up) > 50, JSON.stringify(close));
    assert.ok(Number(close.bytes_down) > 50, JSON.stringify(close));
    assert.equal(
      linesLike(readEgressLog(stage.proxy.logFile), { event: 'open', path: '/logged' }).length,
      1,
    );
  });
});

function defaults(headers: readonly string[]): string[] {
  const list: string[] = [];
  if (!headers.includes(':scheme')) list.push(':scheme', 'https');
  if (!headers.includes(':authority')) list.push(':authority', 'api.test');
  return list;
}
