import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBlackHole } from '../support/black-hole.ts';
import { until } from '../support/deadline.ts';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { linesLike, onlyLine, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { echo, type Origin, type Script, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { header, proxyAuthorization, RawClient, type RawResponse } from '../support/raw-client.ts';
import { assertRefusal } from '../support/refusal.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-agent-';
const address = '93.184.215.14';
const silent = '93.184.215.15';
const kilobytes = (count: number) => Buffer.alloc(count * 1000, 'x');

const allow = [
  { host: '*.tcp.test', scheme: 'tcp', ports: [22] },
  { host: '*.http.test', scheme: 'http' },
  { host: '*.tls.test' },
  { host: 'capped.test', scheme: 'tcp', ports: [22], upload: '20KB' },
  { host: 'capped.test', scheme: 'http', upload: '20KB' },
];
const made = (id: string, limits: object) => agent(token + id, allow, { limits });

const allowlists = {
  'agents.yaml': {
    agents: {
      free: agent(`${token}free`, allow),
      few: made('few', { connections: 2 }),
      one: made('one', { connections: 1 }),
      paced: made('paced', { 'connections-per-second': 5 }),
      paced1: made('paced1', { 'connections-per-second': 1 }),
      small: made('small', { 'upload-per-tunnel': '50KB' }),
    },
  },
};

let proxy: ProxyProcess;
let dns: DnsServer;
let origins: Origin[];
const proofOf = (id: string) => proxyAuthorization(token + id, id);

const http: Script = (received) => {
  const { socket } = received;
  socket.on('data', () => {
    if (/^GET|\r\n\r\nx+END|\r\n0\r\n\r\n$/.test(received.text)) {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    }
  });
  socket.on('end', () => socket.end());
};

before(async () => {
  const zone = { '*': { a: [address] }, 'silent.tcp.test': { a: [silent] } };
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone });
  origins = await Promise.all([
    startTcpOrigin({ address, port: 22 }, echo),
    startTcpOrigin({ address, port: 443 }, echo),
    startTcpOrigin({ address, port: 80 }, http),
  ]);
  proxy = await ProxyProcess.start({
    allowlists,
    settings: {
      limits: {
        'head-timeout': '1s',
        'hello-timeout': '1s',
        'connect-timeout': '1s',
        'idle-timeout': '2s',
      },
    },
  });
});

after(async () => {
  await proxy[Symbol.asyncDispose]();
  await Promise.all(origins.map((origin) => origin.close()));
  await dns.close();
});

const raw = (at = proxy) => RawClient.connect({ port: at.port });

async function ask(id: string, target: string, at = proxy): Promise<[RawClient, RawResponse]> {
  const client = await raw(at);
  return [client, await client.tunnel(target, proofOf(id))];
}

/** A tunnel that must open. */
async function tunnel(id: string, target: string, at = proxy): Promise<RawClient> {
  const [client, answer] = await ask(id, target, at);
  assert.equal(answer.status, 200, answer.reason);
  return client;
}

/** An attempt that must be refused. */
async function refused(
  id: string,
  target: string,
  reason: string,
  at = proxy,
): Promise<RawResponse> {
  const [client, answer] = await ask(id, target, at);
  assertRefusal(answer, reason);
  await client.readToClose();
  client.close();
  return answer;
}

async function closed(...clients: RawClient[]): Promise<void> {
  for (const client of clients) client.close();
  const live = async () => (await proxy.admin('/connections')).text;
  await until(
    async () => (await live()) === '{"connections":[]}\n',
    () => 'connections are still open',
  );
}

