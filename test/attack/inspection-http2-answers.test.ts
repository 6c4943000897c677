import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { TestAuthority } from '../support/certificates.ts';
import { until } from '../support/deadline.ts';
import { head } from '../support/http-stage.ts';
import { demo, InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { type Origin, type Received, startTlsOrigin } from '../support/origins.ts';
import { RawClient } from '../support/raw-client.ts';
import {
  data,
  endHeaders,
  type Fields,
  type Frame,
  frame,
  frameTypes,
  headers,
  RawHttp2,
  word,
} from '../support/raw-http2.ts';

await enterNamespace(import.meta.filename);

const host = 'api.test';
const roots = new TestAuthority('The authority of a hostile origin');
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-hostile-'));
let stage: InspectionStage;
let origin: Origin;
/** What the origin says to a request on this stream. */
let answer: (stream: number) => Buffer = () => Buffer.alloc(0);
before(async () => {
  const trusted = path.join(directory, 'roots.pem');
  fs.writeFileSync(trusted, roots.cert);
  stage = await InspectionStage.start({ trust: [trusted], limits: { 'drain-timeout': '2s' } });
  origin = await startTlsOrigin({ address: '93.184.215.14' }, roots.issue([host]), hostile, {
    ALPNProtocols: ['h2'],
  });
  await stage.proxy.reload({
    'demo.yaml': stage.lists([{ host, ports: [origin.port], paths: ['/**'] }]),
  });
});
after(async () => {
  await stage[Symbol.asyncDispose]();
  await origin.close();
  fs.rmSync(directory, { recursive: true });
});

function hostile({ socket }: Received): void {
  const raw = new RawHttp2(socket, 'server');
  let seen = 0;
  socket.on('data', () => {
    const fresh = raw.frames.slice(seen);
    seen = raw.frames.length;
    for (const { type, stream } of fresh.filter(isRequest))
      if (type >= 0) raw.write(answer(stream));
  });
}

function isRequest({ type, flags }: Frame): boolean {
  return type === frameTypes.headers && (flags & endHeaders) !== 0;
}

async function tlsTo(alpn: string) {
  const client = await RawClient.connect({ port: stage.proxy.port });
  assert.equal((await client.tunnel(`${host}:${origin.port}`, demo)).status, 200);
  return await client.startTls({ servername: host, ca: stage.authority, ALPNProtocols: [alpn] });
}

interface Got {
  /** 0: none. */
  readonly status: number;
  /** The answer came to its regular end. */
  readonly whole: boolean;
  readonly text: string;
}

async function askHttp1(method: string): Promise<Got> {
  const client = new RawClient(await tlsTo('http/1.1'));
  client.write(head(`${method} /a`, 'Connection: close\r\n', `${host}:${origin.port}`));
  const text = (await client.readToClose()).toString('latin1');
  client.close();
  const whole =
    text.endsWith('0\r\n\r\n') ||
    /content-length: (\d+)\r\n/i.exec(text)?.[1] ===
      String(text.split('\r\n\r\n').slice(1).join('\r\n\r\n').length);
  return { status: Number(/^HTTP\/1\.1 ([2-5]\d\d) /m.exec(text)?.[1] ?? 0), whole, text };
}

async function askHttp2(method: string): Promise<Got> {
  const raw = new RawHttp2(await tlsTo('h2'), 'client');
  raw.write(
    headers(1, [
      [':method', method],
      [':scheme', 'https'],
      [':authority', `${host}:${origin.port}`],
      [':path', '/a'],
    ]),
  );
  await raw.untilOver(1);
  raw.socket.destroy();
  const last = raw.frames.filter(({ stream }) => stream === 1).at(-1);
  const text = Buffer.concat(raw.of(1, frameTypes.data).map(({ payload }) => payload)).toString(
    'latin1',
  );
  const heads = Buffer.concat(raw.of(1, frameTypes.headers).map(({ payload }) => payload)).toString(
    'latin1',
  );
  return {
    status: raw.statuses(1).find((status) => status >= 200) ?? 0,
    whole: last?.type !== frameTypes.reset && (last?.flags ?? 0) % 2 === 1,
    text: text + heads,
  };
}

const fine: Fields = [[':status', '200']];
const plus = (...more: Fields): Fields => [...fine, ...more];

interface Case {
  readonly what: string;
  readonly method?: string;
  readonly frames: (stream: number) => readonly Buffer[];
  /** Statuses that may come; what is whole must be 502 or in `whole`. */
  readonly statuses: readonly number[];
  /**
   * The answer must not look whole. `unseen`: NO_ERROR behind a head passes for the end of a body that has
   * no length, and nobody behind it can tell; what has a length is safe.
   */
  readonly broken?: boolean | 'unseen';
}

const simple = (
  what: string,
  fields: Fields,
  statuses: readonly number[],
  broken = false,
): Case => ({
  what,
  frames: (stream) => [headers(stream, fields, false), data(stream, 'ok', true)],
  statuses,
  broken,
});

const cases: readonly Case[] = [
  simple('a plain answer', fine, [200]),
  simple('no status', [['x-a', 'b']], [502]),
  simple('two statuses', [...fine, [':status', '500']], [502]),
  simple('a status that is none', [[':status', 'abc']], [502]),
  simple('a status below all', [[':status', '099']], [502]),
  simple('a status beyond all', [[':status', '999']], [502]),
  simple(
    'a demand for credentials of the proxy',
    [
      [':status', '407'],
      ['proxy-authenticate', 'Basic'],
    ],
    [502],
  ),
  simple('a switch of protocols', [[':status', '101']], [502]),
  simple('connection', plus(['connection', 'close']), [502]),
  simple('transfer-encoding', plus(['transfer-encoding', 'chunked']), [502]),
  simple('upgrade', plus(['upgrade', 'websocket']), [502]),
  simple('keep-alive', plus(['keep-alive', 'timeout=5']), [502]),
  simple('two lengths', plus(['content-length', '2'], ['content-length', '2']), [502]),
  simple('a length that is none', plus(['content-length', '0x2']), [502]),
  simple('an upper-case name', plus(['X-A', 'EVIL']), [502, 200]),
  simple('a line end in a value', plus(['x-a', 'b\r\nset-cookie: EVIL']), [502, 200]),
  simple('NUL in a value', plus(['x-a', 'b\0EVIL']), [502, 200]),
  simple('a line end in a name', plus(['x-a: b\r\nEVIL', 'c']), [502, 200]),
  simple('__proto__', plus(['__proto__', 'b'], ['constructor', 'c']), [200]),
  simple(
    'a header twice',
    plus(['etag', 'a'], ['etag', 'b'], ['location', 'a'], ['location', 'b']),
    [200],
  ),
  simple('a path', plus([':path', '/EVIL']), [502]),
  simple(
    '300 headers',
    plus(...Array.from({ length: 300 }, (_, i): [string, string] => [`x-${i}`, 'a'])),
    [200, 502],
  ),
  {
    what: 'a length that is too large',
    frames: (s) => [headers(s, plus(['content-length', '9']), false), data(s, 'ok', true)],
    statuses: [200, 502],
    broken: true,
  },
  {
    what: 'a length that is too small',
    frames: (s) => [headers(s, plus(['content-length', '1']), false), data(s, 'ok', true)],
    statuses: [200, 502],
    broken: true,
  },
  {
    what: 'an answer that is taken back',
    frames: (s) => [headers(s, fine, false), data(s, 'ok'), frame(frameTypes.reset, 0, s, word(8))],
    statuses: [200, 502],
    broken: true,
  },
  {
    what: 'an answer that is taken back without an error',
    frames: (s) => [headers(s, fine, false), data(s, 'ok'), frame(frameTypes.reset, 0, s, word(0))],
    statuses: [200, 502],
    broken: 'unseen',
  },
  {
    what: 'a stream that is refused',
    frames: (s) => [frame(frameTypes.reset, 0, s, word(7))],
    statuses: [502],
  },
  {
    what: 'GOAWAY in its body',
    frames: (s) => [
      headers(s, fine, false),
      data(s, 'ok'),
      frame(frameTypes.goAway, 0, 0, Buffer.concat([word(0), word(2)])),
    ],
    statuses: [200, 502],
    broken: true,
  },
  {
    what: 'GOAWAY before it',
    frames: () => [frame(frameTypes.goAway, 0, 0, Buffer.alloc(8))],
    statuses: [502],
  },
  {
    what: 'a body behind 204',
    frames: (s) => [headers(s, [[':status', '204']], false), data(s, 'EVIL', true)],
    statuses: [204, 502],
  },
  {
    what: 'a body behind 304',
    frames: (s) => [headers(s, [[':status', '304']], false), data(s, 'EVIL', true)],
    statuses: [304, 502],
  },
  {
    what: 'a body for HEAD',
    method: 'HEAD',
    frames: (s) => [headers(s, fine, false), data(s, 'EVIL', true)],
    statuses: [200, 502],
  },
  { what: 'data before its head', frames: (s) => [data(s, 'EVIL', true)], statuses: [502] },
  {
    what: 'a second head',
    frames: (s) => [
      headers(s, fine, false),
      headers(s, [[':status', '500']], false),
      data(s, 'ok', true),
    ],
    statuses: [200, 502],
    broken: true,
  },
  {
    what: 'a flood of informational answers',
    frames: (s) => [
      ...Array.from({ length: 200 }, () =>
        headers(
          s,
          [
            [':status', '103'],
            ['x-a', 'b'],
          ],
          false,
        ),
      ),
      headers(s, fine, false),
      data(s, 'ok', true),
    ],
    statuses: [200, 502],
  },
  {
    what: '101 before it',
    frames: (s) => [
      headers(s, [[':status', '101']], false),
      headers(s, fine, false),
      data(s, 'ok', true),
    ],
    statuses: [200, 502],
  },
  {
    what: 'trailers twice the same',
    frames: (s) => [
      headers(s, fine, false),
      data(s, 'ok'),
      headers(s, [
        ['etag', 'a'],
        ['etag', 'b'],
      ]),
    ],
    statuses: [200],
  },
  {
    what: 'trailers that would be headers',
    frames: (s) => [
      headers(s, fine, false),
      data(s, 'ok'),
      headers(s, [
        ['content-length', '9'],
        ['set-cookie', 'EVIL'],
        ['host', 'EVIL'],
      ]),
    ],
    statuses: [200, 502],
  },
  {
    what: 'a status in its trailers',
    frames: (s) => [headers(s, fine, false), data(s, 'ok'), headers(s, [[':status', '500']])],
    statuses: [200, 502],
    broken: true,
  },
  {
    what: 'a promise',
    frames: (s) => [
      frame(5, endHeaders, s, Buffer.concat([word(2), Buffer.of(0x82, 0x84, 0x87)])),
      headers(s, fine, false),
      data(s, 'ok', true),
    ],
    statuses: [200, 502],
    broken: true,
  },
  {
    what: 'a settings flood',
    frames: (s) => [
      ...Array.from({ length: 20_000 }, () => frame(frameTypes.settings, 0, 0)),
      headers(s, fine, false),
      data(s, 'ok', true),
    ],
    statuses: [200, 502],
  },
  {
    what: 'a ping flood',
    frames: (s) => [
      ...Array.from({ length: 20_000 }, () => frame(frameTypes.ping, 0, 0, Buffer.alloc(8))),
      headers(s, fine, false),
      data(s, 'ok', true),
    ],
    statuses: [200, 502],
  },
  {
    what: 'a header block without an end',
    frames: (s) => [
      frame(frameTypes.headers, 0, s, Buffer.of(0x88)),
      ...Array.from({ length: 5000 }, () => frame(frameTypes.continuation, 0, s)),
    ],
    statuses: [502],
  },
  {
    what: 'a header of 200 KB',
    frames: (s) => [
      frame(frameTypes.headers, 0, s, Buffer.of(0x88)),
      ...Array.from({ length: 13 }, (_, i) =>
        frame(
          frameTypes.continuation,
          i === 12 ? endHeaders : 0,
          s,
          Buffer.concat([Buffer.of(0, 1, 0x61 + i, 0x7f, 0x81, 0x7b), Buffer.alloc(15_000, 'x')]),
        ),
      ),
    ],
    statuses: [200, 502],
    broken: true,
  },
  {
    what: 'a frame beyond its limit',
    frames: (s) => [headers(s, fine, false), data(s, 'x'.repeat(40_000), true)],
    statuses: [200, 502],
    broken: true,
  },
  { what: 'noise', frames: () => [Buffer.alloc(5000, 0xa5)], statuses: [502] },
];

beforeEach(() => {
  answer = (stream) => Buffer.concat([headers(stream, fine, false), data(stream, 'fine', true)]);
});

for (const [version, ask] of [
  ['HTTP/1.1', askHttp1],
  ['HTTP/2', askHttp2],
] as const) {
  describe(`a hostile origin of HTTP/2 sends a client of ${version}`, () => {
    for (const { what, method = 'GET', frames, statuses, broken = false } of cases) {
      test(what, async () => {
        const hostileAnswer = (stream: number): Buffer => Buffer.concat(frames(stream));
        answer = hostileAnswer;
        const { status, whole, text } = await ask(method);
        const cut = statuses.includes(502) && status === 0;
        assert.ok(cut || statuses.includes(status), `${status} ${text.slice(0, 400)}`);
        assert.ok(!text.includes('EVIL'), text);
        if (broken === true && status !== 502)
          assert.ok(!whole, `a broken answer looks whole: ${text}`);
        assert.equal(stage.proxy.running, true, stage.proxy.stderr.slice(-3000));
      });
    }
    test('and others are served', async () => {
      assert.equal((await ask('GET')).status, 200);
      await until(
        async () => (await stage.proxy.admin('/ready')).status === 200,
        () => 'not ready',
      );
    });
  });
}
