/**
 * What the way to the proxy proves, alone and beside a credential: client certificates, listeners that
 * are an agent, Unix sockets, PROXY headers. Two proofs must be of one agent.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type KeyedCertificate, TestAuthority } from '../support/certificates.ts';
import { onlyLine } from '../support/egress-lines.ts';
import {
  field,
  IdentityStage,
  issuerKeys,
  narrowed,
  type Row,
  token,
  type Way,
  workerId,
} from '../support/identity-stage.ts';
import {
  behind,
  byPort,
  bySocket,
  byTls,
  tlsFiles,
  writeTlsFiles,
} from '../support/identity-ways.ts';
import { enterNamespace } from '../support/namespace.ts';
import { proxyHeader } from '../support/proxy-header.ts';
import { proxyAuthorization as as, connectHead } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const authority = new TestAuthority();
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-ways-'));
const file = (name: string) => path.join(directory, name);
const listen = [
  '127.0.0.1:0',
  { address: '127.0.0.1:0', tls: tlsFiles(directory) },
  { address: '127.0.0.1:0', agent: 'alice' },
  { address: '127.0.0.1:0', agent: 'inside' },
  { address: '127.0.0.1:0', agent: 'worker', tls: tlsFiles(directory) },
  { address: '127.0.0.1:0', 'proxy-protocol': ['127.0.0.0/8'] },
  { address: '127.0.0.1:0', 'proxy-protocol': ['127.0.0.0/8'], tls: tlsFiles(directory) },
  // All clients of a socket are one source: a socket for each row that fails.
  ...['any-0', 'any-1', 'any-2'].map((name) => ({ unix: file(`${name}.sock`) })),
  ...['alice-0', 'alice-1'].map((name) => ({ unix: file(`${name}.sock`), agent: 'alice' })),
  { unix: file('inside-0.sock'), agent: 'inside' },
];

let stage: IdentityStage;
before(async () => {
  writeTlsFiles(directory, authority);
  stage = await IdentityStage.start(listen);
});
after(async () => {
  await stage[Symbol.asyncDispose]();
  fs.rmSync(directory, { recursive: true });
});

const socket = (name: string) => bySocket(file(`${name}.sock`));
const secure = (index: number, certificate?: KeyedCertificate, first?: Uint8Array) =>
  byTls(index, authority, certificate, first);

const worker = authority.issue([], { uris: [workerId] });
const nobody = authority.issue([], { uris: ['spiffe://example.com/agent/nobody'] });
const twoNames = authority.issue([], { uris: [workerId, 'spiffe://example.com/agent/other'] });
const onTls = secure(1, worker);

const bad = { reason: 'bad_credentials' };
const byCertificate = /^cert:[0-9a-f]+$/;
const byDigest = /^sha256:[0-9a-f]{12}$/;
const ulid = /^[0-9A-HJKMNP-TV-Z]{26}$/;
const exp = Math.floor(Date.now() / 1000) + 600;
const pipeline = { iss: 'https://ci.test', aud: 'sallyport', sub: 'repo:example/app:x', exp };

const certificates: readonly Row[] = [
  { what: 'alone', way: onTls, fields: '', agent: 'worker', token: byCertificate },
  {
    what: 'with its static token',
    way: onTls,
    fields: as(token('worker'), 'worker'),
    agent: 'worker',
    token: byDigest,
  },
  {
    what: 'with its issued credential',
    way: onTls,
    fields: async () => as(await stage.issue(['worker']), 'worker'),
    agent: 'worker',
    token: ulid,
  },
  {
    what: 'with its credential that was narrowed',
    way: onTls,
    fields: async () => as(narrowed(await stage.issue(['worker']), { h: ['*'] })),
    agent: 'worker',
    token: ulid,
  },
  {
    what: 'with an expired credential',
    way: onTls,
    fields: async () =>
      as(await stage.issue(['worker', '--ttl', '1m'], Date.now() - 120_000), 'worker'),
    reason: 'credential_expired',
    agent: 'worker',
    token: ulid,
  },
  {
    what: 'with the credential of another agent',
    way: onTls,
    fields: as(token('alice'), 'alice'),
    ...bad,
    agent: 'alice',
    token: byDigest,
  },
  {
    what: 'with the token of a pipeline',
    way: onTls,
    fields: as(issuerKeys.rsa.token(pipeline)),
    ...bad,
    agent: 'deployer',
    token: /^jwt:/,
  },
  {
    what: 'with a wrong credential',
    way: onTls,
    fields: as('no-token-of-anybody', 'worker'),
    ...bad,
    agent: 'worker',
  },
  { what: 'with a scheme of nobody', way: onTls, fields: field('Negotiate YII='), ...bad },
  { what: 'with an empty field', way: onTls, fields: 'Proxy-Authorization:\r\n', ...bad },
  { what: 'of nobody', way: secure(1, nobody), fields: '', ...bad, token: byCertificate },
  {
    what: 'of nobody, with a good credential',
    way: secure(1, nobody),
    fields: as(token('alice'), 'alice'),
    ...bad,
    token: byCertificate,
  },
  { what: 'none', way: secure(1), fields: '', reason: 'no_credentials' },
  {
    what: 'none, with a credential',
    way: secure(1),
    fields: as(token('alice'), 'alice'),
    agent: 'alice',
    token: byDigest,
  },
  {
    what: 'none, with a wrong credential',
    way: secure(1),
    fields: as('no-token-of-anybody', 'alice'),
    ...bad,
    agent: 'alice',
  },
];

const bound: readonly Row[] = [
  { what: 'a port, alone', way: byPort(2), fields: '', agent: 'alice', token: /^listener:127/ },
  {
    what: 'a port, with its credential',
    way: byPort(2),
    fields: async () => as(await stage.issue(['alice'])),
    agent: 'alice',
    token: ulid,
  },
  {
    what: 'a port, replayed: the credential of another agent',
    way: byPort(2),
    fields: async () => as(await stage.issue(['bob']), 'bob'),
    ...bad,
    agent: 'bob',
    token: ulid,
  },
  {
    what: 'a port, with a wrong credential',
    way: byPort(2),
    fields: as('no-token-of-anybody'),
    ...bad,
  },
  {
    what: 'a port, with two credentials',
    way: byPort(2),
    fields: as(token('alice')) + as(token('bob')),
    ...bad,
  },
  {
    what: 'a port, from the right address',
    way: byPort(3),
    source: '127.9.0.7',
    fields: '',
    agent: 'inside',
    token: /^listener:/,
  },
  {
    what: 'a port, from a wrong address',
    way: byPort(3),
    fields: '',
    reason: 'source_not_allowed',
    agent: 'inside',
    token: /^listener:/,
  },
  {
    what: 'a port with TLS, without a certificate',
    way: secure(4),
    fields: '',
    agent: 'worker',
    token: /^listener:/,
  },
  {
    what: 'a port with TLS, with its certificate',
    way: secure(4, worker),
    fields: '',
    agent: 'worker',
    token: byCertificate,
  },
  {
    what: 'a port with TLS, with a certificate of nobody',
    way: secure(4, nobody),
    fields: '',
    ...bad,
    token: byCertificate,
  },
  {
    what: 'a socket, alone',
    way: socket('alice-0'),
    fields: '',
    agent: 'alice',
    token: /^listener:unix:\//,
  },
  {
    what: 'a socket, with its credential',
    way: socket('alice-0'),
    fields: as(token('alice'), 'alice'),
    agent: 'alice',
    token: byDigest,
  },
  {
    what: 'a socket, replayed: the credential of another agent',
    way: socket('alice-0'),
    fields: as(token('bob'), 'bob'),
    ...bad,
    agent: 'bob',
    token: byDigest,
  },
  {
    what: 'a socket, with a wrong credential',
    way: socket('alice-1'),
    fields: as('no-token-of-anybody', 'alice'),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'a socket of an agent with sources',
    way: socket('inside-0'),
    fields: '',
    reason: 'source_not_allowed',
    agent: 'inside',
    token: /^listener:unix:\//,
  },
  {
    what: 'a socket of nobody, with a credential',
    way: socket('any-0'),
    fields: as(token('bob'), 'bob'),
    agent: 'bob',
    token: byDigest,
  },
  {
    what: 'a socket of nobody, with one that is tied to an address',
    way: socket('any-0'),
    fields: as(token('inside'), 'inside'),
    reason: 'source_not_allowed',
    agent: 'inside',
    token: byDigest,
  },
  { what: 'a socket of nobody, alone', way: socket('any-0'), fields: '', reason: 'no_credentials' },
  {
    what: 'a socket of nobody, with a wrong credential',
    way: socket('any-1'),
    fields: as('no-token-of-anybody', 'bob'),
    ...bad,
    agent: 'bob',
  },
];

const balanced: readonly Row[] = [
  {
    what: 'from the right address',
    way: behind(5, '127.9.0.8'),
    fields: as(token('inside'), 'inside'),
    agent: 'inside',
    token: byDigest,
    line: { client: '127.9.0.8:4711' },
  },
  {
    what: 'from a wrong address, by a balancer at a right one',
    way: behind(5, '203.0.113.9'),
    source: '127.9.0.9',
    fields: as(token('inside'), 'inside'),
    reason: 'source_not_allowed',
    agent: 'inside',
    token: byDigest,
  },
  {
    what: 'with a wrong credential',
    way: behind(5, '203.0.113.10'),
    fields: as('no-token-of-anybody', 'alice'),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'before TLS, with a certificate',
    way: secure(6, worker, proxyHeader('203.0.113.11', 4711)),
    fields: '',
    agent: 'worker',
    token: byCertificate,
    line: { client: '203.0.113.11:4711' },
  },
];

for (const [title, rows] of [
  ['a client certificate', certificates],
  ['a listener that is an agent', bound],
  ['a PROXY header', balanced],
] as const) {
  describe(title, () => {
    for (const row of rows) test(row.what, () => stage.checkRow(row));
  });
}

const day = 86_400_000;
const uris = [workerId];
const refused: readonly (readonly [what: string, shown: KeyedCertificate, reason: string])[] = [
  ['of another authority', new TestAuthority('Another').issue([], { uris }), 'bad_credentials'],
  ['of another one of that name', new TestAuthority().issue([], { uris }), 'bad_credentials'],
  [
    'that has expired',
    authority.issue([], { uris, notBefore: Date.now() - 2 * day, notAfter: Date.now() - 60_000 }),
    'credential_expired',
  ],
  ['of tomorrow', authority.issue([], { uris, notBefore: Date.now() + day }), 'bad_credentials'],
  ['with two names', twoNames, 'bad_credentials'],
];

describe('a client certificate that does not hold ends the connection, whatever is sent', () => {
  for (const [what, shown, reason] of refused) {
    for (const [listener, index] of [
      ['a listener for all', 1],
      ['a listener that is its agent', 4],
    ] as const) {
      test(`${what}, at ${listener}`, async () => {
        stage.newLines();
        const { outside } = stage;
        const client = await secure(index, shown)(stage, stage.newSource());
        client.write(connectHead('tcp.test:22', as(token('worker'), 'worker')));
        assert.equal((await client.readToClose()).length, 0);
        client.close();
        const line = onlyLine(stage.newLines(), { event: 'block' });
        assert.deepEqual([line.reason, line.status, line.agent], [reason, undefined, undefined]);
        assert.equal(stage.outside, outside);
      });
    }
  }
});

describe('guesses', () => {
  const head = (fields: string) => connectHead('tcp.test:22', fields);
  const wrong = head(as('no-token-of-anybody', 'bob'));
  const right = head(as(token('bob'), 'bob'));
  const ways: readonly (readonly [what: string, way: Way])[] = [
    ['by a socket', socket('any-2')],
    ['by TLS', secure(1)],
    ['behind a balancer', behind(5, '203.0.113.50')],
    ['behind a balancer, by TLS', secure(6, undefined, proxyHeader('203.0.113.51', 4711))],
  ];
  for (const [what, way] of ways) {
    test(`${what}: slow after twenty, and who is right is not`, async () => {
      const source = stage.newSource();
      const guess = async () => {
        const client = await way(stage, source);
        client.write(wrong);
        return client;
      };
      for (let n = 0; n < 20; n++) {
        const client = await guess();
        assert.match((await client.readToClose()).toString('latin1'), /^HTTP\/1\.1 407 /);
        client.close();
      }
      const started = performance.now();
      const slow = await guess();
      const good = await way(stage, source);
      good.write(right);
      assert.match((await good.readUntil('\r\n\r\n')).toString('latin1'), /^HTTP\/1\.1 200 /);
      assert.equal(slow.pending.length, 0);
      good.close();
      assert.match((await slow.readToClose()).toString('latin1'), /^HTTP\/1\.1 407 /);
      assert.ok(performance.now() - started > 700);
      slow.close();
    });
  }
});

test('the balancer is not who is made slow: the client behind it is', async () => {
  const wrong = `CONNECT tcp.test:22 HTTP/1.1\r\nHost: x\r\n${as('no-token-of-anybody', 'bob')}\r\n`;
  const source = stage.newSource();
  for (let n = 0; n < 25; n++) {
    const client = await behind(5, `203.0.113.${100 + n}`)(stage, source);
    client.write(wrong);
    assert.match((await client.readToClose(800)).toString('latin1'), /^HTTP\/1\.1 407 /);
    client.close();
  }
});

test('nothing that was shown is in any log, metric or list', () => stage.checkSecrets());

test('the log is whole', async () => {
  await stage.proxy.stop();
});
