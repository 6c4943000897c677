import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { parseIp } from '../../src/core/ip.ts';
import { ClientHelloParser } from '../../src/tls/client-hello.ts';
import type { ClientHello } from '../../src/tls/hello-message.ts';
import { judgeHello } from '../../src/tls/judge-hello.ts';

const host = 'good.example.test';

/** Runs a client against a silent listener and returns the hello that it sends. */
async function capture(start: (port: number) => ChildProcess | tls.TLSSocket): Promise<Buffer> {
  await using server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const client = start(port);
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [net.Socket];
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
