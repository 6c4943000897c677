/** Revocations and quarantines against what is live: attack family G14 and the contract's one second. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, beforeEach, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BlackHole, openBlackHole } from '../support/black-hole.ts';
import { clientHello } from '../support/client-hello.ts';
import { runCommand } from '../support/command.ts';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { type EgressLine, linesLike, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { type Origin, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { header, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const address = '93.184.215.14';
const token = 'a-long-random-token-of-the-test';
const tokenId = `sha256:${createHash('sha256').update(token).digest('hex').slice(0, 12)}`;
const allow = [
  'tcp://one.test:22',
  'tcp://slow.test:22',
  'tcp://hole.test:4444',
  'tls.test',
  'http://web.test',
];
const allowlists = {
  'demo.yaml': {
    agents: { demo: agent(token, allow), bob: agent('the-token-of-bob', ['tcp://one.test:22']) },
  },
};

let dns: Awaited<ReturnType<typeof startDnsServer>>;
let origins: Origin[];
let hole: BlackHole;

before(async () => {
  dns = await startDnsServer({
    address: dnsAddress,
    port: 53,
    zone: { '*': { a: [address] }, 'slow.test': { a: [address], delay: 1500 } },
  });
  hole = await openBlackHole(address, 4444);
  const key = /^sec-websocket-key: (.*)$/im;
  origins = await Promise.all([
    startTcpOrigin({ address, port: 22 }, ({ socket }) => {
      socket.pipe(socket);
    }),
    startTcpOrigin({ address, port: 443 }),
    startTcpOrigin({ address, port: 80 }, (received) => {
      received.socket.once('data', () => {
        const accept = createHash('sha1')
          .update(`${key.exec(received.text)?.[1]?.trim()}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest('base64');
        if (received.text.includes('/silent')) return;
        received.socket.write(
          received.text.includes('/ws')
            ? `HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
            : 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart',
        );
      });
    }),
  ]);
});

after(async () => {
  await Promise.all([...origins.map((origin) => origin.close()), dns.close()]);
  await hole[Symbol.asyncDispose]();
});

const file = (proxy: ProxyProcess) => path.join(proxy.directory, 'allowlists', 'revocations.yaml');

/** Runs a command against this proxy, as its user would. */
async function command(proxy: ProxyProcess, ...argv: string[]) {
  const config = ['--config', path.join(proxy.directory, 'sallyport.yaml')];
  const env = { SALLYPORT_ADMIN: `127.0.0.1:${proxy.adminPort}` };
  return await runCommand([...argv, ...config], env);
}

/** An issued credential of demo, and its id. */
async function issued(proxy: ProxyProcess): Promise<{ credential: string; id: string }> {
  const { stdout } = await command(proxy, 'token', 'issue', 'demo', '--json');
  return JSON.parse(stdout) as { credential: string; id: string };
}

async function status(
  proxy: ProxyProcess,
  fields: string,
  target = 'one.test:22',
): Promise<number> {
  const client = await RawClient.connect({ port: proxy.port });
  const answer = await client.tunnel(target, fields);
  client.reset();
  return answer.status;
}

const from = (client: RawClient) => `${client.socket.localAddress}:${client.socket.localPort}`;
const gone = ({ client }: Alive) => client.ended || client.closed;

/** Something that is alive when it is revoked. */
interface Alive {
  readonly what: string;
  readonly client: RawClient;
  /** Fields of its last line. */
  readonly last: Partial<EgressLine>;
}

async function openTunnel(proxy: ProxyProcess, target: string, fields: string): Promise<Alive> {
  const client = await RawClient.connect({ port: proxy.port });
  assert.equal((await client.tunnel(target, fields)).status, 200);
  if (target === 'tls.test:443') client.write(clientHello({ sni: 'tls.test' }));
  return { what: target, client, last: { event: 'close', client: from(client) } };
}

