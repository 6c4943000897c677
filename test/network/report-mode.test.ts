import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientHello } from '../support/client-hello.ts';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { type EgressLine, linesLike, onlyLine, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { HttpOrigin, type Origin, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { connectHead, header, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const address = '93.184.215.14';

describe('report mode', () => {
  let dns: Awaited<ReturnType<typeof startDnsServer>>;
  let tls: Origin;
  let other: Origin;
  let web: HttpOrigin;
  let proxy: ProxyProcess;

  before(async () => {
    dns = await startDnsServer({
      address: dnsAddress,
      port: 53,
      zone: {
        '*': { a: [address] },
        'private.test': { a: ['10.0.0.5'] },
        'nowhere.test': { rcode: 'NXDOMAIN' },
      },
    });
    tls = await startTcpOrigin({ address, port: 443 }, ({ socket }) => {
      socket.pipe(socket);
    });
    other = await startTcpOrigin({ address, port: 444 }, ({ socket }) => {
      socket.pipe(socket);
    });
    web = await HttpOrigin.start({ address, port: 80 }, (_, response) => response.end('ok'));
    proxy = await ProxyProcess.start({
      allowlists: {
        'demo.yaml': {
          deny: ['denied.test'],
          agents: {
            demo: agent(
              token,
              [
                'good.test',
                { host: 'old.test', until: '2020-01-01T00:00:00Z' },
                { host: 'web.test', scheme: 'http', methods: ['GET'], paths: ['/open/**'] },
                'http://plain.test',
              ],
              { mode: 'report', deny: ['mine.test'] },
            ),
          },
        },
      },
      settings: { limits: { 'hello-timeout': '500ms' } },
    });
  });

  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await Promise.all([tls.close(), other.close(), web[Symbol.asyncDispose](), dns.close()]);
  });

  const hello = (sni: string | null) => clientHello({ sni });
  const tunnels: [what: string, target: string, bytes: Buffer, reason: string | undefined][] = [
    ['what is allowed', 'good.test:443', hello('good.test'), undefined],
    ['another host', 'evil.test:443', hello('evil.test'), 'host_not_allowed'],
    [
      'another host with anything in it',
      'evil.test:443',
      Buffer.from('SSH-2.0-x\r\n'),
      'host_not_allowed',
    ],
    ['an address', `${address}:443`, hello(null), 'host_not_allowed'],
    ['another port', 'good.test:444', hello('good.test'), 'port_not_allowed'],
    ['an expired entry', 'old.test:443', hello('old.test'), 'entry_expired'],
  ];
  for (const [what, target, bytes, reason] of tunnels) {
    test(`${what}: ${reason ?? 'nothing'} is reported and the bytes pass`, async () => {
      const client = await RawClient.connect({ port: proxy.port });
      const from = `${client.socket.localAddress}:${client.socket.localPort}`;
      assert.equal((await client.tunnel(target, credentials)).status, 200);
      client.write(bytes);
      assert.deepEqual(await client.readBytes(bytes.length), bytes);
      client.end();
      await client.readToEnd();
      const close = await waitForLine(proxy.logFile, { event: 'close', client: from });
      const open = onlyLine(proxy.lines(), { event: 'open', client: from });
      for (const line of [open, close]) {
        assert.deepEqual(
          [line.verdict, line.reason, line.report],
          ['allow', reason, reason === undefined ? undefined : true],
        );
      }
      assert.equal(close.end, 'client');
    });
  }

  const hellos: [what: string, bytes: Buffer, reason: string][] = [
    ['another name', hello('evil.test'), 'sni_mismatch'],
    ['no name', hello(null), 'sni_missing'],
    ['no TLS', Buffer.from('SSH-2.0-x\r\n'), 'not_tls'],
    ['a hidden name', clientHello({ sni: 'good.test', esni: true }), 'ech_refused'],
    ['no hello in time', Buffer.of(0x16), 'hello_timeout'],
  ];
  for (const [what, bytes, reason] of hellos) {
    test(`a hello with ${what}: ${reason} is reported on the close line`, async () => {
      const client = await RawClient.connect({ port: proxy.port });
      const from = `${client.socket.localAddress}:${client.socket.localPort}`;
      await client.tunnel('good.test:443', credentials);
      client.write(bytes);
      assert.deepEqual(await client.readBytes(bytes.length), bytes);
      client.end();
      await client.readToEnd();
      const close = await waitForLine(proxy.logFile, { event: 'close', client: from });
      assert.deepEqual([close.verdict, close.reason, close.report], ['allow', reason, true]);
    });
  }

  const refused: [what: string, target: string, fields: string, status: number, reason: string][] =
    [
      ['a denied host', 'denied.test:443', credentials, 403, 'denied'],
      ['a host that the agent denies itself', 'mine.test:443', credentials, 403, 'denied'],
      ['a private address', 'private.test:443', credentials, 403, 'address_not_allowed'],
      ['metadata', '169.254.169.254:80', credentials, 403, 'address_not_allowed'],
      ['loopback', '127.0.0.1:22', credentials, 403, 'address_not_allowed'],
      ['no credential', 'good.test:443', '', 407, 'no_credentials'],
      ['a malformed target', 'good.test:0443', credentials, 400, 'bad_target'],
    ];
  for (const [what, target, fields, status, reason] of refused) {
    test(`${what} is refused all the same`, async () => {
      const client = await RawClient.connect({ port: proxy.port });
      const from = `${client.socket.localAddress}:${client.socket.localPort}`;
      client.write(connectHead(target, fields));
      const answer = await client.readResponse();
      assert.deepEqual([answer.status, header(answer, 'sallyport-reason')], [status, reason]);
      client.close();
      const line = await waitForLine(proxy.logFile, { event: 'block', client: from });
      assert.deepEqual([line.reason, line.report], [reason, undefined]);
    });
  }

  const requests: [method: string, url: string, reason: string | undefined][] = [
    ['GET', 'http://plain.test/', undefined],
    ['GET', 'http://web.test/open/x', undefined],
    ['DELETE', 'http://web.test/open/x', 'method_not_allowed'],
    ['GET', 'http://web.test/closed', 'path_not_allowed'],
    ['GET', 'http://evil.test/', 'host_not_allowed'],
    ['GET', 'http://good.test/', 'port_not_allowed'],
  ];
  for (const [method, url, reason] of requests) {
    test(`${method} ${url}: ${reason ?? 'nothing'} is reported and it is answered`, async () => {
      const client = await RawClient.connect({ port: proxy.port });
      const from = `${client.socket.localAddress}:${client.socket.localPort}`;
      client.write(
        `${method} ${url} HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n${credentials}\r\n`,
      );
      assert.equal((await client.readResponse()).status, 200);
      client.close();
      const last = await waitForLine(proxy.logFile, { event: 'request', client: from });
      const open = onlyLine(proxy.lines(), { event: 'open', client: from });
      for (const line of [open, last]) {
        assert.deepEqual(
          [line.verdict, line.reason, line.report],
          ['allow', reason, reason === undefined ? undefined : true],
        );
      }
    });
  }

  test('a destination that fails is still told apart', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    const from = `${client.socket.localAddress}:${client.socket.localPort}`;
    assert.equal((await client.tunnel('nowhere.test:443', credentials)).status, 502);
    client.close();
    const line = await waitForLine(proxy.logFile, { event: 'open', client: from });
    assert.deepEqual([line.verdict, line.status, line.report], ['allow', 502, true]);
  });

  test('back in enforce mode the same is cut', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    const from = `${client.socket.localAddress}:${client.socket.localPort}`;
    await client.tunnel('evil.test:443', credentials);
    client.write('x');
    await client.readBytes(1);
    await proxy.reload({ 'demo.yaml': { agents: { demo: agent(token, ['good.test']) } } });
    await until(
      () => client.ended || client.closed,
      () => 'still connected',
      1500,
    );
    const close: EgressLine = await waitForLine(proxy.logFile, { event: 'close', client: from });
    assert.deepEqual(
      [close.verdict, close.reason, close.end],
      ['block', 'policy_changed', 'policy_changed'],
    );
    client.close();
  });

  test('the log is whole, and no report line is a block', async () => {
    await sleep(50);
    const lines = await proxy.stop();
    assert.deepEqual(linesLike(lines, { report: true, verdict: 'block' }), []);
  });
});
