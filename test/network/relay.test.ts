import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientHello, serverHello } from '../support/client-hello.ts';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { type EgressLine, linesLike, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { type Origin, type Received, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { connectHead, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const address = '93.184.215.14';
const MiB = 1024 * 1024;

let dns: Awaited<ReturnType<typeof startDnsServer>>;
let origin: Origin;
let proxy: ProxyProcess;
let script: (received: Received) => void = () => undefined;

before(async () => {
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone: { '*': { a: [address] } } });
  origin = await startTcpOrigin({ address, port: 22 }, (received) => script(received));
  proxy = await ProxyProcess.start({
    allowlists: {
      'demo.yaml': {
        agents: {
          demo: agent(token, [
            'tcp://tcp.test:22',
            { host: 'capped.test', scheme: 'tcp', ports: [22], upload: '100KB' },
            'tcp://bulk.test:23',
            'bulk.test:24',
          ]),
        },
      },
    },
    settings: { limits: { 'idle-timeout': '1s' } },
  });
});

after(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin.close();
  await dns.close();
});

interface Tunnel {
  readonly client: RawClient;
  readonly server: Received;
  /** Its close line, once it is there. */
  closed(): Promise<EgressLine>;
}

async function tunnel(target = 'tcp.test:22'): Promise<Tunnel> {
  const known = origin.connections.length;
  const client = await RawClient.connect({ port: proxy.port });
  const from = `${client.socket.localAddress}:${client.socket.localPort}`;
  assert.equal((await client.tunnel(target, credentials)).status, 200);
  return {
    client,
    server: await origin.connection(known),
    closed: () => waitForLine(proxy.logFile, { event: 'close', client: from }),
  };
}