/** Asks for a tunnel that is not answered yet. */
async function askTunnel(proxy: ProxyProcess, target: string, fields: string): Promise<Alive> {
  const client = await RawClient.connect({ port: proxy.port });
  client.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${fields}\r\n`);
  const listed = async () => (await proxy.admin('/connections')).text.includes(from(client));
  await until(listed, () => `${target} is not listed`);
  return { what: target, client, last: { event: 'block', client: from(client) } };
}

const upgrade =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

async function openRequest(proxy: ProxyProcess, where: string, fields: string): Promise<Alive> {
  const client = await RawClient.connect({ port: proxy.port });
  client.write(
    `GET http://web.test${where} HTTP/1.1\r\nHost: web.test\r\n${fields}${where === '/ws' ? upgrade : ''}\r\n`,
  );
  if (where === '/silent') {
    await waitForLine(proxy.logFile, { event: 'open', client: from(client) });
  } else await client.readUntil('\r\n\r\n');
  return { what: where, client, last: { event: 'request', client: from(client) } };
}

/** One of everything that can be alive. */
async function openAll(proxy: ProxyProcess, fields: string): Promise<Alive[]> {
  return await Promise.all([
    openTunnel(proxy, 'one.test:22', fields),
    openTunnel(proxy, 'tls.test:443', fields),
    openTunnel(proxy, 'web.test:80', fields),
    openRequest(proxy, '/slow', fields),
    openRequest(proxy, '/silent', fields),
    openRequest(proxy, '/ws', fields),
    askTunnel(proxy, 'slow.test:22', fields),
    askTunnel(proxy, 'hole.test:4444', fields),
  ]);
}

async function assertAllCut(proxy: ProxyProcess, alive: Alive[], reason: string): Promise<void> {
  for (const one of alive) {
    await until(
      () => gone(one),
      () => `${one.what} is still connected`,
      1500,
    );
    const line = await waitForLine(proxy.logFile, one.last);
    assert.deepEqual([line.verdict, line.reason], ['block', reason], one.what);
    if (line.event === 'close') assert.equal(line.end, reason, one.what);
    one.client.close();
  }
}