describe('connections of one agent', () => {
  test('are counted together, whatever they carry, and given back', async () => {
    const first = await tunnel('few', 'a.tcp.test:22');
    const second = await tunnel('few', 'b.tls.test:443');
    const answer = await refused('few', 'c.tcp.test:22', 'connection_limit');
    assert.equal(header(answer, 'retry-after'), '1');
    const client = await raw();
    client.write(`GET http://a.http.test/ HTTP/1.1\r\nHost: a.http.test\r\n${proofOf('few')}\r\n`);
    assertRefusal(await client.readResponse(), 'connection_limit');
    client.close();
    const other = await tunnel('free', 'c.tcp.test:22');
    await closed(first, second, other);
    await closed(await tunnel('few', 'a.tcp.test:22'), await tunnel('few', 'b.tcp.test:22'));
  });

  test('hold their place while the destination is dialled, and not after it failed', async () => {
    await using _hole = await openBlackHole(silent, 22);
    const dialling = await Promise.all([raw(), raw()]);
    for (const client of dialling) {
      client.write(`CONNECT silent.tcp.test:22 HTTP/1.1\r\nHost: x\r\n${proofOf('few')}\r\n`);
    }
    await until(
      async () => (await proxy.admin('/connections')).text.split('"agent":"few"').length === 3,
      () => 'the dials have not begun',
    );
    await refused('few', 'c.tcp.test:22', 'connection_limit');
    for (const client of dialling) {
      assertRefusal(await client.readResponse(), 'connect_timeout');
      client.close();
    }
    await closed(await tunnel('few', 'a.tcp.test:22'), await tunnel('few', 'b.tcp.test:22'));
  });

  test('give their place back when the client leaves during the dial', async () => {
    await using _hole = await openBlackHole(silent, 22);
    for (let time = 0; time < 3; time++) {
      const client = await raw();
      client.write(`CONNECT silent.tcp.test:22 HTTP/1.1\r\nHost: x\r\n${proofOf('few')}\r\n`);
      await sleep(20);
      client.reset();
    }
    await closed(await tunnel('few', 'a.tcp.test:22'), await tunnel('few', 'b.tcp.test:22'));
  });

  test('are not two for a request inside a tunnel', async () => {
    const first = await tunnel('one', 'a.http.test:80');
    for (let time = 0; time < 2; time++) {
      first.write('GET / HTTP/1.1\r\nHost: a.http.test\r\n\r\n');
      assert.equal((await first.readResponse()).status, 200);
    }
    await refused('one', 'a.tcp.test:22', 'connection_limit');
    await closed(first);
  });

  test('are freed by refusals of every kind', async () => {
    for (let time = 0; time < 5; time++) {
      await refused('one', 'evil.test:443', 'host_not_allowed');
      const inner = await tunnel('one', 'a.http.test:80');
      inner.write('GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n');
      assertRefusal(await inner.readResponse(), 'host_mismatch');
      await closed(inner);
    }
  });
});

describe('connections per second', () => {
  for (const [id, rate] of [
    ['paced', 5],
    ['paced1', 1],
  ] as const) {
    test(`a burst of one second passes, what is more does not: ${rate}`, async () => {
      const started = performance.now();
      const answers = await Promise.all(
        Array.from({ length: rate * 3 }, () => ask(id, 'a.tcp.test:22')),
      );
      const allowed = answers.filter(([, answer]) => answer.status === 200);
      const most = rate + Math.ceil(((performance.now() - started) / 1000) * rate);
      assert.ok(allowed.length >= rate && allowed.length <= most, `${allowed.length} of ${rate}`);
      for (const [client, answer] of answers) {
        if (answer.status !== 200) {
          assertRefusal(answer, 'rate_limit');
          assert.equal(header(answer, 'retry-after'), '1');
        }
        client.close();
      }
      await sleep(1050);
      await closed(await tunnel(id, 'a.tcp.test:22'));
    });
  }

  test('are not asked for by a refusal, nor of another agent', async () => {
    const asked = dns.queries.length;
    await sleep(1050);
    const first = await tunnel('paced1', 'b.tcp.test:22');
    await refused('paced1', 'new-name.tcp.test:22', 'rate_limit');
    assert.ok(!dns.queries.slice(asked).some((query) => query.name.startsWith('new-name')));
    await closed(first, await tunnel('free', 'a.tcp.test:22'));
  });
});

