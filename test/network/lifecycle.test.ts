import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { assertEgressLog, linesLike, onlyLine, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { canary, type Origin, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess, ProxyStartError } from '../support/proxy-process.ts';
import { header, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const address = '93.184.215.14';
const main = path.resolve(import.meta.dirname, '../../src/main.ts');
const allowlists = {
  'demo.yaml': { agents: { demo: agent(token, ['tcp://tcp.test:22', 'http://tcp.test:22']) } },
};

let dns: Awaited<ReturnType<typeof startDnsServer>>;
let origin: Origin;

before(async () => {
  dns = await startDnsServer({
    address: dnsAddress,
    port: 53,
    zone: { 'tcp.test': { a: [address] } },
  });
  origin = await startTcpOrigin({ address, port: 22 }, ({ socket }) => {
    socket.pipe(socket);
  });
});

after(async () => {
  await origin.close();
  await dns.close();
});

async function open(proxy: ProxyProcess): Promise<RawClient> {
  const client = await RawClient.connect({ port: proxy.port });
  assert.equal((await client.tunnel('tcp.test:22', credentials)).status, 200);
  return client;
}

async function echoes(client: RawClient): Promise<void> {
  client.write('ping');
  assert.equal((await client.readBytes(4)).toString(), 'ping');
}

function descriptors(proxy: ProxyProcess): number {
  return fs.readdirSync(`/proc/${proxy.pid}/fd`).length;
}

describe('a start that cannot be', () => {
  const taken = '93.184.215.15:3128';
  const cases: [what: string, options: Parameters<typeof ProxyProcess.start>[0], says: RegExp][] = [
    [
      'a broken allowlist',
      { allowlists: { 'a.yaml': 'agents: [\n' } },
      /^a\.yaml:\d+:\d+ {2}\S+ {2}./m,
    ],
    ['an unknown key', { allowlists: { 'a.yaml': 'agent: {}\n' } }, /^a\.yaml:1:1 .*agent/m],
    [
      'a file that is a broken link',
      { allowlists: {}, args: ['--allowlists', '/proc/self/no'] },
      /does not exist/,
    ],
    [
      'a listener that is taken',
      { allowlists, settings: { listen: [taken] } },
      /93\.184\.215\.15:3128.*already/,
    ],
    [
      'a second listener that is taken',
      { allowlists, settings: { listen: ['127.0.0.1:0', taken] } },
      /already/,
    ],
    [
      'an admin listener that is taken',
      { allowlists, settings: { admin: taken } },
      /93\.184\.215\.15:3128.*already/,
    ],
    [
      'a taken listener and workers',
      { allowlists, settings: { listen: [taken], workers: 2 } },
      /already/,
    ],
    [
      'a taken admin listener and workers',
      { allowlists, settings: { admin: taken, workers: 2 } },
      /already/,
    ],
    [
      'an address that is not here',
      { allowlists, settings: { listen: ['198.51.100.7:3128'] } },
      /no such address/,
    ],
    [
      'a log in a file that is no directory',
      { allowlists, settings: { log: '/etc/hosts/x/egress.jsonl' } },
      /egress log.*cannot be written/,
    ],
    [
      'a log on a full device',
      { allowlists, settings: { log: '/dev/full' } },
      /egress log.*cannot be written/,
    ],
    [
      'a log that is a directory',
      { allowlists, settings: { log: '/tmp' } },
      /egress log.*cannot be written/,
    ],
    [
      'an unknown setting',
      { allowlists, settings: { listens: [] } },
      /sallyport\.yaml:\d+:\d+.*listens/,
    ],
    [
      'a setting of another type',
      { allowlists, settings: { workers: 'many' } },
      /sallyport\.yaml:\d+:\d+.*workers/,
    ],
    [
      'a bad duration',
      { allowlists, settings: { limits: { 'idle-timeout': '5 parsecs' } } },
      /sallyport\.yaml:\d+:\d+.*idle-timeout/,
    ],
    [
      'a port too large',
      { allowlists, settings: { listen: ['127.0.0.1:70000'] } },
      /sallyport\.yaml:\d+:\d+.*70000/,
    ],
    [
      'a config that is not there',
      { allowlists, args: ['--config', '/no/such.yaml'] },
      /no\/such\.yaml/,
    ],
    ['a bad variable', { allowlists, env: { SALLYPORT_WORKERS: 'x' } }, /SALLYPORT_WORKERS/],
  ];
  for (const [what, options, says] of cases) {
    test(`${what}: status 3 and a sentence`, async () => {
      await using _ = await canary('93.184.215.15', 3128);
      await assert.rejects(ProxyProcess.start(options), (error) => {
        assert.ok(error instanceof ProxyStartError, String(error));
        assert.equal(error.status, 3, error.stderr);
        assert.match(error.stderr, says);
        assert.doesNotMatch(error.stderr, /^\s+at |node:internal/m, 'no stack');
        return true;
      });
    });
  }

  const wrong = [['serve', '--no-such'], ['serve', 'extra'], ['server'], ['serve', '--listen'], []];
  for (const args of wrong) {
    test(`wrong usage is status 2: ${args.join(' ')}`, () => {
      const run = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: '/tmp' });
      assert.equal(run.status, 2, run.stderr);
      assert.notEqual(run.stderr, '');
    });
  }
});