for (const workers of [1, 2]) {
  describe(`everything that lives by it is cut, ${workers} workers`, () => {
    let proxy: ProxyProcess;
    const bob = proxyAuthorization('the-token-of-bob', 'bob');
    before(async () => {
      proxy = await ProxyProcess.start({ allowlists, settings: { workers } });
    });
    after(() => proxy[Symbol.asyncDispose]());
    beforeEach(async () => {
      fs.rmSync(file(proxy), { force: true });
      assert.equal((await proxy.admin('/revocations', 'POST')).status, 200);
    });

    const ways: [
      what: string,
      reason: string,
      status: number,
      credential: 'issued' | 'static',
      argv: (id: string) => string[],
    ][] = [
      ['an issued credential', 'credential_revoked', 407, 'issued', (id) => ['revoke', id]],
      ['a static token', 'credential_revoked', 407, 'static', () => ['revoke', tokenId]],
      ['all that was issued', 'credential_revoked', 407, 'issued', () => ['revoke', 'demo']],
      ['the agent', 'agent_quarantined', 403, 'static', () => ['quarantine', 'demo']],
      ['the agent, issued', 'agent_quarantined', 403, 'issued', () => ['quarantine', 'demo']],
    ];
    for (const [what, reason, refused, kind, argv] of ways) {
      test(what, async () => {
        const { credential, id } = await issued(proxy);
        const fields = proxyAuthorization(kind === 'issued' ? credential : token, 'demo');
        const alive = await openAll(proxy, fields);
        const other = await openTunnel(proxy, 'one.test:22', bob);
        const result = await command(proxy, ...argv(id), '--by', 'alice', '--why', 'a test');
        assert.equal(result.status, 0, result.stderr);
        assert.match(result.stdout, /^In force at 127\.0\.0\.1:\d+; [89] live connections cut\.$/m);
        await assertAllCut(proxy, alive, reason);
        assert.equal(await status(proxy, fields), refused);
        other.client.write('still here');
        await other.client.readUntil('still here');
        other.client.close();
        const [line, second] = linesLike(proxy.lines(), { event: 'revoke' }).slice(-2);
        const told = second ?? line;
        assert.deepEqual(
          [told?.reason, told?.requested_by, told?.task, told?.node.endsWith('/0')],
          [reason, 'alice', 'a test', true],
        );
        assert.match(told?.entry ?? '', /^revocations\.yaml:\d+$/);
      });
    }

    test('what is issued after `revoke AGENT` is good', async () => {
      const before = await issued(proxy);
      await command(proxy, 'revoke', 'demo');
      const later = await issued(proxy);
      assert.equal(await status(proxy, proxyAuthorization(before.credential)), 407);
      assert.equal(await status(proxy, proxyAuthorization(later.credential)), 200);
      assert.equal(await status(proxy, proxyAuthorization(token, 'demo')), 200);
    });

    test('a quarantine that is lifted lets the agent go on, and the log says so', async () => {
      const fields = proxyAuthorization(token, 'demo');
      await command(proxy, 'quarantine', 'demo');
      const client = await RawClient.connect({ port: proxy.port });
      const answer = await client.tunnel('one.test:22', fields);
      assert.equal(answer.status, 403);
      assert.equal(header(answer, 'sallyport-reason'), 'agent_quarantined');
      const { error } = JSON.parse(answer.body.toString()) as {
        error: { agent: string; owner: string; retry: boolean; hint: string };
      };
      assert.deepEqual(
        [error.agent, error.owner, error.retry],
        ['demo', 'owner@example.com', false],
      );
      assert.match(error.hint, /owner@example\.com/);
      client.close();
      const guess = proxyAuthorization('a-guess', 'demo');
      assert.equal(await status(proxy, guess), 407, 'who proves nothing is told nothing');
      const lifted = await command(proxy, 'unquarantine', 'demo');
      assert.match(lifted.stdout, /^In force at/m);
      assert.equal(await status(proxy, fields), 200);
      await waitForLine(proxy.logFile, {
        event: 'reload',
        agent: 'demo',
        end: 'agent_quarantined',
      });
    });

    test('one connection, by its id', async () => {
      const fields = proxyAuthorization(token, 'demo');
      const [one, other] = [
        await openTunnel(proxy, 'one.test:22', fields),
        await openTunnel(proxy, 'one.test:22', fields),
      ];
      const listed = await command(proxy, 'connections', '--json', '--agent', 'demo');
      const rows = (JSON.parse(listed.stdout) as { connections: { id: string; client: string }[] })
        .connections;
      const id = rows.find(({ client }) => client === from(one.client))?.id ?? '';
      const result = await command(proxy, 'connections', 'cut', id, 'nothing', '--by', 'alice');
      assert.deepEqual(
        [result.status, result.stdout],
        [1, `cut  ${id}\nno live connection "nothing"\n`],
      );
      await until(
        () => gone(one),
        () => 'still connected',
      );
      const line = await waitForLine(proxy.logFile, one.last);
      assert.deepEqual(
        [line.verdict, line.reason, line.end],
        ['block', 'policy_changed', 'policy_changed'],
      );
      const told = await waitForLine(proxy.logFile, { event: 'revoke', id });
      assert.deepEqual([told.requested_by, told.agent, told.token], ['alice', 'demo', tokenId]);
      other.client.write('still here');
      await other.client.readUntil('still here');
      for (const { client } of [one, other]) client.close();
    });
  });
}