/** Pseudo-random bytes, and their SHA-256. */
function load(size: number): { bytes: Buffer; hash: string } {
  const bytes = randomBytes(size);
  return { bytes, hash: sha256(bytes) };
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function residentMiB(): number {
  const status = fs.readFileSync(`/proc/${proxy.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024;
}

/** Both ends of a socket that hash what they read and write `bytes`. */
async function exchange(
  socket: net.Socket,
  bytes: Buffer,
  first: Buffer = Buffer.alloc(0),
): Promise<string> {
  const hash = createHash('sha256').update(first);
  socket.on('data', (chunk: Buffer) => hash.update(chunk));
  socket.end(bytes);
  await new Promise((resolve, reject) => {
    socket.once('end', resolve).once('error', reject);
  });
  return hash.digest('hex');
}

/** A server on `port` that exchanges its bytes with one client; resolves with the hash of what came. */
async function bulkServer(
  port: number,
  bytes: Buffer,
): Promise<{ hash: Promise<string>; close(): void }> {
  const server = net.createServer({ allowHalfOpen: true });
  const hash = new Promise<string>((resolve, reject) => {
    server.once('connection', (socket) => {
      exchange(socket, bytes).then(resolve, reject);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(port, address, resolve);
  });
  return { hash, close: () => server.close() };
}

describe('bytes', () => {
  const size = 30 * MiB;
  for (const [port, what, head] of [
    [23, 'in a tcp tunnel', Buffer.alloc(0)],
    [24, 'behind a hello', clientHello({ sni: 'bulk.test' })],
  ] as const) {
    test(`30 MiB each way ${what} arrive as they were sent`, async () => {
      const up = load(size);
      const down = load(size);
      const answer = Buffer.concat([head.length > 0 ? serverHello() : Buffer.alloc(0), down.bytes]);
      const server = await bulkServer(port, answer);
      const client = net.connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true });
      client.write(connectHead(`bulk.test:${port}`, credentials));
      const first = await new Promise<Buffer>((resolve) => {
        client.once('data', (chunk: Buffer) => {
          client.pause();
          resolve(chunk);
        });
      });
      const rest = first.subarray(first.indexOf('\r\n\r\n') + 4);
      client.resume();
      const got = await exchange(client, Buffer.concat([head, up.bytes]), rest);
      assert.equal(got, sha256(answer));
      assert.equal(await server.hash, sha256(Buffer.concat([head, up.bytes])));
      server.close();
      const close = await waitForLine(proxy.logFile, { event: 'close', port });
      assert.equal(close.bytes_up, size + head.length);
      assert.equal(close.bytes_down, answer.length);
      assert.equal(close.verdict, 'allow');
    });
  }

  test('everything in the segment of the CONNECT goes on behind the 200', async () => {
    const known = origin.connections.length;
    const client = await RawClient.connect({ port: proxy.port });
    const early = randomBytes(200_000);
    client.write(Buffer.concat([Buffer.from(connectHead('tcp.test:22', credentials)), early]));
    const server = await origin.connection(known);
    await until(
      () => server.bytes.length === early.length,
      () => `${server.bytes.length} of ${early.length}`,
    );
    assert.deepEqual(server.bytes, early);
    client.reset();
    await server.waitForEnd();
  });

  test('a reader that stops costs the proxy no memory', async () => {
    for (const side of ['client', 'server'] as const) {
      const { client, server, closed } = await tunnel();
      const [reader, writer] =
        side === 'client' ? [client.socket, server.socket] : [server.socket, client.socket];
      // Its listener keeps everything; here only the count matters.
      reader.removeAllListeners('data').pause();
      const before = residentMiB();
      const chunk = randomBytes(MiB);
      for (let sent = 0; sent < 64; sent++) writer.write(chunk);
      await sleep(400);
      assert.ok(
        writer.writableLength > 32 * MiB,
        `only ${writer.writableLength} bytes are held back`,
      );
      const grown = residentMiB() - before;
      assert.ok(grown < 24, `${side}: the proxy grew by ${grown} MiB`);
      let read = 0;
      reader.on('data', (part: Buffer) => {
        read += part.length;
      });
      reader.resume();
      await until(
        () => read === 64 * MiB,
        () => `${read} bytes read`,
        20_000,
      );
      client.reset();
      const line = await closed();
      assert.equal(side === 'client' ? line.bytes_down : line.bytes_up, 64 * MiB);
    }
  });
});

describe('the end of a tunnel', () => {
  test('FIN of the client: the answer still comes', async () => {
    const { client, server, closed } = await tunnel();
    client.write('question');
    client.end();
    assert.equal(await server.waitForEnd(), 'fin');
    assert.equal(server.text, 'question');
    await sleep(100);
    server.socket.end('answer');
    assert.equal((await client.readToEnd()).toString(), 'answer');
    const line = await closed();
    assert.deepEqual(
      [line.end, line.verdict, line.bytes_up, line.bytes_down],
      ['client', 'allow', 8, 6],
    );
  });

  test('FIN of the destination: the client may go on', async () => {
    const { client, server, closed } = await tunnel();
    server.socket.end('first');
    assert.equal((await client.readToEnd()).toString(), 'first');
    client.write('late');
    await server.waitFor('late');
    client.end();
    assert.equal(await server.waitForEnd(), 'fin');
    const line = await closed();
    assert.deepEqual(
      [line.end, line.verdict, line.bytes_up, line.bytes_down],
      ['origin', 'allow', 4, 5],
    );
  });

  test('RST of the client reaches the destination', async () => {
    const { client, server, closed } = await tunnel();
    client.write('x');
    await server.waitFor('x');
    client.reset();
    await server.waitForEnd();
    const line = await closed();
    assert.deepEqual([line.end, line.verdict], ['client', 'allow']);
  });

  test('RST of the destination is a RST for the client', async () => {
    const { client, server, closed } = await tunnel();
    server.socket.write('part');
    await client.readUntil('part');
    server.socket.resetAndDestroy();
    await until(
      () => client.closed,
      () => 'the client is still connected',
    );
    assert.equal(client.error?.code, 'ECONNRESET');
    assert.equal((await closed()).end, 'origin');
  });

  test('RST after FIN of the client ends both', async () => {
    const { client, server, closed } = await tunnel();
    client.end();
    await server.waitForEnd();
    client.reset();
    server.socket.write('anyone?');
    assert.equal((await closed()).end, 'client');
  });

  for (const [what, act] of [
    ['closes at once', ({ socket }: Received) => socket.end()],
    ['says one thing and closes', ({ socket }: Received) => socket.end('bye')],
    ['says 1 MiB and closes', ({ socket }: Received) => socket.end(Buffer.alloc(MiB, 'x'))],
  ] as const) {
    test(`a destination that ${what} is heard to its end`, async () => {
      script = act;
      const { client, closed } = await tunnel();
      script = () => undefined;
      const bytes = await client.readToEnd();
      assert.equal(client.error, null);
      client.end();
      const line = await closed();
      assert.deepEqual([line.end, line.bytes_down], ['origin', bytes.length]);
      assert.equal(bytes.length, what.includes('MiB') ? MiB : what.includes('one') ? 3 : 0);
    });
  }

  test('an idle tunnel is cut, one with a trickle is not', async () => {
    const idle = await tunnel();
    const busy = await tunnel();
    const trickle = setInterval(() => busy.client.write('.'), 300);
    const line = await idle.closed();
    assert.deepEqual([line.end, line.verdict], ['idle_timeout', 'allow']);
    assert.equal((await idle.client.readToClose()).length, 0);
    await sleep(600);
    assert.ok(!busy.client.ended && !busy.client.closed);
    clearInterval(trickle);
    busy.client.reset();
    assert.equal((await busy.closed()).end, 'client');
  });

  test('a half-closed tunnel that is idle is cut too', async () => {
    const { client, closed } = await tunnel();
    client.end();
    assert.equal((await closed()).end, 'idle_timeout');
  });

  test('the upload cap of an entry', async () => {
    const { client, server, closed } = await tunnel('capped.test:22');
    client.write(Buffer.alloc(99_999));
    await until(
      () => server.bytes.length === 99_999,
      () => `${server.bytes.length}`,
    );
    client.write('x');
    await until(
      () => server.bytes.length === 100_000,
      () => `${server.bytes.length}`,
    );
    client.write('y');
    const line = await closed();
    assert.deepEqual(
      [line.verdict, line.reason, line.end],
      ['block', 'upload_limit', 'upload_limit'],
    );
    assert.ok((line.bytes_up ?? 0) <= 100_000);
    await server.waitForEnd();
    assert.equal(server.bytes.length, 100_000);
  });
});

describe('many at once', () => {
  test('200 tunnels with bytes of their own do not mix', async () => {
    script = ({ socket }) => socket.pipe(socket);
    const results = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const client = await RawClient.connect({ port: proxy.port });
        await client.tunnel('tcp.test:22', credentials);
        const bytes = Buffer.alloc(20_000 + index, `${index};`);
        client.write(bytes);
        client.end();
        const from = `${client.socket.localAddress}:${client.socket.localPort}`;
        return { same: (await client.readToEnd()).equals(bytes), from, size: bytes.length };
      }),
    );
    script = () => undefined;
    assert.ok(results.every(({ same }) => same));
    await until(
      () =>
        results.every(
          ({ from }) => linesLike(proxy.lines(), { event: 'close', client: from }).length === 1,
        ),
      () => 'not all have a close line',
    );
    const lines = proxy.lines();
    for (const { from, size } of results) {
      const [line] = linesLike(lines, { event: 'close', client: from });
      assert.deepEqual([line?.bytes_up, line?.bytes_down], [size, size]);
    }
  });
});

test('a client that vanishes while its tunnel is being opened leaves nothing', async () => {
  for (const leave of ['end', 'reset'] as const) {
    for (let count = 0; count < 20; count++) {
      const client = await RawClient.connect({ port: proxy.port });
      client.write(connectHead('tcp.test:22', credentials));
      client[leave]();
    }
  }
  await until(
    async () => (await proxy.admin('/connections')).text === '{"connections":[]}\n',
    () => 'tunnels are left',
  );
  const metrics = (await proxy.admin('/metrics')).text;
  assert.match(metrics, /^sallyport_tunnels_active 0$/m);
  await proxy.stop();
});
