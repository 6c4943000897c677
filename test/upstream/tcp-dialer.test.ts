import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { createServer, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Ip, parseIp } from '../../src/core/ip.ts';
import type { DialError, Dialer, DialHandle } from '../../src/upstream/dialer.ts';
import { TcpDialer } from '../../src/upstream/tcp-dialer.ts';
import { openBlackHole } from '../support/black-hole.ts';
import { assertNothingLeft, holdingsAtRest } from '../support/leaks.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** Longer than any test: a step that waits for it fails the test by never coming. */
const NEVER_MS = 600_000;

function ips(...texts: string[]): Ip[] {
  return texts.map((ip) => parseIp(ip) as Ip);
}

async function listen(t: TestContext, address: string, port = 0): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    t.after(() => socket.destroy());
  });
  server.listen(port, address);
  await once(server, 'listening');
  t.after(() => server.close());
  return server;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** A port at which nobody listens, on any address. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

interface Outcome {
  readonly error: DialError | null;
  readonly socket: Socket | null;
  readonly address: string | null;
}

/** The first call of the callback; fails the test if it is synchronous or comes twice. */
function dial(
  dialer: Dialer,
  addresses: readonly Ip[],
  port: number,
): { handle: DialHandle; outcome: Promise<Outcome> } {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  let returned = false;
  let calls = 0;
  const handle = dialer.dial(addresses, port, (error, socket, address) => {
    assert.ok(returned, 'called synchronously');
    assert.equal(++calls, 1, 'called twice');
    assert.ok(socket === null || socket instanceof Socket);
    socket?.on('error', () => {});
    resolve({ error, socket, address: address?.text ?? null });
  });
  returned = true;
  return { handle, outcome: promise };
}

describe('TcpDialer with one address', { timeout: 10_000 }, () => {
  it('hands over a connected socket that is clean and half-open', async (t) => {
    const server = await listen(t, '127.0.0.2');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const { error, socket, address } = await dial(new TcpDialer(), ips('127.0.0.2'), portOf(server))
      .outcome;
    assert.equal(error, null);
    assert.ok(socket);
    assert.equal(address, '127.0.0.2');
    assert.equal(socket.remoteAddress, '127.0.0.2');
    assert.equal(socket.allowHalfOpen, true);
    assert.equal(socket.listenerCount('connect'), 0);
    // Only the one that `dial` of this file has added.
    assert.equal(socket.listenerCount('error'), 1);
    assert.deepEqual(
      socket.eventNames().filter((name) => name !== 'error'),
      new Socket().eventNames(),
    );

    const [peer] = await accepted;
    peer.end('bye');
    assert.equal(await text(socket), 'bye');
    const echoed = text(peer);
    socket.end('still writing after your end');
    assert.equal(await echoed, 'still writing after your end');
  });

  it('connects over IPv6', async (t) => {
    const server = await listen(t, '::1');
    const { socket, address } = await dial(new TcpDialer(), ips('::1'), portOf(server)).outcome;
    assert.equal(socket?.remoteAddress, '::1');
    assert.equal(address, '::1');
    socket?.destroy();
  });

  it('knows its peer by either spelling of a mapped address', async (t) => {
    const server = await listen(t, '127.0.0.1');
    const [mapped] = ips('::ffff:7f00:1');
    const { error, socket } = await dial(new TcpDialer(), [mapped as Ip], portOf(server)).outcome;
    assert.equal(error, null);
    socket?.destroy();
  });

  const failures: readonly [title: string, address: string, reason: string][] = [
    ['nobody listens', '127.0.0.3', 'connect_refused'],
    ['broadcast', '255.255.255.255', 'connect_failed'],
  ];
  for (const [title, address, reason] of failures) {
    it(`says ${reason}: ${title}`, async () => {
      const port = await closedPort();
      const { error, socket } = await dial(new TcpDialer(), ips(address), port).outcome;
      assert.equal(error?.name, 'DialError');
      assert.equal(error.reason, reason);
      assert.match(error.message, new RegExp(`^${address}:${port}: E[A-Z]+$`));
      assert.equal(socket, null);
    });
  }

  it('does not accept another peer: 0.0.0.0 and :: are answered by the loopback', async (t) => {
    for (const [asked, listener] of [
      ['0.0.0.0', '127.0.0.1'],
      ['::', '::1'],
    ] as const) {
      const server = await listen(t, listener);
      const { error, socket } = await dial(new TcpDialer(), ips(asked), portOf(server)).outcome;
      assert.equal(error?.reason, 'connect_failed', asked);
      assert.equal(socket, null);
    }
  });

  it('refuses a port that is none, and no address, without a socket', async () => {
    const before = await holdingsAtRest();
    for (const port of [0, -1, 65_536, 443.5, Number.NaN, '0x1bb' as unknown as number]) {
      const { error } = await dial(new TcpDialer(), ips('127.0.0.1'), port).outcome;
      assert.equal(error?.reason, 'connect_failed', String(port));
      assert.match(error.message, /port/);
    }
    const { error } = await dial(new TcpDialer(), [], 443).outcome;
    assert.equal(error?.reason, 'connect_failed');
    await assertNothingLeft(before);
  });

  it('never looks up what is not an address', async () => {
    for (const name of ['localhost', '', '127.1', '0x7f000001']) {
      const fake: Ip = { family: 4, words: [0x7f000001], text: name };
      const { error } = await dial(new TcpDialer(), [fake], 443).outcome;
      assert.equal(error?.reason, 'connect_failed', name);
    }
  });

  it('says connect_timeout at the deadline and leaves nothing behind', async () => {
    await using hole = await openBlackHole('127.0.0.4');
    const before = await holdingsAtRest();
    const clock = new ManualClock();
    const dialer = new TcpDialer({ clock, connectTimeoutMs: 5000 });
    const { outcome } = dial(dialer, ips('127.0.0.4'), hole.port);
    // A ref'd timer, as the sweep of deadlines does not keep the process alive.
    await sleep(250);
    clock.advance(4999);
    assert.equal(await Promise.race([outcome, sleep(250, 'waiting')]), 'waiting');
    clock.advance(1);
    const { error } = await outcome;
    assert.equal(error?.reason, 'connect_timeout');
    assert.match(error.message, /within 5 s/);
    await assertNothingLeft(before);
  });
});

