import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { assertEgressLog, linesLike, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { type Origin, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const address = '93.184.215.14';
const allowlists = (...entries: string[]) => ({
  'demo.yaml': {
    agents: { demo: agent(token, entries, { limits: { connections: 60 } }) },
  },
});

describe('two workers', () => {
  let dns: Awaited<ReturnType<typeof startDnsServer>>;
  let origin: Origin;
  let proxy: ProxyProcess;
  const clients: RawClient[] = [];

  before(async () => {
    dns = await startDnsServer({
      address: dnsAddress,
      port: 53,
      zone: { '*': { a: [address] } },
    });
    origin = await startTcpOrigin({ address, port: 22 }, ({ socket }) => {
      socket.pipe(socket);
    });
    proxy = await ProxyProcess.start({
      allowlists: allowlists('tcp://one.test:22', 'tcp://two.test:22'),
      settings: {
        workers: 2,
        listen: ['127.0.0.1:0', '127.0.0.1:0'],
        limits: { 'drain-timeout': '500ms' },
      },
    });
  });

  after(async () => {
    for (const client of clients) client.close();
    await proxy?.[Symbol.asyncDispose]();
    await origin.close();
    await dns.close();
  });

  async function open(target: string, port = proxy.port): Promise<number> {
    const client = await RawClient.connect({ port });
    const { status } = await client.tunnel(target, credentials);
    if (status === 200) clients.push(client);
    else client.close();
    return status;
  }

  const connections = async (): Promise<{ host: string }[]> =>
    JSON.parse((await proxy.admin('/connections')).text).connections;

  const nodes = () => [...new Set(proxy.lines().map(({ node }) => node))].toSorted();

  test('share both free ports, and each has its own node and seq', async () => {
    assert.equal(new Set(proxy.ports).size, 2);
    for (let count = 0; count < 40; count++) {
      const target = count % 2 === 0 ? 'one.test:22' : 'two.test:22';
      assert.equal(await open(target, proxy.ports[count % 4 < 2 ? 0 : 1]), 200);
    }
    const [first = '', second = ''] = nodes();
    assert.match(first, /\/0$/);
    assert.equal(second, first.replace(/0$/, '1'));
    for (const node of [first, second]) {
      assert.equal(linesLike(proxy.lines(), { event: 'start', node }).length, 1);
      assert.ok(
        linesLike(proxy.lines(), { event: 'open', node }).length > 0,
        `${node} has no traffic`,
      );
    }
  });

  test('show their connections and sums together', async () => {
    assert.equal((await connections()).length, 40);
    const { text } = await proxy.admin('/metrics');
    assert.match(text, /^sallyport_tunnels_active 40$/m);
    assert.match(text, /^sallyport_decisions_total\{[^}]*agent="demo"[^}]*\} 40$/m);
    assert.match(text, /^sallyport_policy_info\{digest="[0-9a-f]{12}"\} 1$/m);
    const names = text.split('\n').filter((line) => line.startsWith('# TYPE'));
    assert.equal(new Set(names).size, names.length);
  });

  test('an agent’s limit holds over both, nearly', async () => {
    const before = clients.length;
    for (let count = 0; count < 80; count++) await open('one.test:22');
    assert.ok(clients.length <= 62, `${clients.length} connections of 60`);
    for (const client of clients.splice(before)) client.reset();
    await until(
      async () => (await connections()).length === 40,
      () => 'they do not end',
    );
  });

  test('both take a new policy, and cut by it', async () => {
    const answer = await proxy.reload(allowlists('tcp://two.test:22', 'tcp://three.test:22'));
    assert.equal(answer.status, 200);
    await until(
      async () => (await connections()).every(({ host }) => host === 'two.test'),
      () => 'not all are cut',
      1500,
    );
    assert.equal((await connections()).length, 20);
    const statuses = [];
    for (let count = 0; count < 20; count++) statuses.push(await open('one.test:22'));
    assert.deepEqual(new Set(statuses), new Set([403]));
    for (const node of nodes()) {
      assert.equal(linesLike(proxy.lines(), { event: 'reload', node }).length, 1);
    }
  });

  test('both keep the old policy where the new one is broken', async () => {
    proxy.writeAllowlists({ 'demo.yaml': 'agents: [' });
    for (const node of nodes()) await waitForLine(proxy.logFile, { event: 'reload_failed', node });
    const statuses = [];
    for (let count = 0; count < 10; count++) statuses.push(await open('three.test:22'));
    assert.deepEqual(new Set(statuses), new Set([200]));
  });

  test('drain and stop together', async () => {
    proxy.signal('SIGTERM');
    for (const node of nodes()) await waitForLine(proxy.logFile, { event: 'drain', node });
    await assert.rejects(RawClient.connect({ port: proxy.port }), { code: 'ECONNREFUSED' });
    assert.equal(await proxy.waitForExit(), 0, proxy.stderr);
    const lines = proxy.lines();
    assertEgressLog(lines);
    assert.equal(linesLike(lines, { event: 'stop' }).length, 2);
    assert.equal(linesLike(lines, { event: 'close', end: 'draining' }).length, 30);
  });
});

test('as many as there are cores, by --workers auto', async () => {
  await using proxy = await ProxyProcess.start({
    allowlists: allowlists('one.test'),
    args: ['--workers', 'auto'],
  });
  assert.equal((await proxy.admin('/ready')).status, 200);
  await proxy.stop();
});

for (const workers of ['0', '-1', '1.5', 'two', '257', '']) {
  test(`--workers ${JSON.stringify(workers)} is refused`, async () => {
    await assert.rejects(
      ProxyProcess.start({ allowlists: allowlists('one.test'), args: ['--workers', workers] }),
      (error: { status?: number; stderr?: string }) => {
        assert.ok(error.status === 2 || error.status === 3, String(error));
        assert.match(error.stderr ?? '', /workers/);
        return true;
      },
    );
  });
}
