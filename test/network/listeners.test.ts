import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import tls from 'node:tls';
import {
  altNames,
  clientExtensions,
  constraints,
  pem,
  usage,
  zooCertificate,
  zooKeys,
  zooList,
} from '../support/certificate-zoo.ts';
import { nameOf, TestAuthority, time, truth } from '../support/certificates.ts';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { type EgressPattern, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { echo, type Origin, startTcpOrigin } from '../support/origins.ts';
import { proxyHeader } from '../support/proxy-header.ts';
import { agent, ProxyProcess, ProxyStartError } from '../support/proxy-process.ts';
import { connectHead, header, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const address = '93.184.215.14';
const spiffe = 'spiffe://example.com/agent/demo';
const minute = 60_000;
const authority = new TestAuthority();
const stranger = new TestAuthority();
const good = authority.issue([], { uris: [spiffe] });

let dns: Awaited<ReturnType<typeof startDnsServer>>;
let origin: Origin;
let directory: string;

before(async () => {
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone: { '*': { a: [address] } } });
  origin = await startTcpOrigin({ address, port: 22 }, echo);
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-listeners-'));
  write('ca.crt', authority.cert);
  const server = authority.issue(['localhost', '127.0.0.1']);
  write('proxy.crt', server.cert);
  write('proxy.key', server.key);
});

after(async () => {
  await origin.close();
  await dns.close();
  fs.rmSync(directory, { recursive: true });
});

function write(name: string, text: string): void {
  fs.writeFileSync(path.join(directory, `${name}.new`), text);
  fs.renameSync(path.join(directory, `${name}.new`), path.join(directory, name));
}

const file = (name: string): string => path.join(directory, name);
const tlsFiles = () => ({ cert: file('proxy.crt'), key: file('proxy.key') });

const allowlists = {
  'agents.yaml': {
    agents: {
      demo: agent('demo-token', ['tcp://tcp.test:22', 'http://web.test'], {
        credentials: {
          tokens: [digest('demo-token')],
          certificates: [spiffe],
        },
      }),
      bob: agent('bob-token', ['tcp://tcp.test:22']),
      office: agent('office-token', ['tcp://tcp.test:22'], {
        credentials: { tokens: [digest('office-token')], sources: ['10.20.0.0/24'] },
      }),
    },
  },
};

function digest(token: string): string {
  const made = agent(token, []) as { credentials: { tokens: string[] } };
  return made.credentials.tokens[0] ?? '';
}

function start(listen: readonly unknown[], more: object = {}): Promise<ProxyProcess> {
  return ProxyProcess.start({ allowlists, settings: { listen, ...more } });
}

/** A CONNECT that reaches the origin and hears it; or the status of the refusal. */
async function attempt(client: RawClient, credential?: string): Promise<number> {
  const fields = credential === undefined ? '' : proxyAuthorization(credential);
  const { status } = await client.tunnel('tcp.test:22', fields);
  if (status !== 200) return status;
  client.write('ping');
  assert.equal((await client.readBytes(4)).toString(), 'ping');
  return status;
}

async function secureClient(port: number, options: tls.ConnectionOptions = {}): Promise<RawClient> {
  // Over a socket of its own, because node:tls passes allowHalfOpen on from there only.
  const raw = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  const socket = tls.connect({
    socket: raw,
    ca: authority.cert,
    servername: 'localhost',
    ...options,
  });
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve).once('error', reject);
  });
  return new RawClient(socket);
}

