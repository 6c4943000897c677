import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createAuthority } from '../../src/tls/authority.ts';
import { issueServerCertificate, serverNames } from '../../src/tls/leaf.ts';
import { rotateAuthority } from '../../src/tls/rotation.ts';
import { type KeyedCertificate, TestAuthority } from '../support/certificates.ts';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { linesLike } from '../support/egress-lines.ts';
import { answerAll, demo, head } from '../support/http-stage.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { type Origin, startTlsOrigin } from '../support/origins.ts';
import { agent, ProxyProcess, ProxyStartError } from '../support/proxy-process.ts';
import { RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-trust-'));
const certs = path.join(directory, 'certs');
const authority = createAuthority(certs, Date.now());
const [known, stranger] = [new TestAuthority('known'), new TestAuthority('stranger')];

/** Host → what its server shows: a certificate of a root in `trust`, of a stranger's, of our own. */
const sites: Readonly<Record<string, readonly [string, KeyedCertificate]>> = {
  'known.test': ['93.184.215.14', known.issue(['known.test'])],
  'stranger.test': ['93.184.215.15', stranger.issue(['stranger.test'])],
  'ours.test': ['93.184.215.16', ours('ours.test')],
};

function ours(host: string): KeyedCertificate {
  const names = serverNames([host]);
  assert.ok(typeof names !== 'string');
  const { chain, key } = issueServerCertificate(authority, names, Date.now(), 3_600_000);
  return { cert: chain, key };
}

function file(name: string, pem: string): string {
  const at = path.join(directory, name);
  fs.writeFileSync(at, pem);
  return at;
}

const trusted = file('known.pem', known.cert);
/** What whoever starts the proxy may have in the environment, from a shell made for a sandbox. */
const extra = file('extra.pem', `${authority.pem}${stranger.cert}`);

let dns: DnsServer;
const origins: Origin[] = [];
before(async () => {
  const zone = Object.entries(sites).map(([host, [at]]) => [host, { a: [at] }] as const);
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone: Object.fromEntries(zone) });
  for (const [address, certificate] of Object.values(sites)) {
    origins.push(await startTlsOrigin({ address, port: 443 }, certificate, answerAll));
  }
});
after(async () => {
  await Promise.all(origins.map((origin) => origin.close()));
  await dns.close();
  fs.rmSync(directory, { recursive: true });
});

function start(env: Readonly<Record<string, string>>, trust = [trusted]): Promise<ProxyProcess> {
  const allow = Object.keys(sites).map((host) => ({ host, methods: ['GET'] }));
  const entries = agent('the-long-random-token-of-demo', allow);
  return ProxyProcess.start({
    allowlists: { 'demo.yaml': { agents: { demo: entries } } },
    settings: { certs, trust },
    env,
  });
}

/** Status of the answer to an inspected request. */
async function statusOf(proxy: ProxyProcess, host: string): Promise<number> {
  const client = await RawClient.connect({ port: proxy.port });
  assert.equal((await client.tunnel(`${host}:443`, demo)).status, 200);
  const inner = new RawClient(await client.startTls({ servername: host, ca: authority.pem }));
  inner.write(head('GET /', 'Connection: close\r\n', host));
  const { status } = await inner.readResponse();
  inner.close();
  return status;
}

describe('the environment of the proxy does not change whom it trusts', () => {
  const environments: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['nothing', {}],
    ['NODE_EXTRA_CA_CERTS', { NODE_EXTRA_CA_CERTS: extra }],
    ['NODE_TLS_REJECT_UNAUTHORIZED', { NODE_TLS_REJECT_UNAUTHORIZED: '0' }],
    [
      'SSL_CERT_FILE with the store of OpenSSL',
      { SSL_CERT_FILE: extra, NODE_OPTIONS: '--use-openssl-ca' },
    ],
    [
      'SSL_CERT_FILE with the store of the system',
      { SSL_CERT_FILE: extra, NODE_OPTIONS: '--use-system-ca', NODE_USE_SYSTEM_CA: '1' },
    ],
  ];
  for (const [what, env] of environments) {
    test(what, async () => {
      await using proxy = await start(env);
      assert.equal(await statusOf(proxy, 'known.test'), 200);
      assert.equal(await statusOf(proxy, 'stranger.test'), 502);
      assert.equal(await statusOf(proxy, 'ours.test'), 502);
      const refused = linesLike(await proxy.stop(), { reason: 'upstream_tls' });
      const hosts = new Set(refused.map(({ host }) => host));
      assert.deepEqual([...hosts], ['stranger.test', 'ours.test']);
    });
  }
});

describe('our own authority in a file of `trust` stops the start', () => {
  test('as it is, and beside others', async () => {
    const at = file('with-ours.pem', `${known.cert}${authority.pem}`);
    await assert.rejects(start({}, [trusted, at]), (error) => {
      assert.ok(error instanceof ProxyStartError);
      assert.equal(error.status, 3);
      assert.ok(error.stderr.includes(`${at} of \`trust\` holds our own authority`), error.stderr);
      return true;
    });
  });

  test('each of two while one takes over from the other, and by the cross certificate', async () => {
    const { trusted: both, overlap } = rotateAuthority(certs, Date.now());
    const pems = [...both, overlap?.cross].map(String);
    assert.equal(pems.length, 3);
    for (const [index, pem] of pems.entries()) {
      const at = file(`ours-${index}.pem`, pem);
      await assert.rejects(start({}, [at]), ProxyStartError);
    }
  });
});
