import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { answerAll, demo, HttpStage, head, ok, once } from '../support/http-stage.ts';
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

/** Sends one request with these fields and gives the lines of the head that the origin got. */
async function arrives(line: string, fields: string, body = ''): Promise<string[]> {
  const before = stage.connections.length;
  const { text } = await stage.exchange(head(line, `Connection: close\r\n${demo}${fields}`) + body);
  assert.match(text, /^HTTP\/1\.1 200 /);
  const [connection] = stage.connections.slice(before);
  return (connection?.text.split('\r\n\r\n', 1)[0] ?? '').split('\r\n');
}

const named = (lines: readonly string[], name: string) =>
  lines.filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`));

describe('what reaches the origin', () => {
  const kept: [what: string, fields: string][] = [
    ['case, repeats and their order', 'X-One: 1\r\nx-one: 2\r\nX-ONE: 3\r\n'],
    ['bytes above 127', 'X-Bytes: \x80\xff\xe9\r\n'],
    ['tabs inside a value', 'X-Tab: a\tb\r\n'],
    ['names that objects have', '__proto__: 1\r\nconstructor: 2\r\ntoString: 3\r\n'],
    ['what is meant for the origin', 'Authorization: Basic eA==\r\nCookie: a=b\r\n'],
    ['ranges and conditions', 'Range: bytes=0-1\r\nIf-Range: "x"\r\nIf-None-Match: "y"\r\n'],
    ['codings of content', 'Accept-Encoding: br;q=1.0\r\n'],
    ['an empty value', 'X-Empty: \r\n'],
  ];
  for (const [what, fields] of kept) {
    test(`keeps ${what}`, async () => {
      const lines = await arrives('GET http://good.test/', fields);
      const wanted = fields.split('\r\n').slice(0, -1);
      const found = lines.filter((line) => wanted.includes(line));
      assert.deepEqual(found, wanted, lines.join('\n'));
    });
  }

  const dropped: [what: string, fields: string, ...names: string[]][] = [
    ['our credential', '', 'Proxy-Authorization'],
    [
      'what is for one hop',
      'TE: trailers\r\nKeep-Alive: 5\r\nTrailer: X\r\n',
      'TE',
      'Keep-Alive',
      'Trailer',
    ],
    ['Proxy-Connection', 'Proxy-Connection: keep-alive\r\n', 'Proxy-Connection'],
    [
      'what Connection names',
      'connection: X-Hop, x-hop2\r\nX-Hop: 1\r\nX-HOP2: 1\r\n',
      'X-Hop',
      'X-Hop2',
    ],
    ['an upgrade not asked for by Connection', 'Upgrade: websocket\r\n', 'Upgrade'],
    [
      'claims about the client',
      'Forwarded: for=1\r\nX-Forwarded-For: 1\r\nX-Real-IP: 1\r\n',
      'Forwarded',
      'X-Forwarded-For',
      'X-Real-IP',
    ],
    [
      'claims about the target',
      'X-Forwarded-Host: e\r\nX-Original-URL: /e\r\nX-Rewrite-URL: /e\r\n',
      'X-Forwarded-Host',
      'X-Original-URL',
      'X-Rewrite-URL',
    ],
    [
      'their spellings with underscores',
      'X_Forwarded_For: 1\r\nTransfer_Encoding: chunked\r\nContent_Length: 3\r\n',
      'X_Forwarded_For',
      'Transfer_Encoding',
      'Content_Length',
    ],
  ];
  for (const [what, fields, ...names] of dropped) {
    test(`is without ${what}`, async () => {
      const lines = await arrives('GET http://good.test/', fields);
      for (const name of names) assert.deepEqual(named(lines, name), []);
    });
  }

  const hosts: [url: string, host: string, line: string][] = [
    ['http://good.test/a?b=c', 'good.test', 'GET /a?b=c HTTP/1.1'],
    ['http://good.test:80/', 'good.test', 'GET / HTTP/1.1'],
    ['HTTP://GOOD.test./x', 'good.test', 'GET /x HTTP/1.1'],
    ['http://good.test:8080/x', 'good.test:8080', 'GET /x HTTP/1.1'],
    ['http://good.test?x=1&x=2;y', 'good.test', 'GET /?x=1&x=2;y HTTP/1.1'],
    ['http://good.test/%0d%0aX:%20y/../%2e', 'good.test', 'GET /%0d%0aX:%20y/../%2e HTTP/1.1'],
    [`http://good.test/${'a'.repeat(8000)}`, 'good.test', `GET /${'a'.repeat(8000)} HTTP/1.1`],
  ];
  for (const [url, host, line] of hosts) {
    test(`has one Host, from ${url.slice(0, 50)}`, async () => {
      const lines = await arrives(`GET ${url}`, '');
      assert.equal(lines[0], line);
      assert.deepEqual(
        named(lines, 'host').map((text) => text.slice(6)),
        [host],
      );
    });
  }

  test('has the Host of the URL, whatever Host says', async () => {
    const before = stage.connections.length;
    await stage.exchange(
      head('GET http://good.test/', `Connection: close\r\n${demo}`, 'evil.test'),
    );
    assert.doesNotMatch(stage.connections.at(before)?.text ?? '', /evil/);
  });

  const vias: [fields: string, via: string][] = [
    ['', '1.1 sallyport'],
    [
      'Via: 1.0 fred\r\nVia: 1.1 bob (sallyport)\r\n',
      '1.0 fred, 1.1 bob (sallyport), 1.1 sallyport',
    ],
  ];
  for (const [fields, via] of vias) {
    test(`says it came through us: ${via}`, async () => {
      const lines = await arrives('GET http://good.test/', fields);
      assert.equal(
        named(lines, 'via')
          .map((line) => line.slice(5))
          .join(', '),
        via,
      );
    });
  }

  const framed: [method: string, fields: string, body: string, framing: RegExp][] = [
    ['GET', 'Content-Length: 3\r\n', 'abc', /content-length: 3\r\n\r\nabc$/i],
    ['DELETE', 'Content-Length: 3\r\n', 'abc', /content-length: 3\r\n\r\nabc$/i],
    ['OPTIONS', 'Content-Length: 3\r\n', 'abc', /content-length: 3\r\n\r\nabc$/i],
    ['HEAD', 'Content-Length: 3\r\n', 'abc', /content-length: 3\r\n\r\nabc$/i],
    ['PATCH', 'Content-Length: 3\r\n', 'abc', /content-length: 3\r\n\r\nabc$/i],
    ['POST', 'Content-Length: 0\r\n', '', /content-length: 0\r\n\r\n$/i],
    [
      'DELETE',
      'Transfer-Encoding: chunked\r\n',
      '3\r\nabc\r\n0\r\n\r\n',
      /\r\n\r\n(abc|3\r\nabc\r\n0\r\n\r\n)$/,
    ],
  ];
  for (const [method, fields, body, framing] of framed) {
    test(`has one framing: ${method} with ${fields.trim()}`, async () => {
      const before = stage.connections.length;
      await stage.exchange(
        head(`${method} http://good.test/`, `${demo}${fields}Connection: close\r\n`) + body,
      );
      const text = stage.connections.at(-1)?.text ?? '';
      assert.equal(stage.connections.length, before + 1);
      assert.match(text, framing);
      assert.equal(text.match(/^(content-length|transfer-encoding):/gim)?.length, 1, text);
    });
  }

  test('has Max-Forwards counted down only where it is ours to count', async () => {
    const fields = 'Max-Forwards: 3\r\n';
    assert.deepEqual(named(await arrives('TRACE http://good.test/', fields), 'max-forwards'), [
      'Max-Forwards: 2',
    ]);
    assert.deepEqual(named(await arrives('GET http://good.test/', fields), 'max-forwards'), [
      'Max-Forwards: 3',
    ]);
  });

  for (const [what, path, field] of [
    ['a header', '/public/x', 'X-HTTP-Method-Override: DELETE\r\n'],
    ['another header', '/public/x', 'x-method-override: GET\r\n'],
    ['a third one', '/public/x', 'X-HTTP-Method: DELETE\r\n'],
    ['the query', '/public/x?a=b&_method=DELETE', ''],
  ] as const) {
    test(`has no second method in ${what} where methods are limited`, async () => {
      const before = stage.received.length;
      const { text } = await stage.exchange(head(`GET http://api.test${path}`, demo + field));
      assert.match(text, /^HTTP\/1\.1 403 /);
      assert.match(text, /\r\nSallyport-Reason: method_not_allowed\r\n/);
      assert.equal(stage.received.length, before);
    });
  }

  test('may have one where they are not', async () => {
    const fields = `${demo}X-HTTP-Method-Override: DELETE\r\nConnection: close\r\n`;
    await stage.exchange(head('GET http://good.test/?_method=DELETE', fields));
    assert.match(stage.connections.at(-1)?.text ?? '', /\r\nX-HTTP-Method-Override: DELETE\r\n/i);
  });
});

