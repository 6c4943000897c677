import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { TestAuthority } from '../support/certificates.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { linesLike, onlyLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace, forbiddenAddresses } from '../support/namespace.ts';
import { canary, echo, type Origin, startTcpOrigin, startTlsOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { header, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const authority = new TestAuthority();

describe('a tunnel through the shipped program', () => {
  let proxy: ProxyProcess;
  let secure: Origin;
  let plain: Origin;
  let canaries: Origin[];
  let dns: Awaited<ReturnType<typeof startDnsServer>>;

  before(async () => {
    dns = await startDnsServer({
      address: dnsAddress,
      port: 53,
      zone: {
        'good.test': { a: ['93.184.215.14'], aaaa: ['2606:4700::1111'] },
        'tcp.test': { a: ['93.184.215.15'] },
        'private.test': { a: ['10.0.0.5'] },
        'metadata.test': { a: ['169.254.169.254'] },
      },
    });
    const listen = { address: '93.184.215.14', port: 443 };
    secure = await startTlsOrigin(listen, authority.issue(['good.test']), echo);
    plain = await startTcpOrigin({ address: '93.184.215.15', port: 22 }, echo);
    canaries = await Promise.all(forbiddenAddresses.map((address) => canary(address, 443)));
    proxy = await ProxyProcess.start({
      allowlists: {
        'demo.yaml': {
          agents: {
            demo: agent(token, ['good.test', 'tcp://tcp.test:22', 'private.test', 'metadata.test']),
          },
        },
      },
    });
  });

  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await Promise.all([secure, plain, ...canaries].map((origin) => origin.close()));
    await dns.close();
  });

  test('carries TLS to the name that was asked for', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    assert.equal((await client.tunnel('good.test:443', credentials)).status, 200);
    const tls = await client.startTls({ servername: 'good.test', ca: authority.cert });
    tls.write('hello through the tunnel');
    const [answer] = (await once(tls, 'data')) as [Buffer];
    assert.equal(answer.toString(), 'hello through the tunnel');
    tls.destroy();
    assert.equal((await secure.connection()).text, 'hello through the tunnel');
  });

  test('carries anything where an entry says tcp, half-close included', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    assert.equal((await client.tunnel('tcp.test:22', credentials)).status, 200);
    client.write('\u0000\u00ff bytes');
    client.end();
    assert.equal((await client.readToEnd()).toString('latin1'), '\u0000\u00ff bytes');
  });

  const refused: [target: string, fields: string, status: number, reason: string | undefined][] = [
    ['evil.test:443', credentials, 403, 'host_not_allowed'],
    ['good.test:444', credentials, 403, 'port_not_allowed'],
    ['private.test:443', credentials, 403, 'address_not_allowed'],
    ['metadata.test:443', credentials, 403, 'address_not_allowed'],
    ['good.test:443', '', 407, undefined],
    ['good.test:443', proxyAuthorization('wrong', 'demo'), 407, undefined],
  ];
  for (const [target, fields, status, reason] of refused) {
    test(`is refused to ${target} with ${status} ${reason ?? ''}`, async () => {
      const client = await RawClient.connect({ port: proxy.port });
      const answer = await client.tunnel(target, fields);
      assert.equal(answer.status, status);
      if (reason !== undefined) assert.equal(header(answer, 'sallyport-reason'), reason);
      assert.equal((await client.readToClose()).length, 0);
      client.close();
    });
  }

  test('leaves a whole log and untouched canaries', async () => {
    const lines = await proxy.stop();
    const open = onlyLine(lines, { event: 'open', host: 'tcp.test' });
    assert.equal(open.address, '93.184.215.15:22');
    const close = onlyLine(lines, { event: 'close', id: open.id ?? '' });
    assert.deepEqual([close.bytes_up, close.bytes_down, close.verdict], [8, 8, 'allow']);
    assert.equal(linesLike(lines, { event: 'block' }).length, refused.length);
    assert.ok(!JSON.stringify(lines).includes(token));
    assert.equal(canaries.flatMap((origin) => origin.connections).length, 0);
  });
});
