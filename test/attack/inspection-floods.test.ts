import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/deadline.ts';
import { answerAll, head } from '../support/http-stage.ts';
import { echo } from '../support/http2-origin.ts';
import { InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import {
  block,
  data,
  endHeaders,
  endStream,
  frame,
  frameTypes,
  headers,
  preface,
  RawHttp2,
  word,
} from '../support/raw-http2.ts';

await enterNamespace(import.meta.filename);

let stage: InspectionStage;
before(async () => {
  stage = await InspectionStage.start({
    limits: { 'hello-timeout': '1s', 'head-timeout': '1s', 'drain-timeout': '2s' },
  });
  await stage.proxy.reload({
    'demo.yaml': stage.lists([
      { host: 'api.test', paths: ['/**'] },
      { host: 'h2.test', paths: ['/**'] },
    ]),
  });
});
after(async () => await stage[Symbol.asyncDispose]());
afterEach(() => {
  stage.script = answerAll;
});

const descriptors = (): number => readdirSync(`/proc/${stage.proxy.pid}/fd`).length;
const megabytes = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${stage.proxy.pid}/status`, 'latin1'))?.[1]) /
  1024;

const get = (path = '/a', method = 'GET') =>
  [
    [':method', method],
    [':scheme', 'https'],
    [':authority', 'api.test'],
    [':path', path],
  ] as const;

/** Something that a client may send on a new connection, and for how long it is kept. */
interface Flood {
  readonly what: string;
  readonly bytes: () => Buffer;
  /** The connection must end by itself. */
  readonly ends?: boolean;
  readonly raw?: boolean;
}

const repeat = (count: number, one: (at: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, at) => one(at)));
/** One literal that is kept in the table, then references to it (RFC 7541 §6.1, §6.2.1). */
const bomb = (size: number, references: number): Buffer =>
  Buffer.concat([
    block(get()),
    Buffer.of(0x40, 1, 0x78, 0x7f, ((size - 127) & 0x7f) | 0x80, (size - 127) >> 7),
    Buffer.alloc(size, 'a'),
    Buffer.alloc(references, 0xbe),
  ]);

const floods: readonly Flood[] = [
  {
    what: 'streams that are taken back at once',
    bytes: () =>
      repeat(5000, (i) =>
        Buffer.concat([headers(2 * i + 1, get()), frame(frameTypes.reset, 0, 2 * i + 1, word(8))]),
      ),
    ends: true,
  },
  {
    what: 'streams beyond the limit',
    bytes: () => repeat(1000, (i) => headers(2 * i + 1, get('/a', 'POST'), false)),
    ends: true,
  },
  {
    what: 'a header block without an end',
    bytes: () =>
      Buffer.concat([
        frame(frameTypes.headers, endStream, 1, block(get())),
        repeat(10_000, () => frame(frameTypes.continuation, 0, 1)),
      ]),
    ends: true,
  },
  {
    what: 'a header block that grows',
    bytes: () =>
      Buffer.concat([
        frame(frameTypes.headers, endStream, 1, block(get())),
        repeat(200, () =>
          frame(frameTypes.continuation, 0, 1, block([['x-a', 'b'.repeat(10_000)]])),
        ),
      ]),
    ends: true,
  },
  {
    what: 'a header block that goes on never',
    bytes: () => frame(frameTypes.headers, endStream, 1, block(get())),
    ends: true,
  },
  {
    what: 'references to one long header',
    bytes: () => frame(frameTypes.headers, endHeaders | endStream, 1, bomb(4000, 10_000)),
  },
  { what: 'settings', bytes: () => repeat(30_000, () => frame(frameTypes.settings, 0, 0)) },
  {
    what: 'settings that change the table',
    bytes: () =>
      repeat(10_000, (i) =>
        frame(
          frameTypes.settings,
          0,
          0,
          Buffer.concat([Buffer.of(0, 1), word(i % 2 === 0 ? 0 : 4_000_000_000)]),
        ),
      ),
  },
  {
    what: 'pings',
    bytes: () => repeat(30_000, () => frame(frameTypes.ping, 0, 0, Buffer.alloc(8))),
  },
  {
    what: 'answers to pings that nobody sent',
    bytes: () => repeat(10_000, () => frame(frameTypes.ping, 1, 0, Buffer.alloc(8))),
  },
  {
    what: 'a window beyond all',
    bytes: () => repeat(3, () => frame(frameTypes.windowUpdate, 0, 0, word(0x7fffffff))),
    ends: true,
  },
  {
    what: 'windows of nothing',
    bytes: () => repeat(1000, () => frame(frameTypes.windowUpdate, 0, 0, word(0))),
    ends: true,
  },
  {
    what: 'windows of a byte',
    bytes: () => repeat(50_000, () => frame(frameTypes.windowUpdate, 0, 0, word(1))),
  },
  {
    what: 'priorities',
    bytes: () => repeat(30_000, (i) => frame(2, 0, 2 * i + 1, Buffer.alloc(5))),
  },
  {
    what: 'frames of no known type',
    bytes: () => repeat(30_000, () => frame(0x7a, 0, 0, Buffer.alloc(16))),
  },
  {
    what: 'data for no stream',
    bytes: () => repeat(1000, (i) => data(2 * i + 1, 'x')),
    ends: true,
  },
  {
    what: 'resets for no stream',
    bytes: () => repeat(1000, (i) => frame(frameTypes.reset, 0, 2 * i + 1, word(8))),
    ends: true,
  },
  { what: 'a frame beyond its limit', bytes: () => data(1, 'x'.repeat(40_000)), ends: true },
  {
    what: 'GOAWAY',
    bytes: () => repeat(100, () => frame(frameTypes.goAway, 0, 0, Buffer.alloc(8))),
  },
  {
    what: 'a promise',
    bytes: () => frame(5, endHeaders, 1, Buffer.concat([word(2), block(get())])),
    ends: true,
  },
  { what: 'a stream of its own number', bytes: () => headers(2, get()), ends: true },
  { what: 'nothing', bytes: () => Buffer.alloc(0), ends: true },
  { what: 'half a frame', bytes: () => headers(1, get()).subarray(0, 12), ends: true },
  { what: 'noise', bytes: () => Buffer.alloc(100_000, 0xa5), ends: true },
];

async function isWell(before: number): Promise<void> {
  assert.equal(stage.proxy.running, true, stage.proxy.stderr.slice(-3000));
  const text = await stage.exchange('api.test', head('GET /', 'Connection: close\r\n', 'api.test'));
  assert.match(text, /^HTTP\/1.1 200 /);
  await until(
    () => descriptors() <= before + 2,
    () => `${descriptors()} descriptors, ${before} before`,
  );
}

describe('a client floods the proxy with', () => {
  for (const { what, bytes, ends = false } of floods) {
    test(what, async () => {
      const before = descriptors();
      const memory = megabytes();
      const raw = new RawHttp2(
        await stage.openTls('api.test', { ALPNProtocols: ['h2'] }),
        'client',
      );
      raw.write(bytes());
      if (ends) {
        await until(
          () => raw.closed,
          () => `open, ${JSON.stringify(raw.frames.slice(-2))}`,
        );
      } else {
        await sleep(300);
      }
      raw.socket.destroy();
      await isWell(before);
      assert.ok(megabytes() < memory + 150, `${memory} MB, then ${megabytes()} MB`);
    });
  }

  test('a preface that is none', async () => {
    const before = descriptors();
    const client = await stage.open('api.test', { ALPNProtocols: ['h2'] });
    client.write(head('GET /', '', 'api.test'));
    await client.readToClose();
    client.close();
    await isWell(before);
  });
  test('its preface twice', async () => {
    const before = descriptors();
    const raw = new RawHttp2(await stage.openTls('api.test', { ALPNProtocols: ['h2'] }), 'client');
    raw.write(preface);
    await until(
      () => raw.closed,
      () => 'open',
    );
    await isWell(before);
  });
  test('a thousand frames of one byte, which are served', async () => {
    const raw = new RawHttp2(await stage.openTls('api.test', { ALPNProtocols: ['h2'] }), 'client');
    raw.write(
      headers(1, get('/a', 'POST'), false),
      repeat(1000, () => data(1, 'x')),
      data(1, '', true),
    );
    await raw.untilOver(1);
    assert.deepEqual(raw.statuses(1), [200]);
    raw.socket.destroy();
  });
});

/** Settings that open no window for any stream (RFC 9113 §6.5.2). */
const shut = frame(frameTypes.settings, 0, 0, Buffer.concat([Buffer.of(0, 4), word(0)]));

describe('a client that takes nothing costs no memory', () => {
  for (const host of ['api.test', 'h2.test']) {
    test(`of what ${host} sends`, async () => {
      const chunk = 'x'.repeat(65_536);
      let sent = 0;
      stage.script = ({ socket }) => {
        socket.once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n');
          const more = (): void => {
            while (sent < 200_000_000 && !socket.destroyed) {
              sent += chunk.length;
              if (!socket.write(chunk)) return void socket.once('drain', more);
            }
          };
          more();
        });
      };
      const [h2] = stage.http2;
      assert.ok(h2);
      h2.listener = (_request, response) => {
        const more = (): void => {
          while (sent < 200_000_000 && !response.destroyed) {
            sent += chunk.length;
            if (!response.write(chunk)) return void response.once('drain', more);
          }
        };
        more();
      };
      const before = descriptors();
      const memory = megabytes();
      const raw = new RawHttp2(await stage.openTls(host, { ALPNProtocols: ['h2'] }), 'client');
      const fields = get().map(
        ([name, value]) => [name, name === ':authority' ? host : value] as const,
      );
      raw.write(shut, ...[1, 3, 5, 7, 9, 11, 13, 15].map((stream) => headers(stream, fields)));
      await until(
        () => raw.of(15, frameTypes.headers).length > 0,
        () => 'no answer',
      );
      await sleep(500);
      assert.ok(megabytes() < memory + 60, `${memory} MB, then ${megabytes()} MB`);
      assert.ok(sent < 100_000_000, `${sent} bytes were taken from the origin`);
      raw.socket.destroy();
      h2.listener = echo;
      stage.script = answerAll;
      await isWell(before);
    });
  }
});

test('every request and tunnel has its lines', async () => {
  assert.ok((await stage.proxy.stop(15_000)).length > 100);
});