describe('TcpDialer with several addresses', { timeout: 10_000 }, () => {
  it('prefers IPv6', async (t) => {
    const v4 = await listen(t, '127.0.0.5');
    await listen(t, '::1', portOf(v4));
    const dialer = new TcpDialer({ attemptDelayMs: NEVER_MS });
    const { address, socket } = await dial(dialer, ips('127.0.0.5', '::1'), portOf(v4)).outcome;
    assert.equal(address, '::1');
    socket?.destroy();
  });

  it('goes on as soon as one fails, through all of them', async (t) => {
    const server = await listen(t, '127.0.0.5');
    const dialer = new TcpDialer({ attemptDelayMs: NEVER_MS });
    const addresses = ips('127.0.0.1', '127.0.0.2', '::1', '255.255.255.255', '127.0.0.5');
    const { address, socket } = await dial(dialer, addresses, portOf(server)).outcome;
    assert.equal(address, '127.0.0.5');
    socket?.destroy();
  });

  it('gets past an address that is silent, and drops that attempt', async (t) => {
    await using hole = await openBlackHole('127.0.0.6');
    const good = await listen(t, '127.0.0.7', hole.port);
    good.on('connection', (socket) => socket.resume().end());
    const before = await holdingsAtRest();
    const dialer = new TcpDialer({ attemptDelayMs: 20 });
    const { address, socket } = await dial(dialer, ips('127.0.0.6', '127.0.0.7'), hole.port)
      .outcome;
    assert.equal(address, '127.0.0.7');
    assert.ok(socket);
    socket.destroy();
    await once(socket, 'close');
    await assertNothingLeft(before);
  });

  it('has one deadline for all of them', async () => {
    await using hole = await openBlackHole('127.0.0.6');
    await using second = await openBlackHole('127.0.0.7', hole.port);
    const before = await holdingsAtRest();
    const clock = new ManualClock();
    const dialer = new TcpDialer({ clock, attemptDelayMs: 10, connectTimeoutMs: 5000 });
    const { outcome } = dial(dialer, ips('127.0.0.6', '127.0.0.7'), second.port);
    await sleep(100);
    clock.advance(5000);
    assert.equal((await outcome).error?.reason, 'connect_timeout');
    await assertNothingLeft(before);
  });

  const failures: readonly [addresses: string[], reason: string][] = [
    [['255.255.255.255', '127.0.0.3'], 'connect_refused'],
    [['127.0.0.3', '255.255.255.255'], 'connect_refused'],
    [['255.255.255.255', '255.255.255.255'], 'connect_failed'],
  ];
  for (const [addresses, reason] of failures) {
    it(`reports the most telling failure of ${addresses.join(', ')}`, async () => {
      const { error } = await dial(new TcpDialer(), ips(...addresses), await closedPort()).outcome;
      assert.equal(error?.reason, reason);
    });
  }

  it('reports a refusal rather than the silence of another address', async () => {
    await using hole = await openBlackHole('127.0.0.6');
    const clock = new ManualClock();
    const dialer = new TcpDialer({ clock });
    const { outcome } = dial(dialer, ips('127.0.0.3', '127.0.0.6'), hole.port);
    await sleep(100);
    clock.advance(10_000);
    assert.equal((await outcome).error?.reason, 'connect_refused');
  });
});

