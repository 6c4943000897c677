import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import tls from 'node:tls';
import { SecretFileError } from '../../src/core/secret-file.ts';
import { inspectClientCertificate } from '../../src/identity/client-certificate.ts';
import { createAuthority, loadAuthority } from '../../src/tls/authority.ts';
import {
  issueClientCertificate,
  issueServerCertificate,
  type ServerNames,
  serverNames,
} from '../../src/tls/leaf.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-leaf-'));
after(() => fs.rmSync(root, { recursive: true }));
const now = Date.now();
const hour = 3_600_000;
const spiffe = 'spiffe://example.com/agent/demo';
const authority = createAuthority(root, now);
const caFile = path.join(root, 'ca.crt');

const openssl = (...args: string[]): string =>
  execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

function verified(chain: string, ...args: string[]): void {
  const file = path.join(root, 'leaf.crt');
  fs.writeFileSync(file, chain);
  const said = openssl('verify', '-x509_strict', ...args, '-CAfile', caFile, file);
  assert.match(said, /: OK\n$/u);
}

function names(...texts: string[]): ServerNames {
  const read = serverNames(texts);
  assert.ok(typeof read === 'object');
  return read;
}

describe('the certificate of an agent', () => {
  const cases: readonly [string, string | null, string | null][] = [
    [spiffe, spiffe, null],
    ['CN=demo,O=Example', null, 'CN=demo,O=Example'],
    ['O=Example,CN=demo', null, 'O=Example,CN=demo'],
    [
      'DC=example,C=DE,serialNumber=7,UID=u,L=x,ST=y,OU=z',
      null,
      'DC=example,C=DE,serialNumber=7,UID=u,L=x,ST=y,OU=z',
    ],
  ];
  for (const [name, expectedSpiffe, expectedSubject] of cases) {
    test(`${name} is one that OpenSSL and we accept`, () => {
      const leaf = issueClientCertificate(authority, name, now, hour);
      verified(leaf.chain, '-purpose', 'sslclient');
      const facts = inspectClientCertificate(new X509Certificate(leaf.chain).raw);
      assert.ok(typeof facts === 'object', String(facts));
      assert.deepEqual(
        [facts.spiffe, facts.subject, facts.issuedAt, facts.expiresAt],
        [expectedSpiffe, expectedSubject, now, leaf.notAfter],
      );
      assert.equal(facts.serial, leaf.serial);
      assert.equal(leaf.notAfter, Math.floor(now / 1000) * 1000 + hour);
      const key = path.join(root, 'leaf.key');
      fs.writeFileSync(key, leaf.key);
      openssl('pkey', '-in', key, '-check', '-noout');
      assert.ok(!leaf.chain.includes('PRIVATE'));
    });
  }

  test('is not one of a server', () => {
    const { chain } = issueClientCertificate(authority, spiffe, now, hour);
    assert.throws(() => verified(chain, '-purpose', 'sslserver'));
  });

  test('has serial numbers that rise with time and do not repeat', () => {
    const serials = [0, 0, 1, 1000].map(
      (ms) => issueClientCertificate(authority, spiffe, now + ms, hour).serial,
    );
    assert.equal(new Set(serials).size, 4);
    const heads = serials.map((serial) => Number.parseInt(serial.slice(0, -20), 16));
    assert.deepEqual(heads, [now, now, now + 1, now + 1000]);
  });

  test('holds for a clock that is a minute behind, and still says when it was made', () => {
    const later = now + 2 * hour + 345;
    const { chain } = issueClientCertificate(authority, spiffe, later, hour);
    const facts = inspectClientCertificate(new X509Certificate(chain).raw);
    assert.ok(typeof facts === 'object', String(facts));
    assert.equal(facts.notBefore, Math.floor(later / 1000) * 1000 - 60_000);
    assert.equal(facts.issuedAt, later);
  });

  test('begins no earlier than its authority', () => {
    const start = authority.certificate.validFromDate.getTime();
    const { chain } = issueClientCertificate(authority, spiffe, start + 5000, hour);
    assert.equal(new X509Certificate(chain).validFromDate.getTime(), start);
  });

  test('does not outlive its authority', () => {
    const end = authority.certificate.validToDate.getTime();
    assert.equal(issueClientCertificate(authority, spiffe, end - 5000, hour).notAfter, end);
    assert.throws(
      () => issueClientCertificate(authority, spiffe, end, hour),
      (error) =>
        error instanceof SecretFileError && /ended .*`sallyport ca init`/u.test(error.message),
    );
  });

  test('is signed by an authority that OpenSSL made', () => {
    const home = path.join(root, 'other');
    fs.mkdirSync(home);
    const [key, cert] = [path.join(home, 'ca.key'), path.join(home, 'ca.crt')];
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      key,
      '-out',
      cert,
      '-subj',
      '/C=DE/O=Example AG/CN=Agents',
      '-days',
      '2',
    );
    fs.chmodSync(key, 0o600);
    const other = loadAuthority(home);
    assert.ok(other !== null);
    const { chain } = issueClientCertificate(other, spiffe, now + 1000, hour);
    const file = path.join(home, 'leaf.crt');
    fs.writeFileSync(file, chain);
    const at = String(Math.floor(now / 1000) + 60);
    const said = openssl('verify', '-attime', at, '-purpose', 'sslclient', '-CAfile', cert, file);
    assert.match(said, /: OK\n$/u);
  });
});

