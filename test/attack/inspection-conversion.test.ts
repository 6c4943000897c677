/** Requests of HTTP/1.1 to an origin that speaks HTTP/2 alone: one request goes out, or none does. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { waitForLine } from '../support/egress-lines.ts';
import { head } from '../support/http-stage.ts';
import { echo, type Http2Origin } from '../support/http2-origin.ts';
import { InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';

await enterNamespace(import.meta.filename);

const host = 'h2.test';
let stage: InspectionStage;
let origin: Http2Origin;
before(async () => {
  stage = await InspectionStage.start();
  origin = stage.http2[0] as Http2Origin;
});
after(async () => await stage[Symbol.asyncDispose]());
beforeEach(() => {
  origin.requests.length = 0;
  origin.listener = echo;
});

const last = 'Connection: close\r\n';
const body = 'GET /smuggled HTTP/1.1\r\nHost: h2.test\r\n\r\n';
const sized = `Content-Length: ${body.length}\r\n`;
const chunks = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

/** Paths that the origin was asked for, each of which must have been written as a request of its own. */
const asked = (): string[] => origin.requests.map(({ method, path }) => `${method} ${path}`);

describe('what goes out once', () => {
  const cases: [what: string, request: string, wanted: string, received: string][] = [
    [
      'a body that looks like a request',
      head('POST /a', sized + last, host) + body,
      'POST /a',
      body,
    ],
    [
      'the same in chunks',
      head('POST /a', `Transfer-Encoding: chunked\r\n${last}`, host) + chunks,
      'POST /a',
      body,
    ],
    ['a GET with a body', head('GET /a', sized + last, host) + body, 'GET /a', body],
    [
      'trailers',
      `${head('POST /a', `Transfer-Encoding: chunked\r\nTrailer: x-t\r\n${last}`, host)}1\r\nx\r\n0\r\nHost: evil.test\r\nX-T: 1\r\n\r\n`,
      'POST /a',
      'x',
    ],
    [
      'an extension of a chunk',
      `${head('POST /a', `Transfer-Encoding: chunked\r\n${last}`, host)}1;a=b\r\nx\r\n0\r\n\r\n`,
      'POST /a',
      'x',
    ],
    [
      'headers that HTTP/2 does not know',
      head(
        'GET /a',
        `TE: gzip\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nUpgrade: foo\r\n${last}`,
        host,
      ),
      'GET /a',
      '',
    ],
    ['a header in capitals', head('GET /a', `X-UPPER: Value\r\n${last}`, host), 'GET /a', ''],
  ];
  for (const [what, request, wanted, received] of cases) {
    test(what, async () => {
      const text = await stage.exchange(host, request);
      if (!what.includes('does not know')) assert.match(text, /^HTTP\/1\.1 200 /);
      assert.deepEqual(
        asked().filter((one) => one !== wanted),
        [],
      );
      for (const { headers, body: got } of origin.requests) {
        assert.equal(got, received);
        assert.equal(headers[':authority'], host);
        for (const name of [
          'connection',
          'keep-alive',
          'proxy-connection',
          'transfer-encoding',
          'upgrade',
          'host',
          'x-t',
        ]) {
          assert.equal(headers[name], undefined, name);
        }
      }
    });
  }
});

describe('what does not go out', () => {
  const cases: [what: string, request: string][] = [
    ['two lengths', head('POST /a', `${sized}Content-Length: 0\r\n`, host) + body],
    [
      'a length and chunks',
      head('POST /a', `${sized}Transfer-Encoding: chunked\r\n`, host) + chunks,
    ],
    ['another coding', head('POST /a', 'Transfer-Encoding: gzip, chunked\r\n', host) + chunks],
    ['a pseudo-header', head('GET /a', ':authority: evil.test\r\n', host)],
    ['a pseudo-header with a blank', head('GET /a', ' :path: /b\r\n', host)],
    ['a line end in a value', head('GET /a', 'X-A: b\rX-C: d\r\n', host)],
    ['a URL', head('GET https://evil.test/a', '', host)],
    ['another Host', head('GET /a', '', 'evil.test')],
    [
      'a broken size of a chunk',
      `${head('POST /a', 'Transfer-Encoding: chunked\r\n', host)}0x1\r\nx\r\n0\r\n\r\n`,
    ],
  ];
  for (const [what, request] of cases) {
    test(what, async () => {
      const text = await stage.exchange(host, request);
      assert.doesNotMatch(text, /^HTTP\/1\.1 200 /);
      assert.deepEqual(
        asked().filter((one) => !one.startsWith('POST /a')),
        [],
      );
      assert.ok(origin.requests.every(({ body: got }) => !got.includes('smuggled')));
    });
  }
});

test('a body that the client does not finish is not a whole one for the origin', async () => {
  let aborted = false;
  origin.listener = (request) => {
    request.on('aborted', () => {
      aborted = true;
    });
  };
  const client = await stage.open(host);
  client.write(`${head('POST /half', 'Content-Length: 100\r\n', host)}half`);
  await waitForLine(stage.proxy.logFile, { event: 'open', path: '/half' });
  while (origin.requests[0]?.body !== 'half') await new Promise((next) => setTimeout(next, 10));
  client.close();
  const line = await waitForLine(stage.proxy.logFile, { event: 'request', path: '/half' });
  assert.equal(line.end, 'client');
  while (!aborted) await new Promise((next) => setTimeout(next, 10));
});

test('report mode lets an inspected request pass without the credential of the entry', async () => {
  const entry = {
    host: 'api.test',
    paths: ['/v1/**'],
    inject: [{ bearer: true, secret: { file: '/etc/hostname' } }],
  };
  const lists = stage.lists([entry], { mode: 'report' });
  assert.equal((await stage.proxy.reload({ 'demo.yaml': lists })).status, 200);
  const own = `Authorization: Bearer mine\r\n${last}`;
  const text = await stage.exchange('api.test', head('GET /other', own, 'api.test'));
  assert.match(text, /^HTTP\/1\.1 200 /);
  const sent = stage.connections.at(-1)?.text ?? '';
  assert.doesNotMatch(sent, /^authorization:/im);
  const line = await waitForLine(stage.proxy.logFile, { event: 'open', path: '/other' });
  assert.deepEqual([line.report, line.reason], [true, 'path_not_allowed']);
});