describe('1,000 live tunnels', () => {
  for (const workers of [1, 2]) {
    test(`are cut within a second, ${workers} workers`, async (t: TestContext) => {
      await using proxy = await ProxyProcess.start({ allowlists, settings: { workers } });
      const fields = proxyAuthorization(token, 'demo');
      const alive: Alive[] = [];
      const kinds = ['one.test:22', 'tls.test:443', '/ws', '/slow'];
      while (alive.length < 1000) {
        const batch = Array.from({ length: 50 }, (_, index) => {
          const kind = kinds[index % kinds.length] ?? '';
          return kind.startsWith('/')
            ? openRequest(proxy, kind, fields)
            : openTunnel(proxy, kind, fields);
        });
        alive.push(...(await Promise.all(batch)));
      }
      const started = Date.now();
      fs.writeFileSync(file(proxy), 'quarantined:\n  - {agent: demo, why: a test}\n');
      await until(
        () => alive.every(gone),
        () => `${alive.filter((one) => !gone(one)).length} are still connected`,
      );
      const ended = Date.now() - started;
      const cut = () => linesLike(proxy.lines(), { reason: 'agent_quarantined', verdict: 'block' });
      await until(
        () => cut().length === 1000,
        () => `${cut().length} lines`,
      );
      const last = Math.max(...cut().map(({ time }) => Date.parse(time))) - started;
      t.diagnostic(`all clients saw the end after ${ended} ms, the last line is of ${last} ms`);
      assert.ok(last < 1000, `the last line is of ${last} ms after the file changed`);
      for (const { client } of alive) client.close();
    });
  }
});

describe('the file', () => {
  let proxy: ProxyProcess;
  const fields = proxyAuthorization(token, 'demo');
  const quarantine = 'quarantined:\n  - agent: demo\n';
  const untilStatus = (wanted: number) =>
    until(
      async () => (await status(proxy, fields)) === wanted,
      () => `not answered with ${wanted}`,
      2500,
    );
  before(async () => {
    proxy = await ProxyProcess.start({ allowlists });
  });
  after(() => proxy[Symbol.asyncDispose]());
  beforeEach(async () => {
    fs.rmSync(file(proxy), { force: true });
    await untilStatus(200);
  });

  const changes: [what: string, change: () => void][] = [
    ['written in place', () => fs.writeFileSync(file(proxy), quarantine)],
    [
      'renamed into place',
      () => {
        fs.writeFileSync(`${file(proxy)}.new`, quarantine);
        fs.renameSync(`${file(proxy)}.new`, file(proxy));
      },
    ],
    [
      'a link that is swapped, as in a config map',
      () => {
        const directory = path.dirname(file(proxy));
        fs.mkdirSync(path.join(directory, '..v1'), { recursive: true });
        fs.writeFileSync(path.join(directory, '..v1', 'revocations.yaml'), quarantine);
        fs.rmSync(path.join(directory, '..data'), { force: true });
        fs.symlinkSync('..v1', path.join(directory, '..data'));
        fs.symlinkSync('..data/revocations.yaml', file(proxy));
      },
    ],
    [
      'checked out by git',
      () => {
        const git = (...args: string[]) =>
          execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], {
            cwd: path.dirname(file(proxy)),
            stdio: 'pipe',
          });
        git('init', '-q', '-b', 'main');
        git('add', '.');
        git('commit', '-qm', 'one');
        git('checkout', '-qb', 'incident');
        fs.writeFileSync(file(proxy), quarantine);
        git('add', '.');
        git('commit', '-qm', 'two');
        git('checkout', '-q', 'main');
        git('checkout', '-q', 'incident');
      },
    ],
  ];
  for (const [what, change] of changes) {
    test(`${what}, takes effect by itself`, async () => {
      const alive = await openTunnel(proxy, 'one.test:22', fields);
      change();
      await assertAllCut(proxy, [alive], 'agent_quarantined');
      assert.equal(await status(proxy, fields), 403);
    });
  }

  test('a broken allowlist does not hold it up, nor the other way round', async () => {
    const good = fs.readFileSync(path.join(proxy.directory, 'allowlists', 'demo.yaml'), 'utf8');
    proxy.writeAllowlists({ 'demo.yaml': 'agents: [', 'revocations.yaml': quarantine });
    await untilStatus(403);
    assert.equal((await proxy.admin('/ready')).text.includes('"reload":"failed"'), true);
    proxy.writeAllowlists({ 'demo.yaml': good, 'revocations.yaml': 'quarantined: [' });
    await waitForLine(proxy.logFile, { event: 'reload_failed', entry: 'revocations.yaml:1' });
    assert.equal(await status(proxy, fields), 403, 'what was stopped stays stopped');
    const ready = JSON.parse((await proxy.admin('/ready')).text) as {
      reload: string;
      problems: { file: string; code: string }[];
    };
    assert.deepEqual(
      [ready.reload, ready.problems.map(({ file: name }) => name)],
      ['failed', ['revocations.yaml']],
    );
    assert.equal((await proxy.admin('/reload', 'POST')).status, 422);
    assert.equal((await proxy.admin('/revocations', 'POST')).status, 422);
    assert.equal((await command(proxy, 'quarantine', 'demo')).status, 1);
  });

  test('one that is away for a moment lifts nothing', async () => {
    fs.writeFileSync(file(proxy), quarantine);
    await untilStatus(403);
    const until2 = performance.now() + 600;
    const seen = new Set<number>();
    const flicker = async () => {
      while (performance.now() < until2) {
        fs.rmSync(file(proxy));
        await sleep(20);
        fs.writeFileSync(file(proxy), quarantine);
        await sleep(20);
      }
    };
    const ask = async () => {
      while (performance.now() < until2) seen.add(await status(proxy, fields));
    };
    await Promise.all([flicker(), ask()]);
    assert.deepEqual([...seen], [403]);
  });

  test('at the next start it is in force from the first connection on', async () => {
    await using again = await ProxyProcess.start({
      allowlists: { ...allowlists, 'revocations.yaml': quarantine },
    });
    assert.equal(await status(again, fields), 403);
    assert.deepEqual(linesLike(again.lines(), { event: 'revoke' }), []);
    const { text } = await again.admin('/metrics');
    assert.match(text, /^sallyport_revocations\{kind="quarantine"\} 1$/m);
  });

  test('a broken one stops the start, with its place', async () => {
    await assert.rejects(
      ProxyProcess.start({ allowlists: { ...allowlists, 'revocations.yaml': 'revoked: [{}]\n' } }),
      (error: { status?: number; stderr?: string }) => {
        assert.equal(error.status, 3);
        assert.match(error.stderr ?? '', /revocations\.yaml:1:11 {2}missing-key/);
        return true;
      },
    );
  });
});