describe('naming what is meant for the origin in Connection is 400', () => {
  for (const name of [
    'Host',
    'Content-Length',
    'Authorization',
    'Proxy-Authorization',
    'Cookie',
    'X-Forwarded-For',
  ]) {
    test(name, async () => {
      const { text } = await stage.exchange(
        head('GET http://good.test/', `${demo}Connection: ${name}\r\n`),
      );
      assert.match(text, /^HTTP\/1\.1 400 .*\r\n[\s\S]*Sallyport-Reason: bad_request/);
    });
  }
});

describe('what reaches the client', () => {
  const get = head('GET http://good.test/', `Connection: close\r\n${demo}`);
  const cases: [what: string, answer: string, wanted: RegExp, unwanted?: RegExp][] = [
    [
      'case and repeats',
      'HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok',
      /Set-Cookie: a\r\nset-cookie: b\r\nX-A: 1\r\n/,
    ],
    [
      'bytes above 127',
      'HTTP/1.1 200 OK\r\nX-A: \x80\xff\xe9\r\nContent-Length: 2\r\n\r\nok',
      /X-A: \x80\xff\xe9\r\n/,
    ],
    [
      'nothing for one hop',
      'HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok',
      /^HTTP/,
      /x-hop|timeout=9|proxy-authenticate|upgrade/i,
    ],
    [
      'our Via behind others',
      'HTTP/1.1 200 OK\r\nVia: 1.1 them\r\nContent-Length: 2\r\n\r\nok',
      /Via: 1\.1 them\r\n[\s\S]*Via: 1\.1 sallyport\r\n/,
    ],
    [
      'a Date where there was none',
      ok('ok'),
      /\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/,
    ],
    [
      'trailers, but none that act as headers',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\nSet-Cookie: a\r\nContent-Type: x\r\n\r\n',
      /\r\n0\r\nX-T: 1\r\n\r\n$/,
      /set-cookie|content-type/i,
    ],
    [
      'an answer whose Trailer comes to nothing',
      'HTTP/1.1 200 OK\r\nTrailer: X\r\nContent-Length: 2\r\n\r\nok',
      /^HTTP\/1\.1 200 [\s\S]*ok$/,
      /trailer/i,
    ],
    [
      '204 without a length',
      'HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n',
      /^HTTP\/1\.1 204 No\r\n/,
      /content-length/i,
    ],
    ['204 without its body', 'HTTP/1.1 204 No\r\n\r\nbody', /^HTTP\/1\.1 204 No\r\n/, /body/],
    [
      '304 with its length',
      'HTTP/1.1 304 NM\r\nContent-Length: 9\r\n\r\n',
      /Content-Length: 9\r\n[\s\S]*\r\n\r\n$/,
    ],
    [
      'a redirection untouched',
      'HTTP/1.1 301 M\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n',
      /Location: http:\/\/evil\.test\/\r\n/,
    ],
    [
      'a demand for credentials of the origin',
      'HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n',
      /^HTTP\/1\.1 401 U\r\nWWW-Authenticate: Basic realm=x\r\n/,
    ],
    [
      'early hints in order',
      `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok('ok')}`,
      /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>\r\nVia: 1\.1 sallyport\r\n\r\nHTTP\/1\.1 200 /,
    ],
    [
      'no 100 that nobody waited for',
      `HTTP/1.1 100 Continue\r\n\r\n${ok('ok')}`,
      /^HTTP\/1\.1 200 [\s\S]*ok$/,
    ],
    [
      'an answer behind many 100s',
      `${'HTTP/1.1 100 Continue\r\nX: y\r\n\r\n'.repeat(20)}${ok('ok')}`,
      /^HTTP\/1\.1 200 [\s\S]*ok$/,
    ],
    [
      'an empty reason phrase',
      'HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n',
      /^HTTP\/1\.1 299 \r\n/,
    ],
  ];
  for (const [what, answer, wanted, unwanted] of cases) {
    test(what, async () => {
      stage.script = once(answer);
      const { text } = await stage.exchange(get);
      assert.match(text, wanted);
      if (unwanted !== undefined) assert.doesNotMatch(text, unwanted);
    });
  }

  test('at most 16 interim answers', async () => {
    stage.script = once('HTTP/1.1 103 E\r\n\r\n'.repeat(40) + ok('ok'));
    const { text } = await stage.exchange(get);
    assert.equal(text.match(/^HTTP\/1\.1 103 /gm)?.length, 16);
    assert.match(text, /ok$/);
  });

  const bare: [what: string, answer: string][] = [
    ['with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n'],
    [
      'in chunks, with trailers to come',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n',
    ],
    ['with neither', 'HTTP/1.1 200 OK\r\n\r\n'],
  ];
  for (const [what, answer] of bare) {
    test(`the head alone for HEAD, ${what}`, async () => {
      stage.script = once(answer);
      const { text } = await stage.exchange(get.replace('GET', 'HEAD'));
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n$/);
      assert.equal(/content-length: 9/i.test(text), answer.includes('9'));
    });
  }

  const old: [what: string, answer: string][] = [
    [
      'chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n',
    ],
    ['early hints', `HTTP/1.1 103 E\r\n\r\n${ok('ok')}`],
  ];
  for (const [what, answer] of old) {
    test(`no ${what} for HTTP/1.0, and the end of the connection`, async () => {
      stage.script = once(answer);
      const { text } = await stage.exchange(
        `GET http://good.test/ HTTP/1.0\r\nConnection: keep-alive\r\n${demo}\r\n`,
      );
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nok$/);
      assert.doesNotMatch(text, /transfer-encoding|trailer|103/i);
    });
  }
});
