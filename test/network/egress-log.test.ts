import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import {
  assertEgressLog,
  assertSequence,
  linesLike,
  readEgressLog,
} from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { echo, type Origin, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { header, proxyAuthorization, RawClient, type RawResponse } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const allowlists = {
  'demo.yaml': { agents: { demo: agent(token, ['tcp://tcp.test:22']) } },
};

let origin: Origin;
let dns: Awaited<ReturnType<typeof startDnsServer>>;

before(async () => {
  const zone = { 'tcp.test': { a: ['93.184.215.15'] } };
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone });
  origin = await startTcpOrigin({ address: '93.184.215.15', port: 22 }, echo);
});

after(async () => {
  await origin.close();
  await dns.close();
});

/** One tunnel, opened and closed in order if it is allowed; its answer. */
async function attempt(proxy: ProxyProcess): Promise<RawResponse> {
  const client = await RawClient.connect({ port: proxy.port });
  const answer = await client.tunnel('tcp.test:22', credentials);
  client.end();
  await client.readToClose();
  client.close();
  return answer;
}

describe('a log that cannot be written', () => {
  test('refuses new connections until it can be written again, and then tells of them', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    assert.equal((await attempt(proxy)).status, 200);
    fs.renameSync(proxy.logFile, `${proxy.logFile}.1`);
    fs.symlinkSync('/dev/full', proxy.logFile);
    await until(
      async () => (await attempt(proxy)).status === 503,
      () => 'connections are let through though the disk is full',
    );
    const answer = await attempt(proxy);
    assert.equal(header(answer, 'sallyport-reason'), 'log_unavailable');
    assert.equal((await proxy.admin('/ready')).status, 503);
    assert.match((await proxy.admin('/metrics')).text, /^sallyport_log_writable 0$/m);
    assert.match(proxy.stderr, /egress log .* cannot be written .*ENOSPC/);

    fs.unlinkSync(proxy.logFile);
    fs.writeFileSync(proxy.logFile, '');
    await until(
      async () => (await attempt(proxy)).status === 200,
      () => 'connections are refused though there is space again',
    );
    assert.equal((await proxy.admin('/ready')).status, 200);
    proxy.signal('SIGTERM');
    assert.equal(await proxy.waitForExit(), 0);
    const lines = [...readEgressLog(`${proxy.logFile}.1`), ...proxy.lines()];
    assertEgressLog(lines);
    assert.ok(linesLike(lines, { event: 'block', reason: 'log_unavailable' }).length >= 2);
  });
});

describe('rotation', () => {
  test('on SIGUSR1 goes on in a new file, without losing a line', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    await attempt(proxy);
    fs.renameSync(proxy.logFile, `${proxy.logFile}.1`);
    proxy.signal('SIGUSR1');
    await until(
      () => fs.existsSync(proxy.logFile),
      () => 'no new file',
    );
    await attempt(proxy);
    proxy.signal('SIGTERM');
    assert.equal(await proxy.waitForExit(), 0);
    const old = readEgressLog(`${proxy.logFile}.1`);
    assert.equal(linesLike(old, { event: 'open' }).length, 1);
    assert.equal(linesLike(proxy.lines(), { event: 'open' }).length, 1);
    assertEgressLog([...old, ...proxy.lines()]);
  });
});

describe('kill -9', () => {
  test('loses no decision that a client has heard', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    const count = 30;
    const answers = await Promise.all(Array.from({ length: count }, () => attempt(proxy)));
    proxy.signal('SIGKILL');
    assert.equal(await proxy.waitForExit(), null);
    const lines = proxy.lines();
    assertSequence(lines);
    assert.deepEqual(new Set(answers.map((answer) => answer.status)), new Set([200]));
    assert.equal(linesLike(lines, { event: 'open', host: 'tcp.test' }).length, count);
  });
});
