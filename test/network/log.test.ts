import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientHello } from '../support/client-hello.ts';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import {
  assertEgressLog,
  assertSequence,
  type EgressLine,
  linesLike,
  onlyLine,
  readEgressLog,
  waitForLine,
} from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { HttpOrigin, type Origin, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { connectHead, header, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const token = 'CANARY-token-of-the-test-0123456789';
const credentials = proxyAuthorization(token, 'demo');
const address = '93.184.215.14';
const secrets = [
  token,
  'CANARY',
  Buffer.from(`demo:${token}`).toString('base64'),
  Buffer.from('CANARY-wrong').toString('base64').slice(0, 12),
];

let dns: Awaited<ReturnType<typeof startDnsServer>>;
let tcp: Origin;
let tls: Origin;
let web: HttpOrigin;

const allowlists = {
  'demo.yaml': {
    agents: {
      demo: agent(token, [
        'tls.test',
        'tcp://tcp.test:22',
        'http://web.test',
        'http://down.test:81',
        'tcp://down.test:81',
        'gone.test',
        'private.test',
      ]),
      small: agent('the-token-of-the-small-agent', ['tcp://tcp.test:22'], {
        limits: { connections: 1, 'connections-per-second': 5 },
      }),
    },
  },
};

before(async () => {
  dns = await startDnsServer({
    address: dnsAddress,
    port: 53,
    zone: {
      'tls.test': { a: [address] },
      'tcp.test': { a: [address] },
      'web.test': { a: [address] },
      'down.test': { a: [address] },
      'private.test': { a: ['10.0.0.5'] },
    },
  });
  tcp = await startTcpOrigin({ address, port: 22 }, ({ socket }) => {
    socket.pipe(socket);
  });
  tls = await startTcpOrigin({ address, port: 443 }, ({ socket }) => {
    socket.on('end', () => socket.end());
  });
  web = await HttpOrigin.start({ address, port: 80 }, (request, response) => {
    request.resume();
    response.end('ok');
  });
});

after(async () => {
  await Promise.all([tcp.close(), tls.close(), web[Symbol.asyncDispose](), dns.close()]);
});

/** Sends these bytes, then FIN, and takes all that comes. */
async function send(proxy: ProxyProcess, bytes: string | Buffer): Promise<string> {
  const client = await RawClient.connect({ port: proxy.port });
  client.write(bytes);
  client.end();
  const answer = (await client.readToClose()).toString('latin1');
  client.close();
  return answer;
}

const get = (url: string, fields = credentials) =>
  `GET ${url} HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n${fields}\r\n`;

/** Everything that the proxy has said anywhere. */
async function everything(proxy: ProxyProcess): Promise<string> {
  const admin = ['/health', '/ready', '/metrics', '/connections'];
  const answers = await Promise.all(admin.map((target) => proxy.admin(target)));
  return [
    fs.readFileSync(proxy.logFile, 'latin1'),
    proxy.stderr,
    ...answers.map((a) => a.text),
  ].join('\n');
}

describe('hostile input in the log', () => {
  let proxy: ProxyProcess;
  before(async () => {
    proxy = await ProxyProcess.start({ allowlists });
  });
  after(() => proxy[Symbol.asyncDispose]());

  /** All code points that must not stand raw in a line, as bytes of UTF-8. */
  const nasty = '\u0001\u001b[2J\u007f\u0085\u009b\u2028\u2029\u202e\u2066\u200f\u061c"\\\n\r\t';

  const snis: [what: string, sni: Buffer][] = [
    ['controls', Buffer.from(nasty)],
    ['a forged line', Buffer.from('x"}\n{"time":"2030","event":"open","agent":"root"')],
    ['Latin-1 C1', Buffer.from([0x9b, 0x33, 0x31, 0x6d, 0x85, 0xff])],
    ['a lone surrogate', Buffer.from([0xed, 0xa0, 0x80])],
    ['255 controls', Buffer.alloc(255, 0x1b)],
    ['9 KiB', Buffer.alloc(9000, 'a')],
  ];
  for (const [what, sni] of snis) {
    test(`an SNI of ${what}`, async () => {
      const client = await RawClient.connect({ port: proxy.port });
      const from = `${client.socket.localAddress}:${client.socket.localPort}`;
      await client.tunnel('tls.test:443', credentials);
      client.write(clientHello({ sni }));
      await client.readToClose();
      client.close();
      const close = await waitForLine(proxy.logFile, { event: 'close', client: from });
      assert.equal(close.reason, 'sni_mismatch');
      assert.ok((close.sni ?? '').length > 0 && (close.sni ?? '').length <= 256);
    });
  }

  const requests: [what: string, bytes: string | Buffer, status: number][] = [
    ['a path of 8 KiB', get(`http://web.test/${'a'.repeat(8000)}`), 200],
    ['a path with escapes', get('http://web.test/%0a%1b%5b2J%e2%80%ae'), 200],
    ['a query', get('http://web.test/path?key=CANARY&x=1'), 200],
    ['a query without a path', get('http://web.test?key=CANARY'), 200],
    ['a query at a blocked host', get('http://evil.test/p?key=CANARY'), 403],
    ['a query with userinfo', get('http://u:CANARY@web.test/'), 400],
    ['a fragment', get('http://web.test/#CANARY'), 400],
    [
      'a wrong credential',
      get('http://web.test/', proxyAuthorization('CANARY-wrong', 'demo')),
      407,
    ],
    ['a bearer credential', get('http://web.test/', proxyAuthorization('CANARY-wrong')), 407],
    [
      'a credential as agent',
      get('http://web.test/', proxyAuthorization('x', 'CANARY-agent')),
      407,
    ],
    [
      'an Authorization',
      get('http://web.test/', `${credentials}Authorization: Bearer CANARY\r\n`),
      200,
    ],
    [
      'a cookie at a blocked host',
      get('http://evil.test/', `${credentials}Cookie: CANARY\r\n`),
      403,
    ],
    [
      'a host with controls',
      get(`http://a${Buffer.from(nasty.slice(0, 8)).toString('latin1')}.test/`),
      400,
    ],
    [
      'a CONNECT with a host of 2 KiB',
      connectHead(`${'a'.repeat(2000)}.test:443`, credentials),
      400,
    ],
    ['a CONNECT with userinfo', connectHead('CANARY:CANARY@tls.test:443', credentials), 400],
    ['a CONNECT with a query', connectHead('tls.test:443?CANARY', credentials), 400],
    ['an unknown method', get('http://web.test/').replace('GET', 'CANARY'), 400],
    ['a malformed head', 'GET http://web.test/ HTTP/1.1\r\nCANARY\x00: y\r\n\r\n', 400],
    [
      'a head of 20 KiB',
      `GET http://web.test/ HTTP/1.1\r\nX: ${'CANARY'.repeat(3400)}\r\n\r\n`,
      400,
    ],
    ['bytes', Buffer.from([0x16, 3, 1, 0, 5, 0x43, 0x41]), 400],
  ];
  for (const [what, bytes, status] of requests) {
    test(`${what}: ${status}, one decision`, async () => {
      const before = proxy.lines().length;
      const answer = await send(proxy, bytes);
      assert.equal(answer.slice(9, 12), String(status), answer.slice(0, 300));
      for (const secret of secrets) assert.ok(!answer.includes(secret), answer);
      await until(
        () => proxy.lines().length > before,
        () => 'no line',
      );
      await sleep(20);
      const lines = proxy.lines().slice(before);
      const decided = lines.filter(({ event }) => event === 'open' || event === 'block');
      assert.equal(decided.length, 1, JSON.stringify(lines));
      assert.equal(decided[0]?.event, status === 200 ? 'open' : 'block');
    });
  }

  test('no secret is anywhere, and the lines are the contract’s', async () => {
    const said = await everything(proxy);
    for (const secret of secrets) {
      const at = said.indexOf(secret);
      assert.equal(at, -1, `${secret}: …${said.slice(Math.max(0, at - 200), at + 100)}`);
    }
    await proxy.stop();
  });
});

/** One attempt, and the events and reason that it must leave in the log. */
interface Kind {
  readonly name: string;
  readonly expect: readonly (readonly [event: string, reason: string | undefined])[];
  act(client: RawClient): Promise<void>;
}

const connectAnd =
  (target: string, then?: (client: RawClient) => Promise<void> | void, fields = credentials) =>
  async (client: RawClient): Promise<void> => {
    const answer = await client.tunnel(target, fields);
    if (answer.status === 200) await then?.(client);
    if (answer.status !== 200) await client.readToClose();
  };
const request =
  (bytes: string) =>
  async (client: RawClient): Promise<void> => {
    client.write(bytes);
    await client.readToClose();
  };

const kinds: readonly Kind[] = [
  {
    name: 'a tunnel',
    expect: [
      ['open', undefined],
      ['close', undefined],
    ],
    act: connectAnd('tcp.test:22', async (client) => {
      client.write('abc');
      client.end();
      await client.readToEnd();
    }),
  },
  {
    name: 'a tunnel that is reset',
    expect: [
      ['open', undefined],
      ['close', undefined],
    ],
    act: connectAnd('tcp.test:22', (client) => client.reset()),
  },
  {
    name: 'a TLS tunnel',
    expect: [
      ['open', undefined],
      ['close', undefined],
    ],
    act: connectAnd('tls.test:443', async (client) => {
      client.write(clientHello({ sni: 'tls.test' }));
      client.end();
      await client.readToEnd();
    }),
  },
  {
    name: 'a TLS tunnel with another name',
    expect: [
      ['open', undefined],
      ['close', 'sni_mismatch'],
    ],
    act: connectAnd('tls.test:443', async (client) => {
      client.write(clientHello({ sni: 'evil.test' }));
      await client.readToClose();
    }),
  },
  {
    name: 'a host not allowed',
    expect: [['block', 'host_not_allowed']],
    act: connectAnd('evil.test:443'),
  },
  {
    name: 'a port not allowed',
    expect: [['block', 'port_not_allowed']],
    act: connectAnd('tls.test:444'),
  },
  {
    name: 'a private address',
    expect: [['block', 'address_not_allowed']],
    act: connectAnd('private.test:443'),
  },
  { name: 'a dead port', expect: [['open', 'connect_refused']], act: connectAnd('down.test:81') },
  { name: 'no such name', expect: [['open', 'dns_failure']], act: connectAnd('gone.test:443') },
  {
    name: 'no credentials',
    expect: [['block', 'no_credentials']],
    act: connectAnd('tls.test:443', undefined, ''),
  },
  { name: 'a bad target', expect: [['block', 'bad_target']], act: connectAnd('tls.test:0443') },
  {
    name: 'a request',
    expect: [
      ['open', undefined],
      ['request', undefined],
    ],
    act: request(get('http://web.test/')),
  },
  {
    name: 'a blocked request',
    expect: [['block', 'host_not_allowed']],
    act: request(get('http://evil.test/')),
  },
  {
    name: 'a request to a dead port',
    expect: [
      ['open', 'connect_refused'],
      ['request', 'connect_refused'],
    ],
    act: request(get('http://down.test:81/')),
  },
  {
    name: 'garbage',
    expect: [['block', 'bad_request']],
    act: request('\x16\x03\x01 garbage\r\n\r\n'),
  },
  {
    name: 'half a head',
    expect: [['block', 'bad_request']],
    act: async (client) => {
      client.write('CONNECT tls.te');
      client.end();
      await client.readToClose();
    },
  },
  {
    name: 'nothing at all',
    expect: [],
    act: async (client) => {
      client.end();
      await client.readToClose();
    },
  },
];

describe('every attempt has its lines', () => {
  test('400 attempts of 17 kinds at once', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    const expected = new Map<string, { kind: Kind }>();
    const attempts = Array.from(
      { length: 408 },
      (_, index) => kinds[(index * 7) % kinds.length] as Kind,
    );
    await Promise.all(
      attempts.map(async (kind, index) => {
        await sleep((index % 40) * 5);
        const client = await RawClient.connect({ port: proxy.port });
        expected.set(`${client.socket.localAddress}:${client.socket.localPort}`, { kind });
        await kind.act(client);
        client.close();
      }),
    );
    await until(
      async () => (await proxy.admin('/connections')).text === '{"connections":[]}\n',
      () => 'connections are left',
    );
    const metrics = (await proxy.admin('/metrics')).text;
    const lines = await proxy.stop();
    const of = new Map<string, EgressLine[]>();
    for (const line of lines) {
      if (line.client !== undefined) of.set(line.client, [...(of.get(line.client) ?? []), line]);
    }
    for (const [client, { kind }] of expected) {
      const found = (of.get(client) ?? []).map(({ event, reason }) => [event, reason]);
      assert.deepEqual(found, kind.expect, `${kind.name}: ${JSON.stringify(of.get(client))}`);
      const decided = found.filter(([event]) => event === 'open' || event === 'block');
      assert.equal(decided.length, kind.expect.length === 0 ? 0 : 1, kind.name);
    }
    const decisions = lines.filter(({ event }) => event === 'open' || event === 'block').length;
    const counted = [...metrics.matchAll(/^sallyport_decisions_total\{.*\} (\d+)$/gm)];
    assert.equal(
      counted.reduce((sum, [, value]) => sum + Number(value), 0),
      decisions,
    );
    assert.match(metrics, /^sallyport_tunnels_active 0$/m);
  });

  test('limits of an agent', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    const fields = proxyAuthorization('the-token-of-the-small-agent', 'small');
    const first = await RawClient.connect({ port: proxy.port });
    assert.equal((await first.tunnel('tcp.test:22', fields)).status, 200);
    const second = await RawClient.connect({ port: proxy.port });
    const answer = await second.tunnel('tcp.test:22', fields);
    assert.deepEqual(
      [answer.status, header(answer, 'sallyport-reason')],
      [429, 'connection_limit'],
    );
    assert.ok(Number(header(answer, 'retry-after')) >= 1);
    const more = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const client = await RawClient.connect({ port: proxy.port });
        const { status } = await client.tunnel('tcp.test:22', fields);
        client.close();
        return status;
      }),
    );
    assert.deepEqual([...new Set(more)], [429]);
    first.reset();
    second.close();
    await until(
      () => linesLike(proxy.lines(), { event: 'close' }).length === 1,
      () => 'no close line',
    );
    const lines = await proxy.stop();
    assert.ok(
      linesLike(lines, { event: 'block', reason: 'rate_limit', agent: 'small' }).length > 0,
    );
  });
});