describe('the certificate of a listener', () => {
  test('is one that OpenSSL accepts, by each name', () => {
    const hosts = names('proxy.internal', 'sallyport', '10.20.0.1', '2001:db8::1');
    const { chain } = issueServerCertificate(authority, hosts, now, hour);
    verified(chain, '-purpose', 'sslserver', '-verify_hostname', 'proxy.internal');
    verified(chain, '-purpose', 'sslserver', '-verify_hostname', 'sallyport');
    verified(chain, '-purpose', 'sslserver', '-verify_ip', '10.20.0.1');
    verified(chain, '-purpose', 'sslserver', '-verify_ip', '2001:db8::1');
    assert.throws(() => verified(chain, '-verify_hostname', 'other.internal'));
    assert.throws(() => verified(chain, '-purpose', 'sslclient'));
  });

  test('holds for sandboxes whose clocks are an hour behind', () => {
    const later = now + 2 * hour;
    const { chain } = issueServerCertificate(authority, names('a.example'), later, hour);
    const { validFromDate, validToDate } = new X509Certificate(chain);
    const second = Math.floor(later / 1000) * 1000;
    assert.deepEqual(
      [validFromDate.getTime(), validToDate.getTime()],
      [second - hour, second + hour],
    );
  });

  test('of an address alone has an empty subject', () => {
    const { chain } = issueServerCertificate(authority, names('127.0.0.1'), now, hour);
    verified(chain, '-purpose', 'sslserver', '-verify_ip', '127.0.0.1');
    assert.ok(!new X509Certificate(chain).subject);
  });

  test('proves no agent', () => {
    const { chain } = issueServerCertificate(authority, names('a.example'), now, hour);
    const said = inspectClientCertificate(new X509Certificate(chain).raw);
    assert.match(String(said), /not meant for clients/u);
  });

  for (const text of [
    '*.example.com',
    'Proxy.internal',
    'a.example.',
    '1.2.3',
    'a b',
    '',
    '10.0.0.0/8',
    '[::1]',
  ]) {
    test(`is not made for ${JSON.stringify(text)}`, () => {
      assert.equal(serverNames(['a.example', text]), text);
    });
  }
});

test('both meet in TLS', async () => {
  const server = issueServerCertificate(authority, names('127.0.0.1'), now, hour);
  const client = issueClientCertificate(authority, spiffe, now, hour);
  const listener = tls.createServer({
    cert: server.chain,
    key: server.key,
    ca: authority.pem,
    requestCert: true,
    rejectUnauthorized: true,
  });
  const shown = new Promise<Buffer>((resolve, reject) => {
    listener.once('tlsClientError', reject);
    listener.once('secureConnection', (socket) => {
      resolve(socket.getPeerX509Certificate()?.raw ?? Buffer.alloc(0));
      socket.end();
    });
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    ca: authority.pem,
    cert: client.chain,
    key: client.key,
  });
  socket.resume();
  const facts = inspectClientCertificate(await shown);
  assert.ok(typeof facts === 'object', String(facts));
  assert.equal(facts.spiffe, spiffe);
  await once(socket, 'close');
  listener.close();
});