describe('an upload cap', () => {
  /** Who, where, and how many KB pass. */
  const rows = [
    ['small', 'a.tcp.test:22', 50],
    ['free', 'capped.test:22', 20],
    ['small', 'capped.test:22', 20],
  ] as const;
  for (const [id, target, cap] of rows) {
    test(`${id} to ${target}: ${cap} KB pass, a byte more does not`, async () => {
      const within = await tunnel(id, target);
      within.write(kilobytes(cap));
      assert.equal((await within.readBytes(cap * 1000)).length, cap * 1000);
      within.write('x');
      await within.readToClose();
      within.close();
      const line = await waitForLine(proxy.logFile, {
        event: 'close',
        agent: id,
        host: target.split(':', 1)[0] ?? '',
        end: 'upload_limit',
      });
      assert.deepEqual([line.verdict, line.reason], ['block', 'upload_limit']);
      assert.ok((line.bytes_up ?? 0) <= cap * 1000 + 1);
    });
  }

  test('does not count what comes down', async () => {
    const client = await tunnel('small', 'c.tcp.test:22');
    for (let time = 0; time < 4; time++) {
      client.write(kilobytes(10));
      await client.readBytes(10_000);
    }
    await closed(client);
    const line = await waitForLine(proxy.logFile, {
      event: 'close',
      host: 'c.tcp.test',
      agent: 'small',
    });
    assert.deepEqual([line.end, line.bytes_up, line.bytes_down], ['client', 40_000, 40_000]);
  });

  test('never lets more through than it says, however it comes', async () => {
    const origin = origins[0] as Origin;
    const seen = origin.connections.length;
    const client = await raw();
    const head = `CONNECT capped.test:22 HTTP/1.1\r\nHost: x\r\n${proofOf('free')}\r\n`;
    client.write(Buffer.concat([Buffer.from(head), kilobytes(60)]));
    await client.readToClose();
    client.close();
    const received = await origin.connection(seen);
    await received.waitForEnd();
    assert.ok(received.bytes.length <= 20_000, `${received.bytes.length} bytes went through`);
  });

  const heads: readonly [what: string, fields: string, body: string][] = [
    ['a length', `Content-Length: 20001\r\n`, 'x'],
    ['chunks', 'Transfer-Encoding: chunked\r\n', `5000\r\n${'x'.repeat(0x5000)}\r\n`],
  ];
  for (const [what, fields, body] of heads) {
    test(`is 413 for a request with ${what}`, async () => {
      const client = await raw();
      client.write(
        `POST http://capped.test/ HTTP/1.1\r\nHost: capped.test\r\n${fields}${proofOf('free')}\r\n${body}`,
      );
      assertRefusal(await client.readResponse(), 'upload_limit');
      await client.readToClose();
      client.close();
    });
  }

  test('lets a request of just that size pass', async () => {
    const client = await raw();
    client.write(
      `POST http://capped.test/ HTTP/1.1\r\nHost: capped.test\r\nContent-Length: 20000\r\n${proofOf('free')}\r\n${'x'.repeat(19_997)}END`,
    );
    assert.equal((await client.readResponse()).status, 200);
    client.close();
  });
});

describe('slow and silent clients', { concurrency: true }, () => {
  /** What is sent, and whether that is an attempt that the log must tell of. */
  const rows: readonly [what: string, sent: string, logged: boolean][] = [
    ['nothing', '', false],
    ['half a method', 'CONN', true],
    ['half a CONNECT', 'CONNECT a.tcp.test:22 HTTP/1.1\r\nHost: a', true],
    ['half a GET', 'GET http://a.http.test/ HTTP/1.1\r\nHost: a', true],
    ['empty lines', '\r\n\r\n', true],
  ];
  for (const [what, sent, logged] of rows) {
    test(`${what}: closed at the head deadline without an answer`, async () => {
      const client = await raw();
      const from = `${client.socket.localAddress}:${client.socket.localPort}`;
      if (sent !== '') client.write(sent);
      const started = performance.now();
      assert.equal((await client.readToClose(3500)).length, 0);
      assert.ok(performance.now() - started >= 900, 'not before the deadline');
      client.close();
      await sleep(20);
      const lines = linesLike(proxy.lines(), { client: from });
      assert.deepEqual(
        lines.map((line) => [line.event, line.reason]),
        logged ? [['block', 'bad_request']] : [],
      );
    });
  }

  test('half a second head, and half a head in a tunnel', async () => {
    const kept = await raw();
    const get = `GET http://a.http.test/ HTTP/1.1\r\nHost: a.http.test\r\n${proofOf('free')}\r\n`;
    kept.write(get);
    assert.equal((await kept.readResponse()).status, 200);
    kept.write('GET http://a.ht');
    const inner = await tunnel('free', 'half.http.test:80');
    inner.write('GET / HT');
    for (const client of [kept, inner]) {
      assert.equal((await client.readToClose(2500)).length, 0);
      client.close();
    }
    const line = await waitForLine(proxy.logFile, { event: 'close', host: 'half.http.test' });
    assert.deepEqual([line.verdict, line.end], ['block', 'bad_request']);
  });

  test('a tunnel to an http entry that says nothing', async () => {
    const client = await tunnel('free', 'mute.http.test:80');
    await client.readToClose(4000);
    client.close();
    const line = await waitForLine(proxy.logFile, { event: 'close', host: 'mute.http.test' });
    assert.deepEqual([line.verdict, line.end], ['allow', 'idle_timeout']);
  });

  test('a head that drips is closed at the same deadline', async () => {
    const client = await raw();
    const head = `CONNECT a.tcp.test:22 HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(50)}`;
    const started = performance.now();
    for (const byte of head) {
      if (client.closed || client.ended) break;
      client.write(byte);
      await sleep(20);
    }
    await client.readToClose(100);
    assert.ok(performance.now() - started < 2500);
    client.close();
  });

  test('a tunnel without a hello is cut in time', async () => {
    const client = await tunnel('free', 'slow.tls.test:443');
    client.write(Buffer.of(0x16, 3, 1));
    await client.readToClose(3000);
    client.close();
    const line = await waitForLine(proxy.logFile, { event: 'close', host: 'slow.tls.test' });
    assert.deepEqual([line.verdict, line.end], ['block', 'hello_timeout']);
  });

  test('a silent tunnel is cut in time, and was allowed', async () => {
    const client = await tunnel('free', 'idle.tcp.test:22');
    await client.readToClose(4000);
    client.close();
    const line = await waitForLine(proxy.logFile, { event: 'close', host: 'idle.tcp.test' });
    assert.deepEqual([line.verdict, line.end], ['allow', 'idle_timeout']);
  });

  test('a destination that does not answer is given up in time', async () => {
    await using _hole = await openBlackHole(silent, 22);
    const [client, answer] = await ask('free', 'silent.tcp.test:22');
    assertRefusal(answer, 'connect_timeout');
    client.close();
  });
});