describe('SIGTERM', () => {
  test('waits for tunnels, takes no new connection, and ends with 0', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    const client = await open(proxy);
    const idle = await RawClient.connect({ port: proxy.port });
    proxy.signal('SIGTERM');
    await waitForLine(proxy.logFile, { event: 'drain' });
    await assert.rejects(RawClient.connect({ port: proxy.port }), { code: 'ECONNREFUSED' });
    await idle.readToClose();
    assert.equal((await proxy.admin('/ready')).status, 503);
    assert.equal((await proxy.admin('/health')).status, 200);
    await sleep(300);
    await echoes(client);
    client.end();
    await client.readToEnd();
    assert.equal(await proxy.waitForExit(), 0);
    const lines = proxy.lines();
    assertEgressLog(lines);
    assert.deepEqual(
      lines.map(({ event }) => event),
      ['start', 'open', 'drain', 'close', 'stop'],
    );
    assert.equal(onlyLine(lines, { event: 'close' }).end, 'client');
  });

  test('cuts what is left after drain-timeout', async () => {
    await using proxy = await ProxyProcess.start({
      allowlists,
      settings: { limits: { 'drain-timeout': '700ms' } },
    });
    const clients = await Promise.all(Array.from({ length: 20 }, () => open(proxy)));
    const before = performance.now();
    proxy.signal('SIGTERM');
    assert.equal(await proxy.waitForExit(), 0);
    assert.ok(performance.now() - before >= 600, 'it did not wait');
    const lines = proxy.lines();
    assertEgressLog(lines);
    assert.equal(linesLike(lines, { event: 'close', end: 'draining' }).length, 20);
    assert.equal(lines.at(-1)?.event, 'stop');
    for (const client of clients) client.close();
  });

  for (const second of ['SIGTERM', 'SIGINT'] as const) {
    test(`a second signal (${second}) ends the wait`, async () => {
      await using proxy = await ProxyProcess.start({ allowlists });
      const client = await open(proxy);
      proxy.signal('SIGINT');
      await waitForLine(proxy.logFile, { event: 'drain' });
      proxy.signal(second);
      assert.equal(await proxy.waitForExit(2000), 0);
      const lines = proxy.lines();
      assertEgressLog(lines);
      assert.equal(onlyLine(lines, { event: 'close' }).end, 'draining');
      client.close();
    });
  }

  test('a request on a kept connection is refused with draining', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    const busy = await open(proxy);
    const kept = await RawClient.connect({ port: proxy.port });
    kept.write('CONNECT tcp.test:22 HTTP/1.1\r\nHost: tcp.test:22\r\n');
    await sleep(100);
    proxy.signal('SIGTERM');
    await waitForLine(proxy.logFile, { event: 'drain' });
    kept.write(`${credentials}\r\n`);
    const answer = await kept.readResponse().catch(() => null);
    if (answer !== null) {
      assert.deepEqual([answer.status, header(answer, 'sallyport-reason')], [503, 'draining']);
    }
    busy.reset();
    assert.equal(await proxy.waitForExit(), 0);
    assertEgressLog(proxy.lines());
  });

  test('a live websocket or request does not outlive the drain', async () => {
    await using proxy = await ProxyProcess.start({
      allowlists,
      settings: { limits: { 'drain-timeout': '300ms' } },
    });
    const client = await RawClient.connect({ port: proxy.port });
    client.write(
      `POST http://tcp.test:22/ HTTP/1.1\r\nHost: x.test\r\nContent-Length: 10\r\n${credentials}\r\n`,
    );
    await waitForLine(proxy.logFile, { event: 'open' });
    proxy.signal('SIGTERM');
    assert.equal(await proxy.waitForExit(), 0);
    const lines = proxy.lines();
    assertEgressLog(lines);
    assert.equal(onlyLine(lines, { event: 'request' }).end, 'draining');
    client.close();
  });
});

