import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { until } from '../support/deadline.ts';
import { linesLike, waitForLine } from '../support/egress-lines.ts';
import { answerAll, demo, HttpStage, head, once, summary } from '../support/http-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import type { Received, Script } from '../support/origins.ts';

await enterNamespace(import.meta.filename);

let stage: HttpStage;
before(async () => {
  stage = await HttpStage.start();
});
after(async () => await stage[Symbol.asyncDispose]());
afterEach(() => {
  stage.script = answerAll;
});

const url = 'http://good.test/x';
const chunked = 'Transfer-Encoding: chunked\r\n';
const post = (fields: string, body: string) => head(`POST ${url}`, demo + fields) + body;
const get = (fields: string) => head(`GET ${url}`, demo + fields);

describe('a request that could be read in two ways is 400 and goes nowhere', () => {
  const cases: [what: string, bytes: string | Buffer][] = [
    ['Content-Length and Transfer-Encoding', post(`Content-Length: 5\r\n${chunked}`, '0\r\n\r\n')],
    ['Transfer-Encoding and Content-Length', post(`${chunked}Content-Length: 5\r\n`, '0\r\n\r\n')],
    ['two equal lengths', post('Content-Length: 3\r\nContent-Length: 3\r\n', 'abc')],
    ['two lengths', post('Content-Length: 3\r\nContent-Length: 4\r\n', 'abcd')],
    ...['+3', '-3', '0x3', '3, 3', '3 3', '', '03', '1e1', '18446744073709551616', 'x'].map(
      (length): [string, string] => [
        `length ${JSON.stringify(length)}`,
        post(`Content-Length: ${length}\r\n`, 'abc'),
      ],
    ),
    ...['xchunked', 'chunked, identity', 'gzip, chunked', 'identity', 'CHUNKED', 'chunked;a=b'].map(
      (coding): [string, string] => [
        `coding ${coding}`,
        post(`Transfer-Encoding: ${coding}\r\n`, '0\r\n\r\n'),
      ],
    ),
    ['two codings', post(chunked + chunked, '0\r\n\r\n')],
    ['a folded coding', post('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n')],
    ['a coding in HTTP/1.0', `POST ${url} HTTP/1.0\r\n${demo}${chunked}\r\n0\r\n\r\n`],
    ['a folded header', get('X-A: 1\r\n 2\r\n')],
    ['bare line feeds', get('').replaceAll('\r\n', '\n')],
    ['a bare carriage return', get('X-A: 1\rX\r\n')],
    ['a space before the colon', get('X-A : 1\r\n')],
    ['no header name', get(': 1\r\n')],
    ['white space before the first header', get('').replace('Host', ' Host')],
    ...['\0', '\x01', '\x08', '\x0b', '\x1f', '\x7f'].map((byte): [string, string] => [
      `byte ${byte.charCodeAt(0)} in a value`,
      get(`X-A: 1${byte}2\r\n`),
    ]),
    ...['HTTP/2.0', 'HTTP/0.9', 'HTTP/1.2', 'HTTP/11', 'HTTP/1.1 ', 'FOO/1.1', 'HTTP/'].map(
      (version): [string, string] => [
        `version ${JSON.stringify(version)}`,
        get('').replace('HTTP/1.1', version),
      ],
    ),
    ['no version', `GET ${url}\r\n\r\n`],
    ['a space in the target', head('GET http://good.test/a b', demo)],
    ['two Hosts', get('Host: good.test\r\n')],
    ['no Host', `GET ${url} HTTP/1.1\r\n${demo}\r\n`],
    ['a lower-case method', head(`get ${url}`, demo)],
    ['an unknown method', head(`TRACK ${url}`, demo)],
    ['101 header lines', get('X-A: 1\r\n'.repeat(100))],
    ['a head of 17 KiB', get(`X-A: ${'a'.repeat(17_000)}\r\n`)],
    ['a path of 64 KiB', head(`GET ${url}${'a'.repeat(65_536)}`, demo)],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a TLS hello', Buffer.from('16030100c8010000c40303', 'hex')],
    ['a PROXY line', `PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n${get('')}`],
    ['SMTP', 'EHLO x\r\n'],
  ];
  for (const [what, bytes] of cases) {
    test(what, async () => {
      const before = stage.connections.length;
      const { text } = await stage.exchange(bytes);
      assert.match(summary(text), /^400 bad_(request|target)$/);
      assert.equal(stage.connections.length, before);
      assert.equal(stage.proxy.lines().at(-1)?.event, 'block');
    });
  }
});

describe('a body that is no body is 400, and its request is never completed', () => {
  const bodies = {
    'no number': 'ZZ\r\nabc\r\n0\r\n\r\n',
    'a hexadecimal prefix': '0x3\r\nabc\r\n0\r\n\r\n',
    'a bare line feed in an extension': '3;\nabc\r\n0\r\n\r\n',
    'data that goes on': '3\r\nabcX0\r\n\r\n',
    'a size of 17 digits': '11111111111111111\r\nabc',
    'a negative size': '-1\r\nabc\r\n0\r\n\r\n',
    'extensions of 20 KB': `3;${'a'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`,
    'broken behind a good chunk': '3\r\nabc\r\nZZ\r\n',
  };
  for (const [what, body] of Object.entries(bodies)) {
    test(what, async () => {
      const before = stage.connections.length;
      const { text } = await stage.exchange(post(chunked, body));
      assert.equal(summary(text), '400 bad_request');
      for (const origin of stage.connections.slice(before)) {
        assert.ok(!origin.text.includes('\r\n0\r\n'), origin.text);
      }
    });
  }
});

