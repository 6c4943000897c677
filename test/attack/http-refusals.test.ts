import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { linesLike, onlyLine } from '../support/egress-lines.ts';
import { demo, HttpStage, head, second, summary } from '../support/http-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { header, parseHead } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

interface Refusal {
  readonly reason: string;
  readonly message: string;
  readonly host?: string;
  readonly id: string;
}

let stage: HttpStage;
before(async () => {
  stage = await HttpStage.start();
});
after(async () => await stage[Symbol.asyncDispose]());

const canary = 'Authorization: Bearer CANARY\r\nCookie: CANARY\r\n';
const upgrade = (protocol: string, more = '') =>
  `Connection: Upgrade\r\nUpgrade: ${protocol}\r\n${more}`;

describe('a refusal', () => {
  const cases: [request: string, status: number, reason: string, host?: string][] = [
    [head('GET http://evil.test/x', demo + canary), 403, 'host_not_allowed', 'evil.test'],
    [head('GET http://good.test:81/', demo), 403, 'port_not_allowed', 'good.test'],
    [head('GET http://tls.test:443/', demo), 403, 'scheme_not_allowed', 'tls.test'],
    [head('GET http://private.test/', demo), 403, 'address_not_allowed', 'private.test'],
    [head('POST http://api.test/public/x', demo), 403, 'method_not_allowed', 'api.test'],
    [head('GET http://api.test/secret', demo), 403, 'path_not_allowed', 'api.test'],
    [
      head('GET http://good.test/', demo + upgrade('h2c', 'HTTP2-Settings: AAMAAABk\r\n')),
      403,
      'upgrade_not_allowed',
      'good.test',
    ],
    [
      head('GET http://good.test/', demo + upgrade('TLS/1.0')),
      403,
      'upgrade_not_allowed',
      'good.test',
    ],
    [
      head('GET http://good.test/', demo + upgrade('websocket, h2c')),
      403,
      'upgrade_not_allowed',
      'good.test',
    ],
    [
      head('POST http://good.test/', demo + upgrade('websocket')),
      403,
      'upgrade_not_allowed',
      'good.test',
    ],
    [
      `${head('GET http://good.test/', demo + upgrade('websocket', 'Content-Length: 3\r\n'))}abc`,
      403,
      'upgrade_not_allowed',
      'good.test',
    ],
    [
      head('POST http://small.test/', `${demo}Content-Length: 100001\r\n`),
      413,
      'upload_limit',
      'small.test',
    ],
    [
      head('GET http://good.test/', `${demo}Via: 1.0 a, 1.1 sallyport\r\n`),
      508,
      'loop',
      'good.test',
    ],
    [head('GET http://good.test/'), 407, 'no_credentials', 'good.test'],
    [head('GET http://good.test/', demo + demo), 407, 'no_credentials', 'good.test'],
    [head('GET http://good.test/', second), 403, 'host_not_allowed', 'good.test'],
    [head('GET http://down.test/', demo), 502, 'connect_refused', 'down.test'],
    [head('GET https://good.test/', demo), 400, 'bad_target'],
    [head('GET ftp://good.test/', demo), 400, 'bad_target'],
    [head('GET http://u:p@good.test/', demo), 400, 'bad_target'],
    [head('GET http://good.test/#x', demo), 400, 'bad_target'],
    [head('GET http://good.test:/', demo), 400, 'bad_target'],
    [head('GET http://good.test/\\x', demo), 400, 'bad_target'],
    [head('GET http:///x', demo), 400, 'bad_target'],
    [head('GET /other'), 400, 'bad_request'],
    [head('OPTIONS *', demo), 400, 'bad_request'],
    [head('GET http://sallyport.internal/other', demo), 400, 'bad_request', 'sallyport.internal'],
    [
      head('POST http://good.test/', `${demo}Expect: y 100-continue\r\nContent-Length: 3\r\n`),
      417,
      'bad_request',
      'good.test',
    ],
  ];
  for (const [request, status, reason, host] of cases) {
    const failed = status === 502;
    test(`${status} ${reason} for ${request.split(' HTTP', 1)[0]}`, async () => {
      const seen = stage.received.length;
      const { text } = await stage.exchange(request + head('GET http://good.test/after', demo));
      const end = text.indexOf('\r\n\r\n') + 4;
      const answer = parseHead(text.slice(0, end));
      const { error } = JSON.parse(text.slice(end)) as { error: Refusal };
      assert.deepEqual([answer.status, header(answer, 'sallyport-reason')], [status, reason]);
      assert.equal(answer.reason, error.message, 'the status line says it in words');
      assert.match(
        header(answer, 'proxy-status') ?? '',
        new RegExp(`^sallyport; error=[a-z_]+;.* ?details="${reason}"$`),
      );
      assert.equal(header(answer, 'content-type'), 'application/json');
      assert.equal(header(answer, 'connection'), 'close');
      assert.equal(Number(header(answer, 'content-length')), text.length - end);
      const challenge = status === 407 ? 'Basic realm="sallyport"' : undefined;
      assert.equal(header(answer, 'proxy-authenticate'), challenge);
      assert.deepEqual([error.reason, error.host], [reason, host]);
      assert.equal(header(answer, 'sallyport-id'), error.id);
      assert.ok(!text.includes('CANARY'));
      assert.equal(stage.received.length, seen, 'nothing reached an origin');
      const line = onlyLine(stage.proxy.lines(), {
        id: error.id,
        event: failed ? 'open' : 'block',
      });
      assert.equal(line.status, status);
    });
  }
});

