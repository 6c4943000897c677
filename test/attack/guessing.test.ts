/** Whoever guesses credentials is made slow; whoever has the right one, behind the same address, is not. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { until } from '../support/deadline.ts';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { linesLike, onlyLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { echo, type Origin, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import {
  connectHead,
  proxyAuthorization,
  RawClient,
  type RawResponse,
} from '../support/raw-client.ts';
import { assertRefusal } from '../support/refusal.ts';

await enterNamespace(import.meta.filename);

const secret = 'alices-long-random-token';
const address = '93.184.215.14';
const good = proxyAuthorization(secret, 'alice');
const bad = proxyAuthorization('a-guess', 'alice');
const allowlists = { 'a.yaml': { agents: { alice: agent(secret, ['tcp://good.test:22']) } } };

/** How the wrong credential is shown: each way in, and how it is written. */
const entries: readonly (readonly [what: string, request: (fields: string) => string])[] = [
  ['CONNECT', (fields) => connectHead('good.test:22', fields)],
  [
    'absolute-form',
    (fields) => `GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\n${fields}\r\n`,
  ],
  [
    'an upgrade',
    (fields) =>
      `GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${fields}\r\n`,
  ],
  ['/policy', (fields) => `GET /policy HTTP/1.1\r\nHost: x\r\n${fields}\r\n`],
];

let proxy: ProxyProcess;
let dns: DnsServer;
let origin: Origin;
/** Addresses of 127.0.0.0/8 that have not failed yet, one for each test. */
let sources = 0;
const newSource = () => `127.2.0.${++sources}`;

before(async () => {
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone: { '*': { a: [address] } } });
  origin = await startTcpOrigin({ address, port: 22 }, echo);
  proxy = await ProxyProcess.start({ allowlists });
});

after(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin.close();
  await dns.close();
});

/** One attempt on a connection of its own. */
async function attempt(localAddress: string, request: string): Promise<RawClient> {
  const client = await RawClient.connect({ port: proxy.port, localAddress });
  client.write(request);
  return client;
}

async function answerOf(client: RawClient): Promise<RawResponse> {
  const answer = await client.readResponse();
  client.close();
  return answer;
}

/** Uses up the ration of a source. */
async function exhaust(source: string): Promise<void> {
  for (let n = 0; n < 20; n++) {
    const client = await attempt(source, connectHead('good.test:22', bad));
    assertRefusal(await answerOf(client), 'bad_credentials');
  }
}

/** Milliseconds that a tunnel with the right credential takes to open. */
async function openTunnel(source: string): Promise<number> {
  const started = performance.now();
  const client = await RawClient.connect({ port: proxy.port, localAddress: source });
  assert.equal((await client.tunnel('good.test:22', good)).status, 200);
  client.close();
  return performance.now() - started;
}

/** The bytes of a 407 without what is of one request alone. */
function shown(bytes: string): string {
  const id = /Sallyport-Id: (\w+)/.exec(bytes)?.[1] ?? 'none';
  return bytes
    .replaceAll(id, 'ID')
    .replace(/"host":"[^"]*","port":\d+,/, '')
    .replace(/Content-Length: \d+/, '');
}

const metric = async (name: string) => {
  const { text } = await proxy.admin('/metrics');
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1] ?? 0,
  );
};