describe('heads at the edge', () => {
  const filler = (bytes: number) => `X-Fill: ${'x'.repeat(bytes)}\r\n`;
  const lines = (count: number) => 'X: y\r\n'.repeat(count);
  const rows: readonly [what: string, fields: string, passes: boolean][] = [
    ['15 KiB in one line', filler(15 * 1024 - 300), true],
    ['17 KiB in one line', filler(17 * 1024), false],
    ['80 lines', lines(80), true],
    ['101 lines', lines(101), false],
    ['2,000 lines', lines(2000), false],
    ['a name of 8 KiB', `${'x'.repeat(8192)}: y\r\n`, true],
  ];
  for (const [what, fields, passes] of rows) {
    test(`${what}: ${passes ? 'served' : '400'}`, async () => {
      const starts = ['CONNECT a.tcp.test:22', 'GET http://a.http.test/'];
      for (const start of starts) {
        const client = await raw();
        client.write(`${start} HTTP/1.1\r\nHost: a.http.test\r\n${fields}${proofOf('free')}\r\n`);
        const answer = await client.readResponse({ head: passes && start.startsWith('C') });
        if (passes) assert.equal(answer.status, 200, `${start}: ${answer.reason}`);
        else assertRefusal(answer, 'bad_request');
        client.close();
      }
    });
  }
});

describe('the proxy at its own limit', () => {
  test('turns clients away, and takes them again', async () => {
    await using full = await ProxyProcess.start({
      allowlists,
      settings: { limits: { connections: 3 } },
    });
    const held = [
      await tunnel('free', 'a.tcp.test:22', full),
      await tunnel('free', 'b.tcp.test:22', full),
      await tunnel('free', 'c.tcp.test:22', full),
    ];
    const client = await raw(full);
    client.write(`CONNECT d.tcp.test:22 HTTP/1.1\r\nHost: x\r\n${proofOf('free')}\r\n`);
    const answer = await client.readResponse();
    const body = assertRefusal(answer, 'overloaded');
    assert.equal(body.retry, true);
    await client.readToClose();
    client.close();
    onlyLine(full.lines(), { event: 'block', reason: 'overloaded', status: 503 });
    held[0]?.close();
    await until(
      async () => {
        const [next, again] = await ask('free', 'd.tcp.test:22', full);
        next.close();
        return again.status === 200;
      },
      () => 'no place was given back',
    );
    for (const one of held) one.close();
    await full.stop();
  });

  test('lets half-open clients make room for others', async () => {
    await using full = await ProxyProcess.start({
      allowlists,
      settings: { limits: { connections: 3 } },
    });
    const idle = await Promise.all([raw(full), raw(full), raw(full)]);
    idle[0]?.write('CONNECT ');
    await sleep(50);
    const client = await tunnel('free', 'a.tcp.test:22', full);
    client.close();
    for (const one of idle) one.close();
    await full.stop();
  });
});

test('leaves a whole log and no connection behind', async () => {
  await closed();
  await proxy.stop();
});