describe('a TLS listener', () => {
  let proxy: ProxyProcess;
  before(async () => {
    proxy = await start([
      '127.0.0.1:0',
      { address: '127.0.0.1:0', tls: tlsFiles() },
      { address: '127.0.0.1:0', tls: { ...tlsFiles(), 'client-ca': file('ca.crt') } },
      {
        address: '127.0.0.1:0',
        tls: { ...tlsFiles(), 'client-ca': file('ca.crt'), 'client-certificate': 'required' },
      },
    ]);
  });
  after(async () => await proxy[Symbol.asyncDispose]());

  const port = (index: number) => proxy.ports[index] ?? 0;

  test('carries a tunnel, half-close and all', async () => {
    const client = await secureClient(port(1));
    assert.equal(await attempt(client, 'demo-token'), 200);
    client.write('last');
    client.end();
    assert.equal((await client.readToEnd()).toString(), 'last');
    await waitForLine(proxy.logFile, { event: 'close', agent: 'demo', end: 'client' });
  });

  test('answers without a credential as any other', async () => {
    const client = await secureClient(port(1));
    assert.equal(await attempt(client), 407);
  });

  test('speaks HTTP/1.1 only, from TLS 1.2 on', async () => {
    const client = await secureClient(port(1), { ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal((client.socket as tls.TLSSocket).alpnProtocol, 'http/1.1');
    client.close();
    await assert.rejects(secureClient(port(1), { ALPNProtocols: ['h2'] }));
    const old = {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    } as const;
    await assert.rejects(secureClient(port(1), old));
  });

  test('asks for no certificate unless it has an authority', async () => {
    const client = await secureClient(port(1), good);
    assert.equal(await attempt(client), 407, 'a certificate that was not asked for proves nothing');
  });

  test('resumes no session', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      let session: Buffer | undefined;
      const first = await secureClient(port(2), { ...good, maxVersion });
      first.socket.on('session', (ticket: Buffer) => {
        session = ticket;
      });
      assert.equal(await attempt(first), 200);
      session ??= (first.socket as tls.TLSSocket).getSession();
      first.close();
      const again = await secureClient(port(2), { ...good, maxVersion, session });
      assert.equal((again.socket as tls.TLSSocket).isSessionReused(), false, maxVersion);
      again.close();
    }
  });

  test('makes no second handshake on a connection', async () => {
    const client = await secureClient(port(2), { ...good, maxVersion: 'TLSv1.2' });
    const socket = client.socket as tls.TLSSocket;
    let renewed = false;
    socket.on('error', () => undefined);
    socket.renegotiate({}, (error) => {
      renewed = error === null;
    });
    // Whoever refuses may end the connection or go on without: either way there is no new handshake.
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await Promise.race([closed, setTimeout(500)]);
    assert.equal(renewed, false);
  });

  test('turns away what is not TLS, with a line in the log', async () => {
    const client = await RawClient.connect({ port: port(1) });
    const from = `127.0.0.1:${client.socket.localPort}`;
    client.write(connectHead('tcp.test:22', proxyAuthorization('demo-token')));
    await client.readToEnd();
    await waitForLine(proxy.logFile, { event: 'block', client: from, reason: 'bad_request' });
  });

  describe('with client certificates', () => {
    const other = authority.issue([], { uris: ['spiffe://example.com/agent/other'] });
    const cases: readonly [
      string,
      tls.ConnectionOptions,
      string | undefined,
      number,
      EgressPattern,
    ][] = [
      ['a good one', good, undefined, 200, { event: 'open', agent: 'demo' }],
      ['a good one and its token', good, 'demo-token', 200, { event: 'open', agent: 'demo' }],
      [
        'a good one and the token of another agent',
        good,
        'bob-token',
        407,
        { event: 'block', reason: 'bad_credentials', agent: 'bob' },
      ],
      [
        'a good one and a bad token',
        good,
        'nothing',
        407,
        { event: 'block', reason: 'bad_credentials' },
      ],
      ['none, and a token', {}, 'bob-token', 200, { event: 'open', agent: 'bob' }],
      ['none', {}, undefined, 407, { event: 'block', reason: 'no_credentials' }],
      ['one of no agent', other, undefined, 407, { event: 'block', reason: 'bad_credentials' }],
      [
        'one of no agent, and a token',
        other,
        'bob-token',
        407,
        { event: 'block', reason: 'bad_credentials' },
      ],
    ];
    for (const [what, shown, credential, status, line] of cases) {
      test(`${what}: ${status}`, async () => {
        const client = await secureClient(port(2), shown);
        const from = `127.0.0.1:${client.socket.localPort}`;
        assert.equal(await attempt(client, credential), status);
        client.close();
        await waitForLine(proxy.logFile, { ...line, client: from });
      });
    }

    test('names it in the log by its serial number', async () => {
      const client = await secureClient(port(2), good);
      const from = `127.0.0.1:${client.socket.localPort}`;
      await attempt(client);
      client.close();
      const line = await waitForLine(proxy.logFile, { event: 'open', client: from });
      assert.match(line.token ?? '', /^cert:[0-9a-f]+$/);
    });

    test('takes it for plain requests and its own pages', async () => {
      const client = await secureClient(port(2), good);
      client.write('GET http://sallyport.internal/policy HTTP/1.1\r\nHost: x\r\n\r\n');
      const response = await client.readResponse();
      assert.equal(response.status, 200);
      client.write('GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n');
      const refused = await client.readResponse();
      assert.equal(refused.status, 403);
      assert.equal(header(refused, 'sallyport-reason'), 'host_not_allowed');
    });

    const bad: readonly [string, tls.ConnectionOptions, string][] = [
      ['of another authority', stranger.issue([], { uris: [spiffe] }), 'bad_credentials'],
      [
        'that has expired',
        authority.issue([], { uris: [spiffe], notAfter: Date.now() - minute }),
        'credential_expired',
      ],
      [
        'that does not hold yet',
        authority.issue([], { uris: [spiffe], notBefore: Date.now() + minute }),
        'bad_credentials',
      ],
    ];
    for (const [what, shown, reason] of bad) {
      test(`one ${what} ends the connection, though no certificate is required`, async () => {
        const socket = tls.connect({
          port: port(2),
          host: '127.0.0.1',
          ca: authority.cert,
          ...shown,
        });
        const client = new RawClient(socket);
        client.write(connectHead('tcp.test:22', proxyAuthorization('demo-token')));
        await until(
          () => client.closed,
          () => 'still open',
        );
        assert.equal(client.pending.length, 0);
        await waitForLine(proxy.logFile, { event: 'block', reason: reason as never });
      });
    }

    test('of which one is required, none ends the connection', async () => {
      const client = new RawClient(
        tls.connect({ port: port(3), host: '127.0.0.1', ca: authority.cert }),
      );
      client.write(connectHead('tcp.test:22', proxyAuthorization('demo-token')));
      await until(
        () => client.closed,
        () => 'still open',
      );
      assert.equal(client.pending.length, 0);
      const shown = await secureClient(port(3), good);
      assert.equal(await attempt(shown), 200);
      shown.close();
    });

    test('its end cuts a live tunnel', async () => {
      const short = authority.issue([], { uris: [spiffe], notAfter: Date.now() + 2500 });
      const client = await secureClient(port(2), short);
      const from = `127.0.0.1:${client.socket.localPort}`;
      assert.equal(await attempt(client), 200);
      await until(
        () => client.closed || client.ended,
        () => 'still open',
        8000,
      );
      await waitForLine(proxy.logFile, {
        event: 'close',
        client: from,
        verdict: 'block',
        reason: 'credential_expired',
      });
    });
  });

  test('takes up new files, and goes on with the old ones if the new are broken', async () => {
    const fingerprint = async () => {
      const client = await secureClient(port(1));
      const { fingerprint256 } = (client.socket as tls.TLSSocket).getPeerCertificate();
      client.close();
      return fingerprint256;
    };
    const before_ = await fingerprint();
    write('proxy.crt', 'no certificate');
    await until(
      () => proxy.stderr.includes('goes on with its old certificate files'),
      () => proxy.stderr,
    );
    assert.equal(await fingerprint(), before_);
    const server = authority.issue(['localhost', '127.0.0.1']);
    write('proxy.key', server.key);
    write('proxy.crt', server.cert);
    await until(
      async () => (await fingerprint()) !== before_,
      () => proxy.stderr,
    );
  });
});

