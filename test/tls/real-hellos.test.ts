import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { duplexPair } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { parseIp } from '../../src/core/ip.ts';
import { createAuthority } from '../../src/tls/authority.ts';
import { ClientHelloParser } from '../../src/tls/client-hello.ts';
import type { ClientHello } from '../../src/tls/hello-message.ts';
import { judgeHello } from '../../src/tls/judge-hello.ts';
import { classifyServerHello } from '../../src/tls/server-hello.ts';

const host = 'good.example.test';

/** Runs a client against a silent listener and returns the hello that it sends. */
async function capture(start: (port: number) => ChildProcess | tls.TLSSocket): Promise<Buffer> {
  await using server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const client = start(port);
  // `once` hears the first error only; a client that is killed may have another.
  client.on('error', () => {});
  const failed = once(client, 'error').then(([error]) => Promise.reject(error));
  const accepted = once(server, 'connection') as Promise<[net.Socket]>;
  const [socket] = await Promise.race([accepted, failed]);
  failed.catch(() => {});
  const parser = new ClientHelloParser();
  socket.on('error', () => {});
  for await (const chunk of socket) {
    if (parser.push(chunk as Buffer).state !== 'more') break;
  }
  socket.destroy();
  if (client instanceof tls.TLSSocket) client.destroy();
  else client.kill();
  return parser.bytes;
}

function read(bytes: Buffer): ClientHello {
  const result = new ClientHelloParser().push(bytes);
  assert.ok(result.state === 'hello', JSON.stringify(result));
  return result.hello;
}

const run = (command: string, ...args: string[]): ChildProcess =>
  spawn(command, args, { stdio: ['pipe', 'ignore', 'ignore'] });

const clients: readonly [string, (port: number) => ChildProcess | tls.TLSSocket, string | null][] =
  [
    ['node:tls', (port) => tls.connect({ port, host: '127.0.0.1', servername: host }), host],
    ['node:tls without a name', (port) => tls.connect({ port, host: '127.0.0.1' }), null],
    [
      'node:tls, TLS 1.2 only',
      (port) => tls.connect({ port, host: '127.0.0.1', servername: host, maxVersion: 'TLSv1.2' }),
      host,
    ],
    [
      'openssl s_client',
      (port) => run('openssl', 's_client', '-connect', `127.0.0.1:${port}`, '-servername', host),
      host,
    ],
    [
      'openssl s_client without a name',
      (port) => run('openssl', 's_client', '-connect', `127.0.0.1:${port}`, '-noservername'),
      null,
    ],
    [
      'curl',
      (port) =>
        run('curl', '-sk', '--resolve', `${host}:${port}:127.0.0.1`, `https://${host}:${port}/`),
      host,
    ],
    ['curl to an address', (port) => run('curl', '-sk', `https://127.0.0.1:${port}/`), null],
  ];

describe('hellos of real clients', () => {
  for (const [what, start, sni] of clients) {
    test(what, async () => {
      const bytes = await capture(start);
      const hello = read(bytes);
      assert.equal(hello.sni, sni);
      assert.equal(hello.ech, 'none');
      const byName = sni === null ? 'sni_missing' : 'ok';
      assert.equal(judgeHello(hello, { host, ip: null }), byName);
      const byAddress = sni === null ? 'ok' : 'sni_mismatch';
      const ip = parseIp('127.0.0.1');
      assert.equal(judgeHello(hello, { host: '127.0.0.1', ip }), byAddress);
      for (let at = 1; at < bytes.length; at++) {
        const parser = new ClientHelloParser();
        assert.equal(parser.push(bytes.subarray(0, at)).state, 'more');
        assert.equal(parser.push(bytes.subarray(at)).state, 'hello');
      }
    });
  }
});

describe('a server that asks again', () => {
  /** A TLS 1.3 session over two streams in memory: all bytes that each side sent. */
  async function handshake(curve: string): Promise<{ client: Buffer; server: Buffer }> {
    const { key, pem } = createAuthority(path.join(directory, curve), Date.now());
    const sent = { client: [] as Buffer[], server: [] as Buffer[] };
    const [near, far] = duplexPair();
    near.on('data', (chunk: Buffer) => sent.server.push(chunk));
    far.on('data', (chunk: Buffer) => sent.client.push(chunk));
    const server = new tls.TLSSocket(far, {
      isServer: true,
      key: key.export({ type: 'pkcs8', format: 'pem' }),
      cert: pem,
      ecdhCurve: curve,
    });
    server.on('error', () => {});
    const client = tls.connect({ socket: near, servername: host, rejectUnauthorized: false });
    await once(client, 'secureConnect');
    client.destroy();
    server.destroy();
    return { client: Buffer.concat(sent.client), server: Buffer.concat(sent.server) };
  }

  let directory: string;
  before(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-retry-'));
  });
  after(() => fs.rmSync(directory, { recursive: true }));

  test('at once: a ServerHello', async () => {
    const { server } = await handshake('X25519');
    assert.equal(classifyServerHello(server), 'server_hello');
  });

  test('for another group: a retry, and a second hello with the same name', async () => {
    const { client, server } = await handshake('P-521');
    assert.equal(classifyServerHello(server), 'retry');
    const first = new ClientHelloParser().push(client);
    assert.ok(first.state === 'hello');
    const second = new ClientHelloParser({ afterRetry: true }).push(client.subarray(first.length));
    assert.ok(second.state === 'hello', JSON.stringify(second));
    assert.equal(second.hello.sni, host);
  });
});