describe('the admin listener', () => {
  let proxy: ProxyProcess;
  before(async () => {
    proxy = await ProxyProcess.start({ allowlists });
  });
  after(() => proxy[Symbol.asyncDispose]());

  async function post(body: string, headers: Record<string, string> = {}): Promise<number> {
    const options = { port: proxy.adminPort, path: '/connections/cut', method: 'POST', headers };
    const request = http.request({ ...options, agent: false });
    request.on('error', () => undefined).end(body);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    response.resume();
    return response.statusCode ?? 0;
  }

  const bodies: [what: string, body: string, status: number][] = [
    ['nothing', '', 400],
    ['half of it', '{"ids": [', 400],
    ['a list', '[]', 400],
    ['null', 'null', 400],
    ['no ids', '{}', 400],
    ['ids of another kind', '{"ids": [1]}', 400],
    ['a reason of another kind', '{"ids": [], "why": {}}', 400],
    ['deep nesting', '['.repeat(50_000), 400],
    ['too much', `{"ids": ["${'x'.repeat(70_000)}"]}`, 400],
    ['nobody', '{"ids": []}', 200],
    ['strangers', '{"ids": ["__proto__", "01JD"], "by": "\\u001b[31m"}', 200],
  ];
  for (const [what, body, status] of bodies) {
    test(`${what}: ${status}`, async () => {
      assert.equal(await post(body), status);
      assert.ok(proxy.running);
    });
  }

  test('a page in a browser cannot use it', async () => {
    assert.equal(await post('{"ids": []}', { Origin: 'http://127.0.0.1' }), 403);
    assert.equal(await post('{"ids": []}', { Host: 'rebound.test' }), 403);
  });

  test('other methods are told which there are', async () => {
    assert.equal((await proxy.admin('/connections/cut')).status, 405);
    assert.equal((await proxy.admin('/revocations', 'DELETE')).status, 405);
    const { status: found, text } = await proxy.admin('/revocations');
    assert.deepEqual([found, text], [200, '{"problems":[],"entries":[]}\n']);
  });
});