describe('a revocation list', () => {
  const day = 86_400_000;
  const now = Date.now();
  const dates = { notBefore: time(now - day), notAfter: time(now + day) };
  const zoo = { issuer: nameOf('Zoo'), subject: nameOf('Zoo') };
  const key = zooKeys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const client = (serial: number): tls.ConnectionOptions => {
    const extensions = [...clientExtensions, altNames([0x86, spiffe])];
    const cert = zooCertificate({ ...dates, serial: Buffer.of(serial), extensions });
    return { cert: pem('CERTIFICATE', cert), key };
  };
  const list = (nextUpdate: number, ...serials: readonly number[]) =>
    pem(
      'X509 CRL',
      zooList({
        thisUpdate: now - day,
        nextUpdate,
        entries: serials.map((serial) => [Buffer.of(serial)]),
      }),
    );

  let proxy: ProxyProcess;
  before(async () => {
    const extensions = [constraints(truth), usage(0x06)];
    write('zoo.crt', pem('CERTIFICATE', zooCertificate({ ...zoo, ...dates, extensions })));
    write('zoo.crl', list(now + day, 0x11));
    const files = { 'client-ca': file('zoo.crt'), 'client-crl': file('zoo.crl') };
    proxy = await start([{ address: '127.0.0.1:0', tls: { ...tlsFiles(), ...files } }]);
  });
  after(async () => await proxy[Symbol.asyncDispose]());

  async function isServed(shown: tls.ConnectionOptions): Promise<boolean> {
    const raw = net.connect({ host: '127.0.0.1', port: proxy.port });
    const socket = tls.connect({
      socket: raw,
      ca: authority.cert,
      servername: 'localhost',
      ...shown,
    });
    const connection = new RawClient(socket);
    connection.write(connectHead('tcp.test:22'));
    await until(
      () => connection.pending.length > 0 || connection.closed,
      () => 'neither an answer nor an end',
    );
    const served = connection.pending.toString('latin1').startsWith('HTTP/1.1 200');
    connection.close();
    return served;
  }

  test('ends connections of what is on it, and no others', async () => {
    assert.equal(await isServed(client(0x12)), true);
    assert.equal(await isServed(client(0x11)), false);
    await waitForLine(proxy.logFile, {
      event: 'block',
      reason: 'credential_revoked',
      token: 'cert:11',
    });
  });

  test('that changes cuts what is live', async () => {
    const live = await secureClient(proxy.port, client(0x13));
    const other = await secureClient(proxy.port, client(0x14));
    assert.equal(await attempt(live), 200);
    assert.equal(await attempt(other), 200);
    write('zoo.crl', list(now + day, 0x11, 0x13));
    await until(
      () => live.closed || live.ended,
      () => 'still open',
    );
    const cut = { event: 'close', token: 'cert:13', reason: 'credential_revoked' } as const;
    await waitForLine(proxy.logFile, cut);
    assert.equal(await isServed(client(0x13)), false);
    other.write('more');
    assert.equal((await other.readBytes(4)).toString(), 'more');
    other.close();
  });

  test('that is broken leaves the one before in force', async () => {
    write('zoo.crl', 'nothing');
    await until(
      () => proxy.stderr.includes('goes on with its old certificate files'),
      () => proxy.stderr,
    );
    assert.equal(await isServed(client(0x11)), false);
    assert.equal(await isServed(client(0x12)), true);
  });

  test('that has ended refuses all', async () => {
    write('zoo.crl', list(now - 60_000));
    await until(
      async () => !(await isServed(client(0x12))),
      () => 'still served',
    );
  });
});

