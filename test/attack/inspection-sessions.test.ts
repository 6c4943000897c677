import assert from 'node:assert/strict';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { runCommand } from '../support/command.ts';
import { until } from '../support/deadline.ts';
import { type EgressLine, linesLike, readEgressLog } from '../support/egress-lines.ts';
import { answerAll, head } from '../support/http-stage.ts';
import { demo, InspectionStage, second } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { RawClient } from '../support/raw-client.ts';
import { data, frameTypes, headers, RawHttp2 } from '../support/raw-http2.ts';

await enterNamespace(import.meta.filename);

const entries = [
  { host: 'api.test', paths: ['/**'] },
  { host: 'hooks.test', paths: ['/**'], upload: '100KB' },
  { host: 'h2.test', paths: ['/**'] },
];
let stage: InspectionStage;
before(async () => {
  stage = await InspectionStage.start();
});
after(async () => await stage[Symbol.asyncDispose]());
afterEach(() => {
  stage.script = answerAll;
});

const allowed = async (list: readonly unknown[] = entries, more: object = {}) =>
  void (await stage.proxy.reload({ 'demo.yaml': stage.lists(list, more) }));

const endless = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n';
const fields = (host: string, method: string, at: string) =>
  [
    [':method', method],
    [':scheme', 'https'],
    [':authority', host],
    [':path', at],
  ] as const;

interface Living {
  readonly what: string;
  /** Path → the request. */
  readonly paths: readonly string[];
  readonly over: () => boolean;
}

/** Every kind of request under way: events and uploads, over both versions, to origins of both. */
async function allKinds(): Promise<Living[]> {
  stage.script = ({ socket }) => void socket.once('data', () => socket.write(endless));
  const [h2] = stage.http2;
  if (h2 !== undefined) h2.listener = (_request, response) => void response.write('data: 1\n\n');
  const living: Living[] = [];
  const events = await stage.open('api.test');
  events.write(head('GET /events-1', '', 'api.test'));
  await events.readUntil('data: 1');
  living.push({
    what: 'events',
    paths: ['/events-1'],
    over: () => events.ended || events.error !== null,
  });
  const upload = await stage.open('api.test');
  upload.write(`${head('POST /upload-1', 'Content-Length: 100000\r\n', 'api.test')}abc`);
  living.push({
    what: 'an upload',
    paths: ['/upload-1'],
    over: () => upload.ended || upload.error !== null,
  });
  for (const host of ['api.test', 'h2.test']) {
    const raw = new RawHttp2(await stage.openTls(host, { ALPNProtocols: ['h2'] }), 'client');
    raw.write(
      headers(1, fields(host, 'GET', `/events-2-${host}`)),
      headers(3, fields(host, 'POST', `/upload-2-${host}`), false),
      data(3, 'abc'),
    );
    await until(
      () => raw.of(1, frameTypes.data).length > 0,
      () => 'no event',
    );
    living.push({
      what: `HTTP/2 to ${host}`,
      paths: [`/events-2-${host}`, `/upload-2-${host}`],
      over: () => raw.isOver(1) && raw.isOver(3),
    });
  }
  await until(
    () =>
      living.every(({ paths }) =>
        paths.every((at) => linesLike(stage.proxy.lines(), { event: 'open', path: at }).length > 0),
      ),
    () => 'not all requests are open',
  );
  return living;
}

async function run(...args: string[]): Promise<void> {
  const config = path.join(stage.proxy.directory, 'sallyport.yaml');
  const { status, stderr } = await runCommand([...args, '--config', config], {});
  assert.equal(status, 0, stderr);
}

const causes: [
  cause: string,
  tunnels: boolean,
  begin: () => Promise<void>,
  happen: () => Promise<void>,
][] = [
  ['policy_changed', true, () => allowed(), () => allowed(['free.test'])],
  [
    'policy_changed',
    false,
    () => allowed(),
    () => allowed(entries.map(({ host }) => ({ host, paths: ['/other'] }))),
  ],
  [
    'entry_expired',
    true,
    () =>
      allowed(
        entries.map((entry) => ({ ...entry, until: new Date(Date.now() + 1500).toISOString() })),
      ),
    () => Promise.resolve(),
  ],
  ['agent_quarantined', true, () => allowed(), () => run('quarantine', 'demo')],
];