describe('files and sockets', () => {
  test('2,000 connections leave no descriptor behind', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    const first = await open(proxy);
    await echoes(first);
    first.reset();
    await sleep(100);
    const before = descriptors(proxy);
    for (let round = 0; round < 20; round++) {
      await Promise.all(
        Array.from({ length: 100 }, async (_, index) => {
          const client = await RawClient.connect({ port: proxy.port });
          if (index % 5 === 0) client.reset();
          else if (index % 5 === 1) await client.tunnel('evil.test:443', credentials);
          else {
            await client.tunnel('tcp.test:22', credentials);
            if (index % 5 === 2) client.reset();
            else client.end();
            if (index % 5 === 3) await client.readToClose();
          }
          client.close();
        }),
      );
    }
    await until(
      () => descriptors(proxy) <= before,
      () => `${descriptors(proxy)} descriptors, before ${before}`,
    );
    assert.match((await proxy.admin('/metrics')).text, /^sallyport_connections_active 0$/m);
    await proxy.stop();
  });

  test('out of descriptors it refuses, and serves again afterwards', async () => {
    await using proxy = await ProxyProcess.start({
      allowlists,
      prefix: ['prlimit', '--nofile=160:160'],
    });
    assert.match(proxy.stderr, /limit of open files is too low/);
    const clients: net.Socket[] = [];
    for (let count = 0; count < 400; count++) {
      const socket = net.connect({ port: proxy.port, host: '127.0.0.1' });
      socket.on('error', () => undefined).resume();
      socket.write(`CONNECT tcp.test:22 HTTP/1.1\r\nHost: tcp.test:22\r\n${credentials}\r\n`);
      clients.push(socket);
    }
    await sleep(800);
    assert.ok(proxy.running, proxy.stderr);
    assert.equal((await proxy.admin('/health')).status, 200);
    for (const socket of clients) socket.destroy();
    await until(
      async () => {
        const client = await RawClient.connect({ port: proxy.port });
        const { status } = await client
          .tunnel('tcp.test:22', credentials)
          .catch(() => ({ status: 0 }));
        client.close();
        return status === 200;
      },
      () => 'it does not serve again',
    );
    const lines = await proxy.stop();
    assert.ok(linesLike(lines, { event: 'block', reason: 'overloaded' }).length > 0);
  });

  test('keys are made at the first start, for the owner alone', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    for (const name of fs.readdirSync(path.join(proxy.directory, 'certs'))) {
      const file = path.join(proxy.directory, 'certs', name);
      assert.equal(fs.statSync(file).mode & 0o077, 0, name);
    }
    assert.ok(fs.readdirSync(path.join(proxy.directory, 'certs')).length > 0);
    assert.equal(fs.statSync(proxy.logFile).mode & 0o007, 0);
  });

  test('SIGUSR1 opens no debugger', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    proxy.signal('SIGUSR1');
    await sleep(200);
    await assert.rejects(RawClient.connect({ port: 9229 }), { code: 'ECONNREFUSED' });
  });
});