describe('a listener of an agent', () => {
  let proxy: ProxyProcess;
  let socketPath: string;
  before(async () => {
    socketPath = path.join(directory, 'demo.sock');
    proxy = await start([
      { address: '127.0.0.1:0', agent: 'demo' },
      { unix: socketPath, mode: '0660', agent: 'demo' },
      { unix: path.join(directory, 'any.sock') },
      { unix: path.join(directory, 'office.sock'), agent: 'office' },
    ]);
  });
  after(async () => await proxy[Symbol.asyncDispose]());

  const onPath = async (name: string): Promise<RawClient> => {
    const socket = net.connect({ path: path.join(directory, name), allowHalfOpen: true });
    await new Promise((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject);
    });
    return new RawClient(socket);
  };
  const onPort = () => RawClient.connect({ port: proxy.port });

  const cases: readonly [
    string,
    () => Promise<RawClient>,
    string | undefined,
    number,
    EgressPattern,
  ][] = [
    ['a port, nothing shown', onPort, undefined, 200, { event: 'open', agent: 'demo' }],
    ['a port, its token', onPort, 'demo-token', 200, { event: 'open', agent: 'demo' }],
    [
      'a port, the token of another agent',
      onPort,
      'bob-token',
      407,
      { event: 'block', agent: 'bob', reason: 'bad_credentials' },
    ],
    ['a port, a bad token', onPort, 'nothing', 407, { event: 'block', reason: 'bad_credentials' }],
    [
      'a socket, nothing shown',
      () => onPath('demo.sock'),
      undefined,
      200,
      { event: 'open', agent: 'demo' },
    ],
    [
      'a socket, the token of another agent',
      () => onPath('demo.sock'),
      'bob-token',
      407,
      { event: 'block', agent: 'bob' },
    ],
    [
      'a socket of nobody, nothing shown',
      () => onPath('any.sock'),
      undefined,
      407,
      { event: 'block', reason: 'no_credentials' },
    ],
    [
      'a socket of nobody, a token',
      () => onPath('any.sock'),
      'bob-token',
      200,
      { event: 'open', agent: 'bob' },
    ],
    [
      'a socket of an agent with sources, as there is no address',
      () => onPath('office.sock'),
      undefined,
      407,
      { event: 'block', agent: 'office', reason: 'source_not_allowed' },
    ],
  ];
  for (const [what, connect, credential, status, line] of cases) {
    test(`${what}: ${status}`, async () => {
      const known = proxy.lines().length;
      const client = await connect();
      assert.equal(await attempt(client, credential), status);
      client.close();
      await until(
        () =>
          proxy
            .lines()
            .slice(known)
            .some((found) =>
              Object.entries(line).every(([key, value]) => found[key as 'agent'] === value),
            ),
        () => JSON.stringify(proxy.lines().slice(known)),
      );
    });
  }

  test('is named in the log, with the socket as the client', async () => {
    const line = await waitForLine(proxy.logFile, {
      event: 'open',
      client: `unix:${socketPath}`,
      agent: 'demo',
    });
    assert.equal(line.token, `listener:unix:${socketPath}`);
  });

  test('has the permissions that were asked for', () => {
    assert.equal(fs.statSync(socketPath).mode & 0o777, 0o660);
    assert.equal(fs.statSync(path.join(directory, 'any.sock')).mode & 0o777, 0o600);
  });

  test('cuts its tunnels when the agent goes', async () => {
    const client = await onPath('demo.sock');
    assert.equal(await attempt(client), 200);
    const { demo: _, ...others } = allowlists['agents.yaml'].agents;
    await proxy.reload({ 'agents.yaml': { agents: others } });
    await until(
      () => client.closed || client.ended,
      () => 'still open',
    );
    const again = await onPath('demo.sock');
    assert.equal(await attempt(again), 407);
    await proxy.reload(allowlists);
  });
});