describe('TcpDialer.cancel', { timeout: 10_000 }, () => {
  it('works in every state, twice, and calls back no more', async (t) => {
    await using hole = await openBlackHole('127.0.0.8');
    const server = await listen(t, '127.0.0.9');
    const dialer = new TcpDialer({ attemptDelayMs: 10 });
    const before = await holdingsAtRest();
    const refuse = () => assert.fail('called after cancel');
    const states: readonly [string, () => Promise<unknown>][] = [
      ['at once', async () => {}],
      ['in the next microtask', () => Promise.resolve()],
      ['in the next tick', () => new Promise((resolve) => process.nextTick(resolve))],
      ['in the next turn', () => new Promise(setImmediate)],
      ['with two attempts under way', () => sleep(50)],
    ];
    for (const [state, reached] of states) {
      const handle = dialer.dial(ips('127.0.0.8', '127.0.0.8'), hole.port, refuse);
      if (state !== 'at once') await reached();
      handle.cancel();
      handle.cancel();
    }
    dialer.dial(ips('127.0.0.9'), portOf(server), refuse).cancel();
    dialer.dial([], 443, refuse).cancel();
    await sleep(50);
    await assertNothingLeft(before);
  });

  it('leaves a socket that was handed over alone', async (t) => {
    const server = await listen(t, '127.0.0.9');
    const { handle, outcome } = dial(new TcpDialer(), ips('127.0.0.9'), portOf(server));
    const { socket } = await outcome;
    handle.cancel();
    assert.equal(socket?.destroyed, false);
    socket.destroy();
  });

  it('may be called from inside the callback', async (t) => {
    const server = await listen(t, '127.0.0.9');
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const handle = new TcpDialer().dial(ips('127.0.0.9'), portOf(server), (_error, socket) => {
      handle.cancel();
      resolve(socket?.destroyed ?? true);
      socket?.destroy();
    });
    assert.equal(await promise, false);
  });
});

describe('TcpDialer under load', { timeout: 10_000 }, () => {
  it('opens 500 at once and leaves nothing behind', async (t) => {
    const server = await listen(t, '127.0.0.10');
    server.on('connection', (socket) => socket.resume().end());
    const dialer = new TcpDialer();
    const before = await holdingsAtRest();
    const dials = Array.from({ length: 500 }, () =>
      dial(dialer, ips('127.0.0.10'), portOf(server)),
    );
    const outcomes = await Promise.all(dials.map(({ outcome }) => outcome));
    const closed = outcomes.map(async ({ socket }) => {
      assert.ok(socket);
      socket.destroy();
      await once(socket, 'close');
    });
    await Promise.all(closed);
    await assertNothingLeft(before);
  });

  it('says overloaded when the process has no descriptor left', async () => {
    const script = `
      import { openSync } from 'node:fs';
      import { TcpDialer } from ${JSON.stringify(import.meta.resolve('../../src/upstream/tcp-dialer.ts'))};
      process.stdout.write('');
      try { for (;;) openSync('/dev/null'); } catch {}
      const ip = { family: 4, words: [0x7f000001], text: '127.0.0.1' };
      new TcpDialer().dial([ip], 9, (error) => process.stdout.write(error.reason));
    `;
    const child = spawn(
      'sh',
      ['-c', 'ulimit -n 100; exec "$0" --input-type=module -e "$1"', process.execPath, script],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    assert.equal(await text(child.stdout), 'overloaded');
  });
});