describe('the file', () => {
  /** Opens and closes a tunnel; its status. */
  async function attempt(proxy: ProxyProcess): Promise<number> {
    const client = await RawClient.connect({ port: proxy.port });
    const { status } = await client.tunnel('tcp.test:22', credentials);
    client.end();
    await client.readToClose();
    client.close();
    return status;
  }

  test('on a full disk refuses, and recovers, without a gap or a torn line', async () => {
    const mount = fs.mkdtempSync('/tmp/sallyport-small-');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount]);
    try {
      const log = path.join(mount, 'egress.jsonl');
      await using proxy = await ProxyProcess.start({ allowlists, settings: { log } });
      assert.equal(await attempt(proxy), 200);
      const held = await RawClient.connect({ port: proxy.port });
      await held.tunnel('tcp.test:22', credentials);
      const filler = fs.openSync(path.join(mount, 'filler'), 'w');
      assert.throws(() => {
        for (;;) fs.writeSync(filler, Buffer.alloc(1024));
      });
      fs.closeSync(filler);
      await until(
        async () => (await attempt(proxy)) === 503,
        () => 'never refused',
      );
      for (let count = 0; count < 5; count++) assert.equal(await attempt(proxy), 503);
      assert.equal((await proxy.admin('/ready')).status, 503);
      held.write('still here');
      await held.readUntil('still here');
      held.reset();
      fs.unlinkSync(path.join(mount, 'filler'));
      await until(
        async () => (await attempt(proxy)) === 200,
        () => 'never recovered',
      );
      assert.equal((await proxy.admin('/ready')).status, 200);
      proxy.signal('SIGTERM');
      assert.equal(await proxy.waitForExit(), 0);
      assertEgressLog(readEgressLog(log));
    } finally {
      execFileSync('umount', ['-l', mount]);
      fs.rmdirSync(mount);
    }
  });

  for (const [what, move] of [
    ['renamed', (file: string) => fs.renameSync(file, `${file}.1`)],
    ['deleted', (file: string) => fs.unlinkSync(file)],
  ] as const) {
    test(`that is ${what} is made anew without a signal`, async () => {
      await using proxy = await ProxyProcess.start({ allowlists });
      await attempt(proxy);
      move(proxy.logFile);
      await until(
        () => fs.existsSync(proxy.logFile),
        () => 'no new file',
      );
      assert.equal(await attempt(proxy), 200);
      const lines = await waitForLine(proxy.logFile, { event: 'close' });
      assert.ok(lines.seq > 3, 'seq goes on in the new file');
    });
  }

  test('"-" is standard output, the lines alone', async () => {
    const directory = fs.mkdtempSync('/tmp/sallyport-stdout-');
    const out = path.join(directory, 'out');
    await using proxy = await ProxyProcess.start({
      allowlists,
      settings: { log: '-' },
      stdout: out,
    });
    assert.equal(await attempt(proxy), 200);
    proxy.signal('SIGTERM');
    assert.equal(await proxy.waitForExit(), 0);
    const lines = readEgressLog(out);
    fs.rmSync(directory, { recursive: true });
    assertEgressLog(lines);
    assert.deepEqual(
      lines.map(({ event }) => event),
      ['start', 'open', 'close', 'drain', 'stop'],
    );
  });

  test('after kill -9 in the middle of traffic has every decision that was heard', async () => {
    await using proxy = await ProxyProcess.start({ allowlists });
    const heard: { from: string; event: string }[] = [];
    let stopped = false;
    const clients = Array.from({ length: 24 }, async (_, index) => {
      while (!stopped) {
        const client = await RawClient.connect({ port: proxy.port }).catch(() => null);
        if (client === null) return;
        const from = `${client.socket.localAddress}:${client.socket.localPort}`;
        const target = index % 3 === 0 ? 'evil.test:443' : 'tcp.test:22';
        const answer = await client.tunnel(target, credentials).catch(() => null);
        if (answer !== null) heard.push({ from, event: answer.status === 200 ? 'open' : 'block' });
        client.close();
      }
    });
    await sleep(400);
    proxy.signal('SIGKILL');
    await proxy.waitForExit();
    stopped = true;
    await Promise.all(clients);
    const content = fs.readFileSync(proxy.logFile, 'utf8');
    fs.writeFileSync(proxy.logFile, content.slice(0, content.lastIndexOf('\n') + 1));
    const lines = proxy.lines();
    assertSequence(lines);
    assert.ok(heard.length > 50, `only ${heard.length} were heard`);
    for (const { from, event } of heard)
      onlyLine(
        lines.filter((line) => line.event !== 'close'),
        { client: from, event },
      );
  });
});