describe('a Unix socket', () => {
  test('is taken over from a proxy that was killed, and taken away by one that stops', async () => {
    const unix = path.join(directory, 'again.sock');
    const killed = await start(['127.0.0.1:0', { unix }]);
    await killed[Symbol.asyncDispose]();
    assert.ok(fs.existsSync(unix));
    const next = await start(['127.0.0.1:0', { unix }]);
    await next.stop();
    assert.ok(!fs.existsSync(unix));
    await next[Symbol.asyncDispose]();
  });

  const impossible: readonly [string, string, RegExp][] = [
    ['a file', 'proxy.crt', /something else listens there|taken/],
    ['a directory that is not there', 'none/x.sock', /no such directory/],
  ];
  for (const [what, name, message] of impossible) {
    test(`cannot be ${what}`, async () => {
      await assert.rejects(start([{ unix: path.join(directory, name) }]), (error) => {
        assert.ok(error instanceof ProxyStartError);
        assert.equal(error.status, 3);
        assert.match(error.stderr, message);
        return true;
      });
    });
  }

  test('is not taken from a proxy that runs', async () => {
    const unix = path.join(directory, 'busy.sock');
    await using first = await start(['127.0.0.1:0', { unix }]);
    const log = { log: first.logFile };
    await assert.rejects(start(['127.0.0.1:0', { unix }], log), ProxyStartError);
    assert.ok(fs.existsSync(unix));
    const events = first.lines().map(({ event }) => event);
    assert.deepEqual(events, ['start'], 'the log of the one that runs is its own');
    assert.ok(first.running);
  });
});

