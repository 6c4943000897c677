import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { echo, type Http2Origin } from '../support/http2-origin.ts';
import { InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { data, type Fields, frame, frameTypes, headers, RawHttp2 } from '../support/raw-http2.ts';
import { type StrictRequest, strictRequests } from '../support/strict-requests.ts';

await enterNamespace(import.meta.filename);

let stage: InspectionStage;
let h2: Http2Origin;
before(async () => {
  stage = await InspectionStage.start();
  [h2] = stage.http2 as [Http2Origin];
  await stage.proxy.reload({
    'demo.yaml': stage.lists([
      { host: 'api.test', methods: ['GET', 'HEAD'], paths: ['/public/**'] },
      { host: 'hooks.test', paths: ['/**'] },
      { host: 'h2.test', paths: ['/**'] },
    ]),
  });
});
after(async () => await stage[Symbol.asyncDispose]());

async function connected(host: string): Promise<RawHttp2> {
  return new RawHttp2(await stage.openTls(host, { ALPNProtocols: ['h2'] }), 'client');
}

const pseudo = (host: string, path = '/public/a', method = 'GET'): [string, string][] => [
  [':method', method],
  [':scheme', 'https'],
  [':authority', host],
  [':path', path],
];

/** The pseudo-header fields, but for this one. */
const without = (name: string): Fields => pseudo('api.test').filter(([one]) => one !== name);
const like = (name: string, value: string): Fields => [...without(name), [name, value]];
const beside = (...more: Fields): Fields => [...pseudo('api.test'), ...more];

/** Statuses that say no; -1: reset, or the connection is over. */
const no = [-1, 400, 403, 417];

/** Requests that must not reach the origin, whatever it would make of them. */
const refused: [what: string, fields: Fields][] = [
  ['no :path', without(':path')],
  ['no :method', without(':method')],
  ['no :scheme', without(':scheme')],
  ['no :authority and no Host', without(':authority')],
  ['an empty :path', like(':path', '')],
  ['a star', like(':path', '*')],
  ['OPTIONS of a star', [...pseudo('api.test', '*', 'OPTIONS')]],
  ['a :path without its slash', like(':path', 'public/a')],
  ['absolute-form', like(':path', 'https://api.test/public/a')],
  ['absolute-form of another host', like(':path', 'http://evil.test/public/a')],
  ['an authority for a path', like(':path', '//evil.test/public/a')],
  ['a fragment', like(':path', '/public/a#/../secret')],
  ['an encoded fragment', like(':path', '/public/a%23/../../secret')],
  ['a space in the path', like(':path', '/public/a HTTP/1.1')],
  [
    'a request line in the path',
    like(':path', '/public/a HTTP/1.1\r\nHost: evil.test\r\n\r\nGET /x'),
  ],
  ['a tab in the path', like(':path', '/public/\ta')],
  ['NUL in the path', like(':path', '/public/a\0b')],
  ['DEL in the path', like(':path', '/public/a\x7f')],
  ['a byte beyond ASCII in the path', like(':path', '/public/\xe9')],
  ['dot segments', like(':path', '/public/../secret')],
  ['encoded dot segments', like(':path', '/public/%2e%2e/secret')],
  ['a backslash', like(':path', '/public/..\\secret')],
  ['a parameter', like(':path', '/public/..;/secret')],
  ['a path of 20 KB', like(':path', `/public/${'a'.repeat(20_000)}`)],
  [':path twice', beside([':path', '/secret'])],
  [':method twice', beside([':method', 'DELETE'])],
  [':scheme twice', beside([':scheme', 'http'])],
  [':authority twice', beside([':authority', 'evil.test'])],
  ['a pseudo-header behind a header', [...without(':path'), ['a', 'b'], [':path', '/public/a']]],
  ['an unknown pseudo-header', beside([':protocol', 'websocket'])],
  ['a pseudo-header of answers', beside([':status', '200'])],
  ['another scheme', like(':scheme', 'http')],
  ['an odd scheme', like(':scheme', 'https\r\n')],
  ['a method in lower case', like(':method', 'get')],
  ['a method with a blank', like(':method', 'GET ')],
  ['a method with a path', like(':method', 'GET /secret HTTP/1.1\r\nA: b\r\n\r\nGET')],
  ['an empty method', like(':method', '')],
  ['TRACE', like(':method', 'TRACE')],
  ['QUERY', like(':method', 'QUERY')],
  [
    'CONNECT',
    [
      [':method', 'CONNECT'],
      [':authority', 'evil.test:443'],
    ],
  ],
  ['CONNECT with a path', like(':method', 'CONNECT')],
  ['extended CONNECT', [...like(':method', 'CONNECT'), [':protocol', 'websocket']]],
  ['another authority', like(':authority', 'hooks.test')],
  ['another port', like(':authority', 'api.test:8443')],
  ['userinfo', like(':authority', 'hooks.test@api.test')],
  ['an empty authority', like(':authority', '')],
  ['an empty authority beside Host', [...like(':authority', ''), ['host', 'api.test']]],
  ['a list of authorities', like(':authority', 'api.test,evil.test')],
  ['another Host', beside(['host', 'hooks.test'])],
  ['another port in Host', beside(['host', 'api.test:80'])],
  ['an empty Host', beside(['host', ''])],
  ['a second, other Host', beside(['host', 'api.test'], ['host', 'evil.test'])],
  ['two Hosts alone', [...without(':authority'), ['host', 'api.test'], ['host', 'api.test']]],
  ['a method in a header', beside(['x-http-method-override', 'DELETE'])],
  ['an upper-case name', beside(['X-A', 'b'])],
  ['Transfer-Encoding in capitals', beside(['Transfer-Encoding', 'chunked'])],
  ['a blank behind a value', beside(['content-length', '0 '])],
  ['transfer-encoding', beside(['transfer-encoding', 'chunked'])],
  ['connection', beside(['connection', 'x-a'])],
  ['connection: close', beside(['connection', 'close'])],
  ['keep-alive', beside(['keep-alive', 'timeout=5'])],
  ['proxy-connection', beside(['proxy-connection', 'keep-alive'])],
  ['upgrade', beside(['upgrade', 'websocket'])],
  ['te: gzip', beside(['te', 'gzip'])],
  ['te: trailers, gzip', beside(['te', 'trailers, gzip'])],
  ['a length without a body', beside(['content-length', '5'])],
  ['two lengths', beside(['content-length', '0'], ['content-length', '0'])],
  ['a length that is none', beside(['content-length', '0x0'])],
  ['a signed length', beside(['content-length', '-1'])],
  ['an empty length', beside(['content-length', ''])],
  ['a list of lengths', beside(['content-length', '0, 0'])],
  ['another expectation', beside(['expect', '200-ok'])],
  [
    'a crowd of headers',
    beside(...Array.from({ length: 300 }, (_, i): [string, string] => [`x-${i}`, 'a'])),
  ],
  ['40 KB of headers', beside(['x-a', 'b'.repeat(40_000)])],
];

describe('a request in HTTP/2 goes nowhere with', () => {
  for (const [what, fields] of refused) {
    test(what, async () => {
      const before = stage.connections.length;
      const raw = await connected('api.test');
      raw.write(headers(1, fields));
      await raw.untilOver(1);
      const status = raw.statuses(1)[0] ?? -1;
      assert.ok(no.includes(status), String(status));
      raw.socket.destroy();
      assert.equal(stage.connections.length, before);
      assert.equal(stage.proxy.running, true, stage.proxy.stderr);
    });
  }
});

/**
 * Fields that nghttp2 leaves out in silence (RFC 9113 §8.2.1 would have the stream reset): nothing of
 * them may come through in any other form.
 */
const dropped: [what: string, field: [string, string]][] = [
  ['a colon in its name', ['x-evil:b', 'c']],
  ['a blank in its name', ['x-evil ', 'b']],
  ['a line end in its name', ['x-a\r\nx-evil', 'c']],
  ['no name', ['', 'evil']],
  ['NUL in its name', ['x\0evil', 'b']],
  ['a line end in its value', ['x-a', 'b\r\nx-evil: c']],
  ['a request in its value', ['x-a', 'b\r\n\r\nGET /evil HTTP/1.1\r\nHost: api.test\r\n\r\n']],
  ['a line feed in its value', ['x-a', 'b\nx-evil: d']],
  ['a carriage return in its value', ['x-a', 'b\rx-evil: c']],
  ['NUL in its value', ['x-a', 'b\0evil']],
  ['another control in its value', ['x-a', 'b\x01evil']],
  ['DEL in its value', ['x-a', 'b\x7fevil']],
  ['a line end in a cookie', ['cookie', 'a=b\r\nx-evil: c']],
  ['a line end in Host', ['host', 'api.test\r\nx-evil: c']],
  ['a line end in its length', ['content-length', '0\r\nx-evil: c']],
];

/** Every request that the origins of HTTP/1.1 got since `from`, read strictly. */
function atOrigin(from: number): StrictRequest[] {
  return stage.connections.slice(from).flatMap(({ text }) => strictRequests(text));
}

describe('a field in HTTP/2 does not come through with', () => {
  for (const [what, field] of dropped) {
    test(what, async () => {
      const from = stage.connections.length;
      const raw = await connected('hooks.test');
      raw.write(headers(1, [...pseudo('hooks.test'), field]));
      await raw.untilOver(1);
      raw.socket.destroy();
      const requests = atOrigin(from);
      assert.ok(requests.length <= 1);
      assert.doesNotMatch(JSON.stringify(requests), /evil/);
    });
  }
});

interface Sent {
  readonly what: string;
  readonly method: string;
  readonly fields?: Fields;
  readonly frames: readonly Buffer[];
  /** What the origin gets for a body; null: it gets no whole request. */
  readonly body: string | null;
}

const smuggled = 'GET /evil HTTP/1.1\r\nHost: hooks.test\r\n\r\n';
const trailers = (...fields: Fields): Buffer => headers(1, fields);

/** Requests with bodies, and what an origin must understand by them. */
const bodies: readonly Sent[] = [
  {
    what: 'a GET with a request in its body',
    method: 'GET',
    frames: [data(1, smuggled, true)],
    body: smuggled,
  },
  {
    what: 'a HEAD with a request in its body',
    method: 'HEAD',
    frames: [data(1, smuggled, true)],
    body: smuggled,
  },
  {
    what: 'a DELETE with a request in its body',
    method: 'DELETE',
    frames: [data(1, smuggled, true)],
    body: smuggled,
  },
  {
    what: 'an OPTIONS with a request in its body',
    method: 'OPTIONS',
    frames: [data(1, smuggled, true)],
    body: smuggled,
  },
  {
    what: 'a POST without a length',
    method: 'POST',
    frames: [data(1, 'a'), data(1, 'b', true)],
    body: 'ab',
  },
  {
    what: 'chunks in the body',
    method: 'POST',
    frames: [data(1, '0\r\n\r\n'), data(1, smuggled, true)],
    body: `0\r\n\r\n${smuggled}`,
  },
  { what: 'a POST of nothing', method: 'POST', frames: [data(1, '', true)], body: '' },
  {
    what: 'a thousand empty frames',
    method: 'POST',
    frames: [...Array.from({ length: 1000 }, () => data(1, '')), data(1, 'a', true)],
    body: null,
  },
  {
    what: 'a length that is too small',
    method: 'POST',
    fields: [['content-length', '1']],
    frames: [data(1, `a${smuggled}`, true)],
    body: null,
  },
  {
    what: 'a length that is too large',
    method: 'POST',
    fields: [['content-length', '9']],
    frames: [data(1, 'a', true)],
    body: null,
  },
  {
    what: 'a length of nothing',
    method: 'POST',
    fields: [['content-length', '0']],
    frames: [data(1, smuggled, true)],
    body: null,
  },
  {
    what: 'a length that lies on a GET',
    method: 'GET',
    fields: [['content-length', '0']],
    frames: [data(1, smuggled, true)],
    body: null,
  },
  {
    what: 'a body that is taken back',
    method: 'POST',
    frames: [data(1, 'a'), frame(frameTypes.reset, 0, 1, Buffer.of(0, 0, 0, 8))],
    body: null,
  },
  {
    what: 'a body that is taken back without an error',
    method: 'POST',
    frames: [data(1, 'a'), frame(frameTypes.reset, 0, 1, Buffer.of(0, 0, 0, 0))],
    body: null,
  },
  {
    what: 'trailers',
    method: 'POST',
    frames: [data(1, 'a'), trailers(['x-evil', 'b'])],
    body: 'a',
  },
  {
    what: 'trailers that are framing',
    method: 'POST',
    frames: [data(1, 'a'), trailers(['transfer-encoding', 'chunked'], ['content-length', '5'])],
    body: null,
  },
  {
    what: 'trailers that are credentials',
    method: 'POST',
    frames: [
      data(1, 'a'),
      trailers(['authorization', 'evil'], ['host', 'evil.test'], ['cookie', 'evil']),
    ],
    body: 'a',
  },
  {
    what: 'a path in its trailers',
    method: 'POST',
    frames: [data(1, 'a'), trailers([':path', '/evil'])],
    body: null,
  },
  {
    what: 'trailers that do not end it',
    method: 'POST',
    frames: [data(1, 'a'), headers(1, [['x-evil', 'b']], false)],
    body: null,
  },
  {
    what: 'a second head',
    method: 'POST',
    frames: [headers(1, pseudo('hooks.test', '/evil', 'POST'), false), data(1, 'a', true)],
    body: null,
  },
  {
    what: 'data behind its end',
    method: 'POST',
    frames: [data(1, 'a', true), data(1, smuggled, true)],
    body: null,
  },
  {
    what: 'padding that is longer than its frame',
    method: 'POST',
    frames: [frame(frameTypes.data, 9, 1, Buffer.of(200, 1, 2))],
    body: null,
  },
  {
    what: 'headers of another stream in between',
    method: 'POST',
    frames: [frame(frameTypes.headers, 0, 3, Buffer.of(0)), data(1, 'a', true)],
    body: null,
  },
];

/** Who waits for an answer to a request that was taken back waits in vain. */
const takesBack = ({ length, 3: type }: Buffer): boolean =>
  length === 13 && type === frameTypes.reset;

/** If the connection still stands, the next request on it is served as itself. */
async function sentinel(raw: RawHttp2, host: string): Promise<void> {
  if (raw.isOver(-1)) return;
  raw.write(headers(5, pseudo(host, '/sentinel')));
  await raw.untilOver(5);
  if (!raw.isOver(-1)) assert.deepEqual(raw.statuses(5), [200]);
}

/** Sends the request, then a sentinel, and waits for both. */
async function send(host: string, { method, fields = [], frames }: Sent): Promise<void> {
  const raw = await connected(host);
  raw.write(headers(1, [...pseudo(host, '/a', method), ...fields], false), ...frames);
  if (!frames.some(takesBack)) await raw.untilOver(1);
  await sentinel(raw, host);
  raw.socket.destroy();
  assert.equal(stage.proxy.running, true, stage.proxy.stderr);
}

describe('the body of a request in HTTP/2', () => {
  for (const sent of bodies) {
    const { what, method, body } = sent;
    test(`${what}, to an origin of HTTP/1.1`, async () => {
      const from = stage.connections.length;
      await send('hooks.test', sent);
      const requests = stage.connections
        .slice(from)
        .flatMap(({ text }) => strictRequests(text, true))
        .filter(({ line }) => line !== 'GET /sentinel HTTP/1.1');
      const whole = requests.map((one) => [one.line, one.body]);
      assert.deepEqual(whole, body === null ? [] : [[`${method} /a HTTP/1.1`, body]]);
      assert.doesNotMatch(JSON.stringify(requests.map((one) => one.headers)), /evil/);
    });
    test(`${what}, to an origin of HTTP/2`, async () => {
      const ended: string[] = [];
      h2.requests.length = 0;
      h2.listener = (request, response) => {
        request.once('end', () => {
          if (!request.aborted) ended.push(request.url);
        });
        echo(request, response);
      };
      await send('h2.test', sent);
      const requests = h2.requests.filter(({ path }) => path !== '/sentinel');
      if (body === null) assert.ok(!ended.includes('/a'), 'a broken body came whole');
      else
        assert.deepEqual(
          requests.map((one) => [one.method, one.path, one.body]),
          [[method, '/a', body]],
        );
      assert.doesNotMatch(JSON.stringify(requests.map((one) => one.headers)), /evil/);
    });
  }
});