describe('after twenty failures', () => {
  for (const [what, request] of entries) {
    test(`${what}: the same answer comes a second later`, async () => {
      const source = newSource();
      const client = await attempt(source, request(bad));
      const first = (await client.readToClose()).toString('latin1');
      await exhaust(source);
      const started = performance.now();
      const slow = await attempt(source, request(bad));
      const late = (await slow.readToClose()).toString('latin1');
      assert.ok(performance.now() - started > 700, 'it waited');
      assert.equal(shown(late), shown(first));
      const id = /Sallyport-Id: (\w+)/.exec(late)?.[1];
      const line = onlyLine(proxy.lines(), { event: 'block', id: id ?? '' });
      assert.deepEqual([line.reason, line.status], ['bad_credentials', 407]);
      assert.equal(line.client?.split(':')[0], source);
    });
  }

  test('the line is in the log before the answer', async () => {
    const source = newSource();
    await exhaust(source);
    const before = linesLike(proxy.lines(), { reason: 'bad_credentials' }).length;
    const client = await attempt(source, connectHead('good.test:22', bad));
    await until(
      () => linesLike(proxy.lines(), { reason: 'bad_credentials' }).length > before,
      () => 'no line',
    );
    assert.equal(client.pending.length, 0);
    assertRefusal(await answerOf(client), 'bad_credentials');
  });

  test('the right credential is served at once, from the same address', async () => {
    const source = newSource();
    await exhaust(source);
    const waiting = await Promise.all(
      Array.from({ length: 30 }, () => attempt(source, connectHead('good.test:22', bad))),
    );
    await openTunnel(source);
    assert.ok(
      waiting.every((client) => client.pending.length === 0),
      'it did not wait for those who failed',
    );
    for (const client of waiting) assertRefusal(await answerOf(client), 'bad_credentials');
  });

  test('the right credential may come on the connection of requests that were served', async () => {
    const source = newSource();
    await exhaust(source);
    const client = await attempt(
      source,
      `GET /policy HTTP/1.1\r\nHost: x\r\n${good}\r\nGET /policy HTTP/1.1\r\nHost: x\r\n${bad}\r\n`,
    );
    assert.equal((await client.readResponse()).status, 200);
    assertRefusal(await answerOf(client), 'bad_credentials');
  });

  test('nothing to show is answered at once', async () => {
    const source = newSource();
    await exhaust(source);
    const slow = await attempt(source, connectHead('good.test:22', bad));
    const quick = await attempt(source, connectHead('good.test:22'));
    assertRefusal(await answerOf(quick), 'no_credentials');
    assert.equal(slow.pending.length, 0);
    slow.close();
  });

  test('another address is answered at once', async () => {
    const source = newSource();
    await exhaust(source);
    const slow = await attempt(source, connectHead('good.test:22', bad));
    const quick = await attempt(newSource(), connectHead('good.test:22', bad));
    assertRefusal(await answerOf(quick), 'bad_credentials');
    assert.equal(slow.pending.length, 0);
    slow.close();
  });
});

describe('a flood of guesses', () => {
  test('is closed where 64 wait; every guess is in the log; alice gets in', async () => {
    const source = newSource();
    await exhaust(source);
    const lines = proxy.lines().length;
    const [held, closed] = await Promise.all(['held', 'none'].map(countOf));
    const guesses = await Promise.all(
      Array.from({ length: 200 }, (_, n) => {
        const [, request] = entries[n % entries.length] as (typeof entries)[number];
        return attempt(source, request(proxyAuthorization(`guess-${n}`, 'alice')));
      }),
    );
    await openTunnel(source);
    const answers = await Promise.all(guesses.map((client) => client.readToClose()));
    for (const client of guesses) client.close();
    const silent = answers.filter((bytes) => bytes.length === 0).length;
    assert.ok(silent >= 100, `${silent} closed without a word`);
    assert.ok(silent <= 200 - 64, `${200 - silent} answered`);
    const blocked = linesLike(proxy.lines().slice(lines), { reason: 'bad_credentials' });
    assert.equal(blocked.length, 200);
    assert.equal(blocked.filter((line) => line.status === undefined).length, silent);
    assert.equal((await countOf('none')) - (closed ?? 0), silent);
    assert.ok((await countOf('held')) - (held ?? 0) >= 64);
  });

  test('leaves its connections when its clients go', async () => {
    const source = newSource();
    await exhaust(source);
    const open = await metric('sallyport_connections_active');
    const guesses = await Promise.all(
      Array.from({ length: 60 }, () => attempt(source, connectHead('good.test:22', bad))),
    );
    await until(
      async () => (await metric('sallyport_connections_active')) >= open + 50,
      () => 'what waits counts as a connection',
    );
    for (const client of guesses) client.close();
    await until(
      async () => (await metric('sallyport_connections_active')) <= open,
      () => 'still open',
    );
  });
});

/** Failures so answered. */
async function countOf(answer: string): Promise<number> {
  return await metric(
    `sallyport_identity_failures_total{reason="bad_credentials",answer="${answer}"}`,
  );
}

test('a drain does not wait for answers that wait; the log is whole', async () => {
  const source = newSource();
  await exhaust(source);
  const before = linesLike(proxy.lines(), { reason: 'bad_credentials' }).length;
  const waiting = await attempt(source, connectHead('good.test:22', bad));
  await until(
    () => linesLike(proxy.lines(), { reason: 'bad_credentials' }).length > before,
    () => 'not refused',
  );
  await proxy.stop();
  assert.equal((await waiting.readToClose()).length, 0);
});