test('the refusal of a HEAD request ends with its head, that of the same GET', async () => {
  for (const [url, fields, status] of [
    ['http://evil.test/', demo, 403],
    ['http://good.test/', '', 407],
    ['http://down.test/', demo, 502],
  ] as const) {
    const { text: get } = await stage.exchange(head(`GET ${url}`, fields));
    const { text } = await stage.exchange(head(`HEAD ${url}`, fields));
    const answer = parseHead(text.slice(0, -4));
    assert.equal(answer.status, status);
    assert.ok(text.endsWith('\r\n\r\n'), text);
    const withContent = parseHead(get.slice(0, get.indexOf('\r\n\r\n')));
    assert.equal(header(answer, 'content-length'), header(withContent, 'content-length'));
  }
});

describe('a refusal comes at once and whole, whatever else is sent', () => {
  const big = Buffer.alloc(5_000_000, 65);
  const bodies: [what: string, fields: string, body: Buffer | string][] = [
    ['5 MB', 'Content-Length: 5000000\r\n', big],
    [
      '5 MB in chunks',
      'Transfer-Encoding: chunked\r\n',
      `4c4b40\r\n${big.toString()}\r\n0\r\n\r\n`,
    ],
    ['5 MB of another protocol', '', big],
    ['nothing but Expect', 'Expect: 100-continue\r\nContent-Length: 9\r\n', ''],
  ];
  for (const [what, fields, body] of bodies) {
    for (const [url, credential, wanted] of [
      ['http://evil.test/', demo, '403 host_not_allowed'],
      ['http://good.test/', '', '407 no_credentials'],
    ] as const) {
      test(`${wanted} behind ${what}`, async () => {
        const request = Buffer.from(head(`POST ${url}`, credential + fields));
        const { text, reset } = await stage.exchange(Buffer.concat([request, Buffer.from(body)]));
        assert.equal(summary(text), wanted);
        assert.equal(reset, false);
      });
    }
  }
});

describe('a path condition holds for every spelling', () => {
  const refused = [
    '/public/../secret',
    '/public/%2e%2e/secret',
    '/public/.%2e/',
    '/public/%2E./',
    '/public/..;/secret',
    '/public/x;a=1',
    '/public//x',
    '//public/x',
    '/./public/x',
    '/public/%2fsecret',
    '/public/%5csecret',
    '/public/%252e%252e/secret',
    '/public/%00',
    '/public/%0d%0aX',
    '/public/%7f',
    '/PUBLIC/x',
    '/public',
    '/public/%zz',
    '/public/%',
    '/public/%ff',
    '/public/%c0%af',
    '/public/x%23',
    '/publicx',
    '/',
  ];
  const allowed = [
    '/public/',
    '/public/x',
    '/public/a/b/c',
    '/public/x?q=/../secret',
    '/public/a%20b',
    '/public/caf%C3%A9',
  ];
  for (const path of [...refused, ...allowed]) {
    const wanted = allowed.includes(path) ? `200 GET ${path} HTTP/1.1` : '403 path_not_allowed';
    test(`${path} is ${wanted.slice(0, 3)}`, async () => {
      const { text } = await stage.exchange(
        head(`GET http://api.test${path}`, `${demo}Connection: close\r\n`),
      );
      assert.equal(summary(text), wanted);
    });
  }
});

