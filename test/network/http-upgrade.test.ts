import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { until } from '../support/deadline.ts';
import { linesLike, waitForLine } from '../support/egress-lines.ts';
import { answerAll, demo, HttpStage, head, once, summary } from '../support/http-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import type { Received } from '../support/origins.ts';
import type { RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

let stage: HttpStage;
before(async () => {
  stage = await HttpStage.start();
});
after(async () => await stage[Symbol.asyncDispose]());
afterEach(() => {
  stage.script = answerAll;
});

const fields =
  'Connection: keep-alive, UPGRADE\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, x\r\n';
const switching =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\nSec-WebSocket-Protocol: chat\r\nX-One: 1\r\nX-One: 2\r\n\r\n';

/** Says 101 and `hello`, then sends back what comes. */
const socketServer = once(`${switching}hello`, ({ socket }) => {
  socket.on('data', (chunk: Buffer) => socket.write(chunk));
});

/** Opens a WebSocket through the proxy; gives the client, and its connection at the origin. */
async function open(path: string): Promise<{ client: RawClient; origin: Received }> {
  stage.script = socketServer;
  const client = await stage.client();
  client.write(head(`GET http://good.test${path}`, demo + fields));
  await client.readUntil('hello');
  return { client, origin: stage.connections.at(-1) as Received };
}

const ended = (path: string) => waitForLine(stage.proxy.logFile, { event: 'request', path });

describe('a WebSocket', () => {
  for (const how of ['a request to the listener', 'a tunnel'] as const) {
    test(`passes by ${how}, early bytes behind the 101 only`, async () => {
      let early = '';
      stage.script = (received) => {
        received.socket.once('data', () => {
          setTimeout(() => {
            early = received.text.split('\r\n\r\n')[1] ?? '';
            received.socket.on('data', (chunk: Buffer) => received.socket.write(chunk));
            received.socket.write(`${switching}hello`);
          }, 50);
        });
      };
      const client = await stage.client();
      if (how === 'a tunnel') {
        await client.tunnel('good.test:80', demo);
        client.write(`${head('GET /ws', fields)}EARLY`);
      } else client.write(`${head('GET http://good.test/ws', demo + fields)}EARLY`);
      const answer = (await client.readUntil('\r\n\r\n')).toString('latin1');
      assert.match(answer, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
      assert.match(answer, /\r\nSec-WebSocket-Protocol: chat\r\nX-One: 1\r\nX-One: 2\r\n/);
      assert.match(answer, /\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n/);
      assert.equal((await client.readBytes(10)).toString(), 'helloEARLY');
      assert.equal(early, '');
      client.write('more');
      assert.equal((await client.readBytes(4)).toString(), 'more');
      const request = stage.connections.at(-1)?.text ?? '';
      assert.match(request, /^GET \/ws HTTP\/1\.1\r\nHost: good\.test\r\n/);
      assert.match(request, /\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n/);
      assert.match(request, /\r\nVia: 1\.1 sallyport\r\n/);
      assert.doesNotMatch(request, /proxy-authorization/i);
      client.close();
    });
  }

  test('ends with its origin', async () => {
    const { client, origin } = await open('/origin-ends');
    origin.socket.end();
    assert.equal((await client.readToEnd()).length, 0);
    client.close();
    const line = await ended('/origin-ends');
    assert.deepEqual([line.status, line.verdict], [101, 'allow']);
  });

  test('ends with a reset of its origin', async () => {
    const { client, origin } = await open('/origin-resets');
    origin.socket.resetAndDestroy();
    await client.readToClose();
    client.close();
    assert.equal((await ended('/origin-resets')).end, 'origin');
  });

  for (const how of ['close', 'reset'] as const) {
    test(`ends with a ${how} of its client, and nothing else does`, async () => {
      const { client, origin } = await open(`/client-${how}`);
      client.write('four');
      await client.readBytes(4);
      client[how]();
      await origin.waitForEnd();
      const line = await ended(`/client-${how}`);
      assert.deepEqual([line.status, line.end, line.bytes_up], [101, 'client', 4]);
      assert.equal(stage.proxy.running, true);
    });
  }
});

describe('an upgrade that its origin does not make', () => {
  const nope =
    'HTTP/1.1 403 Nope\r\nX-a: 1\r\nX-A: 2\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nnope';
  test('is mirrored', async () => {
    stage.script = once(nope);
    const { text } = await stage.exchange(head('GET http://good.test/ws', demo + fields));
    assert.match(text, /^HTTP\/1\.1 403 Nope\r\nX-a: 1\r\nX-A: 2\r\n[\s\S]*\r\n\r\nnope$/);
    assert.match(text, /\r\nconnection: close\r\n/i);
    assert.doesNotMatch(text, /proxy-authenticate|upgrade/i);
  });

  const broken: [what: string, answer: string][] = [
    ['garbage', 'garbage\r\n\r\n'],
    ['407', nope.replace('403', '407')],
    ['status 999', nope.replace('403', '999')],
    ['another protocol', switching.replace('websocket', 'h2c')],
  ];
  for (const [what, answer] of broken) {
    test(`is 502 for ${what}`, async () => {
      stage.script = once(answer);
      const { text } = await stage.exchange(head('GET http://good.test/ws', demo + fields));
      assert.equal(summary(text), '502 connect_failed');
    });
  }
});

describe('Upgrade is ignored', () => {
  const cases: [what: string, request: string][] = [
    [
      'if Connection does not name it',
      head('GET http://good.test/', `${demo}Upgrade: websocket\r\nConnection: close\r\n`),
    ],
    [
      'from HTTP/1.0',
      `GET http://good.test/ HTTP/1.0\r\n${demo}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n`,
    ],
  ];
  for (const [what, request] of cases) {
    test(what, async () => {
      assert.equal(summary((await stage.exchange(request)).text), '200 GET / HTTP/1.1');
      assert.doesNotMatch(stage.connections.at(-1)?.text ?? '', /upgrade/i);
    });
  }
});

test('refused, it reaches nobody', async () => {
  const before = stage.connections.length;
  for (const [request, answer] of [
    [head('GET http://evil.test/', demo + fields), '403 host_not_allowed'],
    [head('GET http://good.test/', fields), '407 no_credentials'],
    [head('GET http://api.test/secret', demo + fields), '403 path_not_allowed'],
  ] as const) {
    assert.equal(summary((await stage.exchange(request)).text), answer);
  }
  assert.equal(stage.connections.length, before);
});

test('the log is whole', async () => {
  await until(
    () => linesLike(stage.proxy.lines(), { event: 'close' }).length > 0,
    () => 'open',
  );
  const lines = await stage.stop();
  assert.ok(linesLike(lines, { event: 'request', status: 101 }).length >= 6);
});
