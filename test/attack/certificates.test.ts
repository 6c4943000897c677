/** Certificates that an authority may well have signed and that still prove nobody. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import type { Reason } from '../../src/core/reasons.ts';
import {
  type AltName,
  altNames,
  attribute,
  clientExtensions,
  constraints,
  pem,
  purposes,
  subject,
  usage,
  type ZooCertificate,
  zooAuthority,
  zooCertificate,
  zooKeys,
} from '../support/certificate-zoo.ts';
import {
  der,
  extension,
  keyPair,
  nameOf,
  octets,
  sequence,
  set,
  TestAuthority,
  time,
  truth,
} from '../support/certificates.ts';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { echo, type Origin, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess, tokenDigest } from '../support/proxy-process.ts';
import { connectHead, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const address = '93.184.215.14';
const spiffe = 'spiffe://example.com/agent/demo';
const bob = 'spiffe://example.com/agent/bob';
const minute = 60_000;
const valid = { notBefore: time(Date.now() - minute), notAfter: time(Date.now() + 60 * minute) };
const clientKey = zooKeys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const spiffeName = altNames([0x86, spiffe]);

let dns: Awaited<ReturnType<typeof startDnsServer>>;
let origin: Origin;
let directory: string;
let proxy: ProxyProcess;

before(async () => {
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone: { '*': { a: [address] } } });
  origin = await startTcpOrigin({ address, port: 22 }, echo);
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-certificates-'));
  const write = (name: string, text: string): string => {
    fs.writeFileSync(path.join(directory, name), text);
    return path.join(directory, name);
  };
  const server = new TestAuthority().issue(['127.0.0.1']);
  proxy = await ProxyProcess.start({
    allowlists: {
      'agents.json.yaml': {
        agents: {
          demo: agent('demo-token', ['tcp://tcp.test:22'], {
            credentials: { tokens: [tokenDigest('demo-token')], certificates: [spiffe] },
          }),
          bob: agent('bob-token', ['tcp://tcp.test:22'], {
            credentials: {
              tokens: [tokenDigest('bob-token')],
              certificates: [bob, 'CN=bob,O=Example'],
            },
          }),
        },
      },
    },
    settings: {
      listen: [
        {
          address: '127.0.0.1:0',
          tls: {
            cert: write('proxy.crt', server.cert),
            key: write('proxy.key', server.key),
            'client-ca': write('ca.crt', zooAuthority('Zoo', zooKeys.publicKey, valid)),
          },
        },
      ],
    },
  });
});

after(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin.close();
  await dns.close();
  fs.rmSync(directory, { recursive: true });
});

/** A client that shows this certificate, and where it comes from once it is connected. */
function show(certificate: Buffer): { client: RawClient; from: () => string } {
  const socket = net.connect({ host: '127.0.0.1', port: proxy.port });
  let from = '';
  socket.once('connect', () => {
    from = `127.0.0.1:${socket.localPort}`;
  });
  const secure = tls.connect({
    socket,
    cert: pem('CERTIFICATE', certificate),
    key: clientKey,
    rejectUnauthorized: false,
  });
  return { client: new RawClient(secure), from: () => from };
}

const target = 'tcp.test:22';
const tokenOfDemo = proxyAuthorization('demo-token');

const zoo = (parts: ZooCertificate) => zooCertificate({ ...valid, ...parts });
const withNames = (...names: readonly AltName[]) =>
  zoo({ subject: sequence(), extensions: [...clientExtensions, altNames(...names)] });
const withSubject = (name: Buffer) => zoo({ subject: name });
const withExtensions = (...extensions: Buffer[]) =>
  zoo({ extensions: [...extensions, spiffeName] });
const uri = (text: string) => [0x86, text] as const;
const dnsName = (text: string) => [0x82, text] as const;

describe('answered', () => {
  const cases: readonly [string, Buffer, boolean, number, string, Reason | undefined][] = [
    ['the SPIFFE id', withNames(uri(spiffe)), false, 200, 'demo', undefined],
    [
      'the SPIFFE id among other names',
      withNames(dnsName('x.example'), uri(spiffe)),
      false,
      200,
      'demo',
      undefined,
    ],
    [
      'the exact subject',
      withSubject(subject(['CN', 'bob'], ['O', 'Example'])),
      false,
      200,
      'bob',
      undefined,
    ],
    [
      'the subject the other way round',
      withSubject(subject(['O', 'Example'], ['CN', 'bob'])),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'a part of the subject',
      withSubject(subject(['CN', 'bob'])),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'more than the subject',
      withSubject(subject(['CN', 'bob'], ['O', 'Example'], ['OU', 'x'])),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'text of two attributes in one',
      withSubject(subject(['CN', 'bob,O=Example'])),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'one set of two attributes',
      withSubject(sequence(set(attribute('CN', 'bob'), attribute('O', 'Example')))),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'a subject with a NUL',
      withSubject(subject(['CN', 'bob\0'], ['O', 'Example'])),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'a subject in BMPString',
      withSubject(subject(['CN', Buffer.from('\0b\0o\0b'), 0x1e], ['O', 'Example'])),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'the SPIFFE id as a dNSName',
      withNames(dnsName('spiffe.example.com')),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'the SPIFFE id as the subject',
      withSubject(subject(['CN', spiffe])),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'a SPIFFE id of one agent, the subject of another',
      zoo({
        subject: subject(['CN', 'bob'], ['O', 'Example']),
        extensions: [...clientExtensions, spiffeName],
      }),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'a SPIFFE id of nobody, the subject of an agent',
      zoo({
        subject: subject(['CN', 'bob'], ['O', 'Example']),
        extensions: [...clientExtensions, altNames([0x86, 'spiffe://example.com/agent/eve'])],
      }),
      false,
      407,
      '',
      'bad_credentials',
    ],
    [
      'a certificate of bob, the token of demo',
      withNames(uri(bob)),
      true,
      407,
      'demo',
      'bad_credentials',
    ],
  ];
  for (const [what, certificate, token, status, name, reason] of cases) {
    test(`${what}: ${status}`, async () => {
      const { client, from } = show(certificate);
      assert.equal((await client.tunnel(target, token ? tokenOfDemo : '')).status, status);
      client.close();
      const event = status === 200 ? 'open' : 'block';
      const line = await waitForLine(proxy.logFile, { event, client: from() });
      assert.deepEqual([line.agent ?? '', line.reason], [name, reason]);
    });
  }
});