describe('what is under way inside inspected tunnels is cut by', () => {
  for (const [cause, tunnels, begin, happen] of causes) {
    test(`${cause}, ${tunnels ? 'with their tunnels' : 'alone'}`, async () => {
      await begin();
      const from = readEgressLog(stage.proxy.logFile).length;
      const living = await allKinds();
      await happen();
      for (const { what, over } of living) await until(over, () => `${what} goes on`);
      const lines = (): EgressLine[] => readEgressLog(stage.proxy.logFile).slice(from);
      for (const at of living.flatMap(({ paths }) => paths)) {
        await until(
          () =>
            linesLike(lines(), { event: 'request', path: at, end: cause, verdict: 'block' })
              .length === 1,
          () => `${at} in ${JSON.stringify(linesLike(lines(), { path: at }))}`,
        );
      }
      if (tunnels) {
        await until(
          () => linesLike(lines(), { event: 'close', end: cause }).length >= living.length,
          () => JSON.stringify(linesLike(lines(), { event: 'close' })),
        );
      }
      if (cause === 'agent_quarantined') await run('unquarantine', 'demo');
    });
  }
});

describe('a TLS session is never taken up again', () => {
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${maxVersion}: on the same host, another host, and by another agent`, async () => {
      await allowed();
      const sessions: Buffer[] = [];
      const first = await stage.openTls('hooks.test', { maxVersion });
      first.on('session', (session: Buffer) => sessions.push(session));
      const own = first.getSession();
      if (own !== undefined) sessions.push(own);
      first.end(head('GET /', 'Connection: close\r\n', 'hooks.test'));
      await new Promise((resolve) => first.resume().once('close', resolve));
      for (const session of sessions) {
        for (const [host, as] of [
          ['hooks.test', demo],
          ['hooks.test', second],
          ['api.test', demo],
        ] as const) {
          const again = await stage.openTls(host, { maxVersion, session, as });
          assert.equal(again.isSessionReused(), false);
          again.destroy();
        }
      }
      assert.ok(sessions.length > 0);
    });
  }
});

describe('fronting inside TLS', () => {
  test('another host of the same wildcard is not reached', async () => {
    await allowed([{ host: '*.test', paths: ['/**'], broad: true, note: 'to be tested' }]);
    for (const alpn of ['h2', 'http/1.1']) {
      stage.connections.length = 0;
      const socket = await stage.openTls('api.test', { ALPNProtocols: [alpn] });
      if (alpn === 'h2') {
        const raw = new RawHttp2(socket, 'client');
        // The second would be coalesced by a client that trusts the certificate for both.
        raw.write(
          headers(1, fields('api.test', 'GET', '/mine')),
          headers(3, fields('hooks.test', 'GET', '/theirs')),
          headers(5, fields('api.test:8443', 'GET', '/port')),
        );
        await Promise.all([1, 3, 5].map((stream) => raw.untilOver(stream)));
        assert.deepEqual(
          [1, 3, 5].map((stream) => raw.statuses(stream)),
          [[200], [403], [403]],
        );
      } else {
        const client = new RawClient(socket);
        client.write(head('GET /mine', '', 'api.test') + head('GET /theirs', '', 'hooks.test'));
        assert.match(
          (await client.readToClose()).toString(),
          /^HTTP\/1.1 200 [\s\S]*HTTP\/1.1 403 /,
        );
      }
      socket.destroy();
      assert.doesNotMatch(stage.connections.map(({ text }) => text).join(''), /theirs|\/port/);
    }
  });
  test('a SNI of another host of the wildcard is cut', async () => {
    await assert.rejects(stage.openTls('api.test', { servername: 'hooks.test' }));
    await assert.rejects(stage.openTls('api.test', { servername: 'evil.test' }));
  });
  test('agents at once have connections of their own', async () => {
    await allowed();
    stage.connections.length = 0;
    for (const as of [demo, second, demo]) {
      const client = await stage.open('hooks.test', { as });
      client.write(head('GET /', 'Connection: close\r\n', 'hooks.test'));
      await client.readToClose();
    }
    assert.equal(stage.connections.length, 3);
  });
});

test('an upload cap counts for each stream of a connection', async () => {
  await allowed();
  stage.script = () => undefined;
  const raw = new RawHttp2(await stage.openTls('hooks.test', { ALPNProtocols: ['h2'] }), 'client');
  const streams = Array.from({ length: 12 }, (_, i) => 2 * i + 1);
  for (const stream of streams)
    raw.write(headers(stream, fields('hooks.test', 'POST', `/${stream}`), false));
  for (let round = 0; round < 8; round++) {
    for (const stream of streams) raw.write(data(stream, 'x'.repeat(16_000)));
    await until(
      () =>
        raw.of(0, frameTypes.windowUpdate).length > round ||
        raw.closed ||
        streams.every((one) => raw.isOver(one)),
      () => 'no window',
    );
  }
  await Promise.all(streams.map((stream) => raw.untilOver(stream)));
  for (const stream of streams) assert.deepEqual(raw.statuses(stream), [413]);
  raw.socket.destroy();
});