describe('a query condition holds for every spelling', () => {
  const refused = [
    'service=push',
    'service=fetch&service=push',
    'service=fetch%26service=push',
    'service=fetch;service=push',
    'Service=push',
    'service[]=push',
    'page=1&&page=2',
    'serv%69ce=push',
    'serv%2569ce=push',
    'service=%66etch%00',
    'service=fetch%',
    'service=fetch+',
    'pa+ge=1',
    'page=%0d%0aservice=push',
    'other',
    '=',
  ];
  const allowed = ['', 'service=fetch', 'serv%69ce=%66etch', 'page', 'page=a%26b&page=2'];
  for (const query of [...refused, ...allowed]) {
    const passes = allowed.includes(query);
    test(`${query} is ${passes ? 200 : 403}`, async () => {
      const target = `http://query.test/a?${query}`;
      const { text } = await stage.exchange(head(`GET ${target}`, `${demo}Connection: close\r\n`));
      const wanted = passes ? `200 GET /a?${query} HTTP/1.1` : '403 path_not_allowed';
      assert.equal(summary(text), wanted);
    });
  }

  test('and its refusal says that it is the query, and which keys there are', async () => {
    const { text } = await stage.exchange(
      head('GET http://query.test/a?token=CANARY', `${demo}Connection: close\r\n`),
    );
    assert.match(
      text,
      /^HTTP\/1\.1 403 this query of query\.test is not allowed for agent demo\r\n/,
    );
    assert.match(text, /Query keys there: service, page\./);
    assert.doesNotMatch(text, /CANARY/);
  });
});

describe('the proxy speaks for itself', () => {
  const cases: [request: string, wanted: RegExp][] = [
    [head('GET /'), /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/plain/],
    [head('GET /health'), /^HTTP\/1\.1 200 OK\r\n[\s\S]*\{"status":"ok"\}/],
    ['GET /health HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 200 OK\r\n[\s\S]*\{"status":"ok"\}/],
    [head('GET /policy'), /^HTTP\/1\.1 407 /],
    [
      head('GET /policy', second),
      /^HTTP\/1\.1 200 OK\r\nContent-Type: application\/json\r\n[\s\S]*"agent": "second"[\s\S]*"other\.test"/,
    ],
    [head('GET http://sallyport.internal/', demo), /^HTTP\/1\.1 200 OK/],
    [head('GET http://sallyport.internal/health', demo), /^HTTP\/1\.1 200 OK/],
    [head('GET http://sallyport.internal/policy', demo), /"agent": "demo"/],
    [head('GET http://sallyport.internal/policy'), /^HTTP\/1\.1 407 /],
    [head('GET http://sallyport.internal:81/', demo), /^HTTP\/1\.1 403 [\s\S]*host_not_allowed/],
    [head('OPTIONS http://good.test/', `${demo}Max-Forwards: 0\r\n`), /^HTTP\/1\.1 200 OK/],
  ];
  for (const [request, wanted] of cases) {
    test(`${request.split('\r\n', 1)[0]} gives ${wanted.source.slice(0, 20)}`, async () => {
      const { text } = await stage.exchange(request, { fin: true });
      assert.match(text, wanted);
      assert.ok(!text.includes('the-long-random-token'));
    });
  }

  test('and refuses to be reached through itself', async () => {
    const { text } = await stage.exchange(head(`GET http://127.0.0.1:${stage.proxy.port}/`, demo));
    assert.equal(summary(text), '508 loop');
  });
});

test('the log is whole', async () => {
  const lines = await stage.stop();
  assert.ok(linesLike(lines, { event: 'block' }).length > 60);
});