describe('a PROXY header', () => {
  let proxy: ProxyProcess;
  before(async () => {
    proxy = await start([
      { address: '127.0.0.1:0', 'proxy-protocol': ['127.0.0.0/8'] },
      { address: '127.0.0.1:0', 'proxy-protocol': ['192.0.2.0/24'] },
      { address: '127.0.0.1:0', 'proxy-protocol': ['127.0.0.0/8'], tls: tlsFiles() },
    ]);
  });
  after(async () => await proxy[Symbol.asyncDispose]());

  const head = connectHead('tcp.test:22', proxyAuthorization('office-token'));

  test('names the client, in the log and for `sources`', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    client.write(Buffer.concat([proxyHeader('10.20.0.9', 4711), Buffer.from(head)]));
    assert.equal((await client.readResponse({ head: true })).status, 200);
    client.close();
    await waitForLine(proxy.logFile, { event: 'open', agent: 'office', client: '10.20.0.9:4711' });
  });

  test('comes byte by byte', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    for (const byte of Buffer.concat([proxyHeader('10.20.0.10', 4711), Buffer.from(head)])) {
      client.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal((await client.readResponse({ head: true })).status, 200);
    client.close();
  });

  test('names a client that may not', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    client.write(Buffer.concat([proxyHeader('10.21.0.9', 4712), Buffer.from(head)]));
    assert.equal((await client.readResponse({ head: true })).status, 407);
    await waitForLine(proxy.logFile, {
      event: 'block',
      reason: 'source_not_allowed',
      client: '10.21.0.9:4712',
    });
  });

  test('stands before the handshake', async () => {
    const raw = net.connect({ port: proxy.ports[2] ?? 0, host: '127.0.0.1' });
    raw.write(proxyHeader('10.20.0.11', 4713));
    const socket = tls.connect({ socket: raw, ca: authority.cert, servername: 'localhost' });
    const client = new RawClient(socket);
    client.write(head);
    assert.equal((await client.readResponse({ head: true })).status, 200);
    client.close();
    await waitForLine(proxy.logFile, { event: 'open', client: '10.20.0.11:4713' });
  });

  const refused: readonly [string, number, Buffer][] = [
    ['that is missing', 0, Buffer.from(head)],
    ['of version 1', 0, Buffer.from(`PROXY TCP4 10.20.0.9 10.0.0.1 1 2\r\n${head}`)],
  ];
  for (const [what, index, bytes] of refused) {
    test(`${what} ends the connection`, async () => {
      const client = await RawClient.connect({ port: proxy.ports[index] ?? 0 });
      const from = `127.0.0.1:${client.socket.localPort}`;
      client.write(bytes);
      assert.equal((await client.readToEnd()).length, 0);
      await waitForLine(proxy.logFile, { event: 'block', reason: 'bad_request', client: from });
    });
  }

  test('of an address that may not speak for others is a malformed request', async () => {
    const client = await RawClient.connect({ port: proxy.ports[1] ?? 0 });
    client.write(Buffer.concat([proxyHeader('10.20.0.9', 1), Buffer.from(head)]));
    await client.readToEnd();
    const from = `127.0.0.1:${client.socket.localPort}`;
    await waitForLine(proxy.logFile, { event: 'block', reason: 'bad_request', client: from });
    const plain = await RawClient.connect({ port: proxy.ports[1] ?? 0 });
    assert.equal(await attempt(plain, 'bob-token'), 200);
    plain.close();
  });
});

describe('a start that cannot be', () => {
  const cases: readonly [string, () => unknown, RegExp][] = [
    [
      'an agent that is not there',
      () => ({ address: '127.0.0.1:0', agent: 'dem' }),
      /stands for the agent dem, .*did you mean `?demo/,
    ],
    [
      'a certificate that is not there',
      () => ({ address: '127.0.0.1:0', tls: { ...tlsFiles(), cert: file('none.crt') } }),
      /none\.crt cannot be read \(ENOENT\)/,
    ],
    [
      'a key of another certificate',
      () => ({ address: '127.0.0.1:0', tls: { ...tlsFiles(), key: file('other.key') } }),
      /cannot be used together/,
    ],
  ];
  before(() => write('other.key', authority.issue(['x']).key));
  for (const [what, listener, message] of cases) {
    test(what, async () => {
      await assert.rejects(start([listener()]), (error) => {
        assert.ok(error instanceof ProxyStartError);
        assert.equal(error.status, 3);
        assert.match(error.stderr, message);
        return true;
      });
    });
  }
});