describe('ended without an answer, whatever else is shown', () => {
  const other = keyPair();
  const expired = {
    notAfter: time(Date.now() - 1000),
    extensions: [...clientExtensions, spiffeName],
  };
  const future = { notBefore: time(Date.now() + minute), extensions: expired.extensions };
  const good = { ...valid, extensions: expired.extensions };
  const cases: readonly [string, Buffer, Reason][] = [
    [
      'of an authority of the same name with another key',
      zooCertificate(good, other.privateKey),
      'bad_credentials',
    ],
    [
      'signed by itself, with the right names',
      zooCertificate({ ...good, issuer: nameOf('demo'), subject: nameOf('demo') }),
      'bad_credentials',
    ],
    ['that has expired', zoo(expired), 'credential_expired'],
    ['that does not hold yet', zoo(future), 'bad_credentials'],
    ['of a server', withExtensions(purposes('server')), 'bad_credentials'],
    ['for any purpose', withExtensions(purposes('any')), 'bad_credentials'],
    ['of an authority', withExtensions(constraints(truth), usage(0x86)), 'bad_credentials'],
    [
      'that may sign certificates',
      withExtensions(...clientExtensions.slice(0, 1), usage(0x84)),
      'bad_credentials',
    ],
    [
      'with a critical extension that nobody knows',
      withExtensions(...clientExtensions, extension('2a0304', true, octets())),
      'bad_credentials',
    ],
    [
      'of version 1',
      zoo({ version: null, extensions: null, subject: subject(['CN', 'bob'], ['O', 'Example']) }),
      'bad_credentials',
    ],
    ['with two SPIFFE ids', withNames(uri(spiffe), uri(bob)), 'bad_credentials'],
    [
      'with a SPIFFE id beside another URI',
      withNames(uri('https://x.example/'), uri(spiffe)),
      'bad_credentials',
    ],
    ['with a NUL in the SPIFFE id', withNames(uri(`${spiffe}\0x`)), 'bad_credentials'],
    [
      'with a comma and a second name in one',
      withNames(uri(`${spiffe}, URI:${bob}`)),
      'bad_credentials',
    ],
    ['with text of a URI in a dNSName', withNames(dnsName(`x", URI:${spiffe}`)), 'bad_credentials'],
    ['with a NUL in a dNSName', withNames(dnsName('a.example\0b'), uri(spiffe)), 'bad_credentials'],
    [
      'with a negative serial number',
      zoo({ ...good, serial: Buffer.of(0x80, 1) }),
      'bad_credentials',
    ],
    [
      'with a serial number of 21 bytes',
      zoo({ ...good, serial: Buffer.alloc(21, 1) }),
      'bad_credentials',
    ],
    [
      'with a time that has fractions',
      zoo({ ...good, notAfter: der(0x18, Buffer.from('20491231235959.5Z')) }),
      'bad_credentials',
    ],
  ];
  for (const [what, certificate, reason] of cases) {
    test(what, async () => {
      const { client, from } = show(certificate);
      client.write(connectHead(target, tokenOfDemo));
      await until(
        () => client.closed,
        () => 'still open',
      );
      assert.equal(client.pending.length, 0);
      const line = await waitForLine(proxy.logFile, { event: 'block', client: from() });
      assert.equal(line.reason, reason);
    });
  }

  test('with the true cause in the operations log', () => {
    for (const why of [
      'does not verify: CERT_HAS_EXPIRED',
      'does not verify: CERT_NOT_YET_VALID',
      'does not verify: CERT_SIGNATURE_FAILURE',
      'does not verify: INVALID_PURPOSE',
      'cannot be read: a SPIFFE id beside another URI',
      'cannot be read: a serial number that is not positive or longer than 20 bytes',
      'has a key usage that no client has',
    ]) {
      assert.ok(proxy.stderr.includes(`"why":"${why}"`), `${why} is not in\n${proxy.stderr}`);
    }
  });

  test('and the proxy goes on', async () => {
    const { client } = show(withNames(uri(spiffe)));
    assert.equal((await client.tunnel(target, tokenOfDemo)).status, 200);
    client.close();
    assert.equal(proxy.running, true);
  });
});