describe('half a head is closed without an answer, and logged', () => {
  for (const bytes of ['G', 'GET http://good.test/ HT', `GET ${url} HTTP/1.1\r\nHost: x\r\n`]) {
    test(JSON.stringify(bytes), async () => {
      const blocks = () => linesLike(stage.proxy.lines(), { event: 'block' });
      const before = blocks().length;
      assert.equal((await stage.exchange(bytes, { fin: true })).text, '');
      await until(
        () => blocks().length > before,
        () => 'no line',
      );
      const line = blocks().at(-1);
      assert.deepEqual([line?.reason, line?.status], ['bad_request', undefined]);
    });
  }
});

const close = ({ socket }: Received) => socket.end();
const reset = ({ socket }: Received) => setTimeout(() => socket.resetAndDestroy(), 30);
const status = (line: string, fields = 'Content-Length: 2\r\n') => `${line}\r\n${fields}\r\nok`;
const good = 'HTTP/1.1 200 OK';

describe('an answer that is none is 502 connect_failed', () => {
  const cases: [what: string, script: Script][] = [
    ['garbage', once('garbage\r\n\r\n')],
    ['nothing', once('', close)],
    ['a reset', once('', reset)],
    ['another protocol', once('SSH-2.0-OpenSSH\r\n')],
    ['a demand for proxy credentials', once(status('HTTP/1.1 407 P'))],
    ['an unasked 101', once('HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')],
    ...['000', '055', '600', '999', '1000', 'abc'].map((code): [string, Script] => [
      `status ${code}`,
      once(status(`HTTP/1.1 ${code} X`)),
    ]),
    ['two lengths', once(status(good, 'Content-Length: 2\r\nContent-Length: 3\r\n'))],
    ['a list of lengths', once(status(good, 'Content-Length: 2, 2\r\n'))],
    ['a negative length', once(status(good, 'Content-Length: -2\r\n'))],
    ['length and coding', once(status(good, `Content-Length: 2\r\n${chunked}`))],
    ['a coding it would have to undo', once(status(good, 'Transfer-Encoding: gzip\r\n'), close)],
    ['two codings', once(status(good, 'Transfer-Encoding: gzip, chunked\r\n'))],
    ['a folded header', once(status(good, 'X: 1\r\n 2\r\nContent-Length: 2\r\n'))],
    ['bare line feeds', once(`${good}\nContent-Length: 2\n\nok`)],
    ['a NUL', once(status(good, 'X: \0\r\nContent-Length: 2\r\n'))],
    ['a bare carriage return', once(status(good, 'X: 1\rY: 2\r\nContent-Length: 2\r\n'))],
    ['a header of 1 MB', once(status(good, `X: ${'a'.repeat(1_000_000)}\r\n`))],
    ['20,000 headers', once(status(good, 'X: a\r\n'.repeat(20_000)))],
  ];
  for (const [what, script] of cases) {
    test(what, async () => {
      stage.script = script;
      const { text } = await stage.exchange(get(''));
      assert.equal(summary(text), '502 connect_failed');
      const id = /\r\nSallyport-Id: (\w+)/.exec(text)?.[1] ?? '';
      const line = await waitForLine(stage.proxy.logFile, { event: 'request', id });
      assert.deepEqual([line.verdict, line.status, line.reason], ['allow', 502, 'connect_failed']);
    });
  }
});

describe('a cut-off body never looks complete', () => {
  const cases: [what: string, script: Script, version: string][] = [
    ['short of its length', once(status(good, 'Content-Length: 9\r\n'), close), '1.1'],
    ['short of its length by a reset', once(status(good, 'Content-Length: 9\r\n'), reset), '1.1'],
    ['without its last chunk', once(`${good}\r\n${chunked}\r\n2\r\nok\r\n`, close), '1.1'],
    ['broken chunks', once(`${good}\r\n${chunked}\r\n2\r\nok\r\nZ\r\n`), '1.1'],
    ['a reset of what only closing ends', once(`${good}\r\n\r\nok`, reset), '1.1'],
    ['a reset of that, to HTTP/1.0', once(`${good}\r\n\r\nok`, reset), '1.0'],
  ];
  for (const [what, script, version] of cases) {
    test(what, async () => {
      stage.script = script;
      const ended = await stage.exchange(get('').replace('HTTP/1.1', `HTTP/${version}`));
      assert.match(ended.text, /ok/);
      assert.equal(ended.reset, true, ended.text);
      assert.ok(!ended.text.includes('\r\n0\r\n'));
    });
  }
});

test('the log is whole', async () => {
  assert.ok((await stage.stop()).length > 100);
});