describe('the admin listener', () => {
  let proxy: ProxyProcess;
  before(async () => {
    proxy = await ProxyProcess.start({ allowlists });
  });
  after(() => proxy[Symbol.asyncDispose]());

  async function ask(head: string): Promise<{ status: number; text: string }> {
    const client = await RawClient.connect({ port: proxy.adminPort });
    client.write(`${head}Connection: close\r\n\r\n`);
    const answer = await client.readResponse({ head: head.startsWith('HEAD') });
    client.close();
    return { status: answer.status, text: answer.body.toString() };
  }

  const cases: [head: string, status: number][] = [
    ['GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n', 200],
    ['HEAD /health HTTP/1.1\r\nHost: 127.0.0.1\r\n', 200],
    ['GET /ready?x=1 HTTP/1.1\r\nHost: localhost:3129\r\n', 200],
    ['GET /metrics HTTP/1.1\r\nHost: [::1]:3129\r\n', 200],
    ['GET /connections HTTP/1.1\r\nHost: 127.0.0.1:3129\r\n', 200],
    ['POST /reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n', 200],
    ['GET /reload HTTP/1.1\r\nHost: 127.0.0.1\r\n', 405],
    ['POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n', 405],
    ['GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n', 404],
    ['GET /connections HTTP/1.1\r\nHost: rebound.example\r\n', 403],
    ['GET /connections HTTP/1.1\r\nHost: 127.0.0.1.example\r\n', 403],
    [
      'POST /reload HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n',
      403,
    ],
    ['POST /reload HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: null\r\nContent-Length: 0\r\n', 403],
    ['GET /connections HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n', 403],
  ];
  for (const [head, status] of cases) {
    test(`${head.split('\r\n', 2).join(', ')}: ${status}`, async () => {
      assert.equal((await ask(head)).status, status);
    });
  }

  test('/connections tells who is connected whereto', async () => {
    const client = await open(proxy);
    await echoes(client);
    const { connections } = JSON.parse((await proxy.admin('/connections')).text);
    assert.equal(connections.length, 1);
    const [row] = connections;
    assert.deepEqual(
      [row.agent, row.host, row.port, row.address, row.bytes_up, row.bytes_down],
      ['demo', 'tcp.test', 22, `${address}:22`, 4, 4],
    );
    assert.ok(!JSON.stringify(row).includes(token));
    client.reset();
  });

  test('/metrics is what Prometheus reads', async () => {
    const { text } = await proxy.admin('/metrics');
    assert.ok(text.endsWith('\n'));
    const names = new Set<string>();
    for (const line of text.trimEnd().split('\n')) {
      const help = /^# (HELP|TYPE) ([a-z_]+) ./.exec(line);
      if (help !== null) names.add(help[2] ?? '');
      else if (line !== '')
        assert.match(line, /^[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? (NaN|[-+]?[0-9.e+-]+|\+Inf)$/);
    }
    for (const name of [
      'connections_active',
      'tunnels_active',
      'decisions_total',
      'bytes_total',
      'reloads_total',
    ]) {
      assert.ok(names.has(`sallyport_${name}`), name);
    }
  });

  test('is not reached through the proxy', async () => {
    for (const target of [
      `127.0.0.1:${proxy.adminPort}`,
      `[::1]:${proxy.adminPort}`,
      `[::ffff:127.0.0.1]:${proxy.adminPort}`,
    ]) {
      const client = await RawClient.connect({ port: proxy.port });
      const { status } = await client.tunnel(target, credentials);
      assert.ok(status === 403 || status === 508, `${target}: ${status}`);
      client.close();
    }
  });
});
