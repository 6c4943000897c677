import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  chromiumHello,
  clientHello,
  echInner,
  echOuter,
  handshake,
  helloMessage,
  record,
  records,
  retryRandom,
  serverHello,
  serverNameList,
  u16,
} from '../support/client-hello.ts';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { type EgressLine, linesLike, onlyLine, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { type Origin, type Received, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { header, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const host = 'good.test';
const address = '93.184.215.14';
const helloTimeout = 700;

let dns: Awaited<ReturnType<typeof startDnsServer>>;
let origin: Origin;
let proxy: ProxyProcess;
/** What the origin does with its next connections. */
let script: (received: Received) => void = () => undefined;

before(async () => {
  dns = await startDnsServer({
    address: dnsAddress,
    port: 53,
    zone: {
      '*': { a: [address] },
    },
  });
  origin = await startTcpOrigin({ address, port: 443 }, (received) => script(received));
  proxy = await ProxyProcess.start({
    allowlists: {
      'demo.yaml': {
        agents: {
          demo: agent(token, [
            host,
            'other.test',
            'cloudflare-ech.com',
            'xn--bcher-kva.test',
            'under_score.test',
            address,
            'http://both.test:443',
            'both.test',
          ]),
        },
      },
    },
    settings: { limits: { 'hello-timeout': `${helloTimeout}ms` } },
  });
});

after(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await origin.close();
  await dns.close();
});

/** A tunnel that has had its 200, and the origin's side of it. */
async function tunnel(target = `${host}:443`): Promise<{
  client: RawClient;
  server: Received;
  id: string;
}> {
  const known = origin.connections.length;
  const client = await RawClient.connect({ port: proxy.port });
  const from = `${client.socket.localAddress}:${client.socket.localPort}`;
  const answer = await client.tunnel(target, credentials);
  assert.equal(answer.status, 200, answer.body.toString());
  assert.equal(header(answer, 'content-length'), undefined);
  const server = await origin.connection(known);
  const open = await waitForLine(proxy.logFile, { event: 'open', client: from });
  return { client, server, id: open.id ?? '' };
}

/** The close line of a tunnel that must have been cut for `reason` with nothing let through. */
async function assertCut(
  { client, server, id }: Awaited<ReturnType<typeof tunnel>>,
  reason: string,
  delivered = Buffer.alloc(0),
): Promise<EgressLine> {
  const received = await client.readToClose();
  assert.equal(received.length, 0, `the client got ${JSON.stringify(received.toString('latin1'))}`);
  await server.waitForEnd();
  assert.deepEqual(server.bytes, delivered);
  client.close();
  const close = await waitForLine(proxy.logFile, { event: 'close', id });
  assert.deepEqual([close.verdict, close.reason, close.end], ['block', reason, reason]);
  assert.equal(close.bytes_up, delivered.length);
  return close;
}

async function assertPassed(
  { client, server, id }: Awaited<ReturnType<typeof tunnel>>,
  sent: Buffer,
  sni: string | undefined,
): Promise<void> {
  await until(
    () => server.bytes.length >= sent.length,
    () => `the origin has ${server.bytes.length} of ${sent.length} bytes`,
  );
  assert.deepEqual(server.bytes, sent);
  server.socket.write('answer');
  assert.equal((await client.readBytes(6)).toString(), 'answer');
  client.end();
  server.socket.end();
  await client.readToClose();
  const close = await waitForLine(proxy.logFile, { event: 'close', id });
  assert.deepEqual([close.verdict, close.reason, close.sni], ['allow', undefined, sni]);
  assert.deepEqual([close.bytes_up, close.bytes_down], [sent.length, 6]);
}

const name = (text: string | Buffer) => clientHello({ sni: text });
const grease = (payload: number) => echOuter({ payload: randomBytes(payload) });

describe('a hello for the target passes unchanged', () => {
  const cases: [what: string, hello: Buffer, target?: string | undefined, sni?: string | null][] = [
    ['plain', name(host)],
    ['with TLS 1.2 alone', clientHello({ sni: host, versions: null })],
    ['with TLS 1.0 as legacy version', clientHello({ sni: host, legacyVersion: 0x0301 })],
    ['in upper case', name('GOOD.TEST'), undefined, 'GOOD.TEST'],
    ['of a browser, GREASE ECH and a hybrid key share', chromiumHello(host)],
    ['of Firefox, GREASE ECH of 239 bytes', clientHello({ sni: host, ech: grease(239) })],
    ['with a long ticket', clientHello({ sni: host, ticket: 4096 })],
    ['in records of one byte', clientHello({ sni: host }, 1)],
    ['in records of 100 bytes, hybrid', clientHello({ sni: host, hybridKeyShare: true }, 100)],
    ['with any ALPN', clientHello({ sni: host, alpn: ['smtp', 'h3'] })],
    ['with a session id of nothing', clientHello({ sni: host, sessionId: Buffer.alloc(0) })],
    ['to a CONNECT in upper case', name(host), 'GOOD.TEST:443'],
    ['to a CONNECT with a trailing dot', name(host), 'good.test.:443'],
    ['for an A-label', name('xn--bcher-kva.test'), 'xn--bcher-kva.test:443', 'xn--bcher-kva.test'],
    [
      'for a name with an underscore',
      name('under_score.test'),
      'under_score.test:443',
      'under_score.test',
    ],
    ['without SNI for an IP literal', clientHello({ sni: null }), `${address}:443`, null],
    ['where http is allowed too', name('both.test'), 'both.test:443', 'both.test'],
    [
      'before extensions were, for an IP literal',
      clientHello({ noExtensions: true }),
      `${address}:443`,
      null,
    ],
  ];
  for (const [what, hello, target, sni] of cases) {
    test(what, async () => {
      const opened = await tunnel(target);
      opened.client.write(hello);
      await assertPassed(opened, hello, sni === null ? undefined : (sni ?? host));
    });
  }

  for (const size of [1, 2, 5, 300]) {
    test(`in segments of ${size} bytes`, async () => {
      const hello = size === 1 ? name(host) : chromiumHello(host);
      const opened = await tunnel();
      const step = size === 2 || size === 5 ? Math.ceil(hello.length / size) : size;
      for (let at = 0; at < hello.length; at += step) {
        opened.client.write(hello.subarray(at, at + step));
        await sleep(0);
      }
      await assertPassed(opened, hello, host);
    });
  }

  test('in the same segment as the CONNECT, early data behind it', async () => {
    const sent = Buffer.concat([name(host), record(randomBytes(3000), 0x17, 0x0303)]);
    const client = await RawClient.connect({ port: proxy.port });
    const known = origin.connections.length;
    const head = `CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}\r\n${credentials}\r\n`;
    client.write(Buffer.concat([Buffer.from(head), sent]));
    await client.readUntil('\r\n\r\n');
    const server = await origin.connection(known);
    const from = `${client.socket.localAddress}:${client.socket.localPort}`;
    const { id } = await waitForLine(proxy.logFile, { event: 'open', client: from });
    await assertPassed({ client, server, id: id ?? '' }, sent, host);
  });

  test('with the empty line of an old client ahead: that is no TLS', async () => {
    const opened = await tunnel();
    opened.client.write(Buffer.concat([Buffer.from('\r\n'), name(host)]));
    await assertCut(opened, 'not_tls');
  });
});

describe('any other hello is cut before the origin has a byte', () => {
  const list = (...names: [number, string][]) =>
    clientHello({
      sni: {
        raw: serverNameList(...names.map(([t, n]) => [t, Buffer.from(n, 'latin1')] as const)),
      },
    });
  const long = name('a'.repeat(300));
  const badLength = (at: number, value: number) => {
    const bytes = name(host);
    bytes.writeUInt16BE(value, at);
    return bytes;
  };
  const messageLength = (length: number) => {
    const bytes = name(host);
    bytes.writeUIntBE(length, 6, 3);
    return bytes;
  };
  const cases: [what: string, bytes: Buffer, reason: string, target?: string][] = [
    ['another name', name('evil.test'), 'sni_mismatch'],
    ['another allowed name', name('other.test'), 'sni_mismatch'],
    ['the name with a trailing dot', name('good.test.'), 'sni_mismatch'],
    ['a name above', name('test'), 'sni_mismatch'],
    ['a name below', name('www.good.test'), 'sni_mismatch'],
    ['the name and a NUL', name('good.test\0'), 'sni_mismatch'],
    ['the name, NUL, another', name('good.test\0.evil.test'), 'sni_mismatch'],
    ['a header in the name', name('good.test\r\nX: y'), 'sni_mismatch'],
    ['a name of 300 bytes', long, 'sni_mismatch'],
    ['UTF-8', name(Buffer.from('góod.test')), 'sni_mismatch'],
    ['a Kelvin sign', name(Buffer.from('good.\u212aest')), 'sni_mismatch'],
    ['a full-width dot', name(Buffer.from('good。test')), 'sni_mismatch'],
    ['the name with a port', name('good.test:443'), 'sni_mismatch'],
    ['the address of the target', name(address), 'sni_mismatch'],
    ['an empty name', name(''), 'sni_mismatch'],
    ['two names, the right one first', list([0, host], [0, 'evil.test']), 'sni_mismatch'],
    ['two names, the right one last', list([0, 'evil.test'], [0, host]), 'sni_mismatch'],
    ['a name of another type first', list([1, 'evil.test'], [0, host]), 'sni_mismatch'],
    ['an empty list of names', clientHello({ sni: { raw: u16(0) } }), 'sni_mismatch'],
    ['a list of names that lies', clientHello({ sni: { raw: u16(99) } }), 'not_tls'],
    ['an empty server_name', clientHello({ sni: { raw: Buffer.alloc(0) } }), 'not_tls'],
    ['no SNI', clientHello({ sni: null }), 'sni_missing'],
    ['no extensions', clientHello({ noExtensions: true }), 'sni_missing'],
    ['an SNI for an IP literal', name(address), 'sni_mismatch', `${address}:443`],
    ['a name for an IP literal', name(host), 'sni_mismatch', `${address}:443`],
    [
      'ECH with another name outside',
      clientHello({ sni: 'public.test', ech: echOuter() }),
      'ech_refused',
    ],
    ['ECH of no GREASE shape', clientHello({ sni: host, ech: grease(300) }), 'ech_refused'],
    ['ECH of one byte', clientHello({ sni: host, ech: Buffer.of(0) }), 'ech_refused'],
    ['ECH of nothing', clientHello({ sni: host, ech: Buffer.alloc(0) }), 'ech_refused'],
    ['the inner form of ECH', clientHello({ sni: host, ech: echInner() }), 'ech_refused'],
    [
      'ECH without TLS 1.3',
      clientHello({ sni: host, versions: null, ech: echOuter() }),
      'ech_refused',
    ],
    [
      'ECH to a name that hides others',
      clientHello({ sni: 'cloudflare-ech.com', ech: echOuter() }),
      'ech_refused',
      'cloudflare-ech.com:443',
    ],
    ['draft ESNI', clientHello({ sni: host, esni: true }), 'ech_refused'],
    ['draft ESNI without SNI', clientHello({ sni: null, esni: true }), 'ech_refused'],
    ['SSLv2', Buffer.from('802b010301001200000010', 'hex'), 'not_tls'],
    [
      'SSLv2 that names TLS 1.2',
      Buffer.concat([
        Buffer.from('802e0103030015000000100100800300800700c0', 'hex'),
        randomBytes(28),
      ]),
      'not_tls',
    ],
    ['SSL 3.0', clientHello({ sni: host, legacyVersion: 0x0300 }), 'not_tls'],
    ['DTLS', record(helloMessage({ sni: host }), 0x16, 0xfeff), 'not_tls'],
    ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.6\r\n'), 'not_tls'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: good.test\r\n\r\n'), 'not_tls'],
    ['another CONNECT', Buffer.from('CONNECT evil.test:443 HTTP/1.1\r\n\r\n'), 'not_tls'],
    ['HTTP/2 in clear', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 'not_tls'],
    [
      'a PROXY line',
      Buffer.concat([Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n'), name(host)]),
      'not_tls',
    ],
    ['a NUL', Buffer.of(0), 'not_tls'],
    ['change_cipher_spec first', record(Buffer.of(1), 0x14), 'not_tls'],
    ['an alert first', record(Buffer.of(1, 0), 0x15), 'not_tls'],
    ['application data first', record(name(host), 0x17), 'not_tls'],
    ['a heartbeat first', record(Buffer.of(1, 64, 0), 0x18), 'not_tls'],
    ['a ServerHello', serverHello(), 'not_tls'],
    [
      'a HelloRequest ahead of the hello',
      Buffer.concat([record(handshake(0, Buffer.alloc(0))), name(host)]),
      'not_tls',
    ],
    ['an empty record ahead', Buffer.concat([record(Buffer.alloc(0)), name(host)]), 'not_tls'],
    ['a record of 65535', badLength(3, 0xffff), 'not_tls'],
    ['a record of 16385', badLength(3, 16_385), 'not_tls'],
    ['a message of 16 MiB', messageLength(0xffffff), 'not_tls'],
    ['a message longer than any hello', records(handshake(1, randomBytes(40_000))), 'not_tls'],
    ['a message of nothing', record(handshake(1, Buffer.alloc(0))), 'not_tls'],
    ['a message shorter than its record', messageLength(60), 'not_tls'],
    [
      'something behind the hello in its record',
      record(Buffer.concat([helloMessage({ sni: host }), handshake(20, randomBytes(12))])),
      'not_tls',
    ],
    [
      'two server_name extensions',
      clientHello({ sni: host, extra: [[0, serverNameList([0, Buffer.from('evil.test')])]] }),
      'not_tls',
    ],
    [
      'a record of another type between two of the hello',
      Buffer.concat([
        record(helloMessage({ sni: host }).subarray(0, 40)),
        record(Buffer.of(1), 0x14),
        record(helloMessage({ sni: host }).subarray(40)),
      ]),
      'not_tls',
    ],
  ];
  for (const [what, bytes, reason, target] of cases) {
    test(`${what}: ${reason}`, async () => {
      const opened = await tunnel(target);
      opened.client.write(bytes);
      await assertCut(opened, reason);
    });
  }

  test('byte by byte the verdict is the same, and the log shows the name', async () => {
    const opened = await tunnel();
    for (const byte of name('evil.test')) {
      opened.client.write(Buffer.of(byte));
      await sleep(0);
    }
    assert.equal((await assertCut(opened, 'sni_mismatch')).sni, 'evil.test');
  });

  test('half a hello and FIN is not TLS', async () => {
    const opened = await tunnel();
    opened.client.write(name(host).subarray(0, 50));
    opened.client.end();
    await assertCut(opened, 'not_tls');
  });
});

describe('a hello that does not come', () => {
  const cases: [what: string, bytes: Buffer][] = [
    ['silence', Buffer.alloc(0)],
    ['one byte', Buffer.of(0x16)],
    ['all but the last byte', name(host).subarray(0, -1)],
    [
      'a record that announces more than it has',
      record(helloMessage({ sni: host })).subarray(0, 12),
    ],
  ];
  for (const [what, bytes] of cases) {
    test(`${what}: hello_timeout`, async () => {
      const opened = await tunnel();
      const before = performance.now();
      opened.client.write(bytes);
      await assertCut(opened, 'hello_timeout');
      assert.ok(performance.now() - before >= helloTimeout / 2, 'it was cut too early');
    });
  }

  test('a drip does not move the deadline', async () => {
    const opened = await tunnel();
    const hello = name(host);
    let at = 0;
    const drip = setInterval(() => opened.client.write(hello.subarray(at, ++at)), 100);
    await assertCut(opened, 'hello_timeout');
    clearInterval(drip);
  });

  test('a server that speaks first is not heard', async () => {
    script = ({ socket }) => socket.write('220 mail.good.test ESMTP\r\n');
    const opened = await tunnel();
    script = () => undefined;
    await assertCut(opened, 'hello_timeout');
  });

  test('what a server said first comes behind a good hello', async () => {
    script = ({ socket }) => socket.write('220 hello ');
    const { client, server } = await tunnel();
    script = () => undefined;
    client.write(name(host));
    assert.equal((await client.readBytes(10)).toString(), '220 hello ');
    assert.deepEqual(server.bytes.length > 0, true);
    client.close();
  });

  test('a client that leaves after the 200 has ended it itself', async () => {
    const { client, server, id } = await tunnel();
    client.close();
    await server.waitForEnd();
    const close = await waitForLine(proxy.logFile, { event: 'close', id });
    assert.deepEqual([close.verdict, close.end], ['allow', 'client']);
  });

  test('a server that leaves ahead of the hello has ended it', async () => {
    const { server, id, client } = await tunnel();
    server.socket.resetAndDestroy();
    await client.readToClose();
    const close = await waitForLine(proxy.logFile, { event: 'close', id });
    assert.deepEqual([close.verdict, close.end], ['allow', 'origin']);
    client.close();
  });

  test('a server that ended its side at once is heard to its end, hello or not', async () => {
    script = ({ socket }) => socket.end('bye');
    const { client, id } = await tunnel();
    script = () => undefined;
    client.write(name(host));
    assert.equal((await client.readToEnd()).toString(), 'bye');
    client.end();
    const close = await waitForLine(proxy.logFile, { event: 'close', id });
    assert.deepEqual([close.verdict, close.end, close.bytes_down], ['allow', 'origin', 3]);
  });

  test('and one that ended without a byte', async () => {
    script = ({ socket }) => socket.end();
    const { client, id } = await tunnel();
    script = () => undefined;
    await sleep(50);
    client.write(name(host));
    assert.equal((await client.readToEnd()).toString(), '');
    client.end();
    const close = await waitForLine(proxy.logFile, { event: 'close', id });
    assert.deepEqual([close.verdict, close.end], ['allow', 'origin']);
  });
});

describe('a HelloRetryRequest asks for a second hello', () => {
  const retry = serverHello(retryRandom);
  const first = name(host);
  const ccs = record(Buffer.of(1), 0x14, 0x0303);
  const early = record(randomBytes(500), 0x17, 0x0303);

  /** Sends the first hello, has the server ask again, and sends `second`. */
  async function second(bytes: Buffer, serverBytes = retry) {
    const opened = await tunnel();
    opened.client.write(first);
    await until(
      () => opened.server.bytes.length === first.length,
      () => 'the first hello did not arrive',
    );
    opened.server.socket.write(serverBytes);
    await opened.client.readBytes(serverBytes.length);
    opened.client.write(bytes);
    return opened;
  }

  const cut: [what: string, bytes: Buffer, reason: string, delivered: Buffer][] = [
    ['another name', name('evil.test'), 'sni_mismatch', Buffer.alloc(0)],
    [
      'another name behind change_cipher_spec',
      Buffer.concat([ccs, name('evil.test')]),
      'sni_mismatch',
      Buffer.alloc(0),
    ],
    [
      'another name in records of one byte',
      clientHello({ sni: 'evil.test' }, 1),
      'sni_mismatch',
      Buffer.alloc(0),
    ],
    [
      'another name behind early data',
      Buffer.concat([early, name('evil.test')]),
      'sni_mismatch',
      Buffer.alloc(0),
    ],
    ['no name', clientHello({ sni: null }), 'sni_missing', Buffer.alloc(0)],
    ['a hidden name', clientHello({ sni: host, ech: grease(300) }), 'ech_refused', Buffer.alloc(0)],
    ['plain text', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'not_tls', Buffer.alloc(0)],
  ];
  for (const [what, bytes, reason] of cut) {
    test(`${what}: ${reason}`, async () => {
      const opened = await second(bytes);
      await opened.client.readToClose();
      await opened.server.waitForEnd();
      assert.ok(!opened.server.bytes.subarray(first.length).includes('evil.test'));
      assert.ok(!opened.server.text.includes('GET /'));
      const close = await waitForLine(proxy.logFile, { event: 'close', id: opened.id });
      assert.deepEqual([close.verdict, close.reason, close.end], ['block', reason, reason]);
    });
  }

  const passed: [what: string, bytes: Buffer][] = [
    ['the same name', name(host)],
    ['the same name behind change_cipher_spec', Buffer.concat([ccs, name(host)])],
    ['the same name behind early data', Buffer.concat([early, early, name(host)])],
    ['the same name and what follows', Buffer.concat([name(host), ccs, early])],
  ];
  for (const [what, bytes] of passed) {
    test(`${what} passes`, async () => {
      const { client, server } = await second(bytes);
      await until(
        () => server.bytes.length === first.length + bytes.length,
        () => `${server.bytes.length} of ${first.length + bytes.length}`,
      );
      assert.deepEqual(server.bytes, Buffer.concat([first, bytes]));
      client.close();
    });
  }

  test('a second hello ahead of the retry is judged too', async () => {
    const opened = await tunnel();
    opened.client.write(Buffer.concat([first, early, name('evil.test')]));
    await opened.client.readToClose();
    await opened.server.waitForEnd();
    assert.ok(!opened.server.text.includes('evil.test'));
    const close = await waitForLine(proxy.logFile, { event: 'close', id: opened.id });
    assert.equal(close.reason, 'sni_mismatch');
  });

  test('after a ServerHello nothing is held back', async () => {
    const bytes = Buffer.concat([ccs, record(randomBytes(70), 0x16, 0x0303), early]);
    const { client, server } = await second(bytes, serverHello());
    await until(
      () => server.bytes.length === first.length + bytes.length,
      () => `${server.bytes.length}`,
    );
    client.close();
  });

  test('a ServerHello cut into single bytes and records is recognised', async () => {
    const opened = await tunnel();
    opened.client.write(first);
    await until(
      () => opened.server.bytes.length === first.length,
      () => 'no first hello',
    );
    for (const byte of serverHello(retryRandom, 7)) {
      opened.server.socket.write(Buffer.of(byte));
      await sleep(0);
    }
    await opened.client.readBytes(serverHello(retryRandom, 7).length);
    opened.client.write(name('evil.test'));
    await opened.client.readToClose();
    const close = await waitForLine(proxy.logFile, { event: 'close', id: opened.id });
    assert.equal(close.reason, 'sni_mismatch');
  });
});

test('the log of all this is whole and every cut stands in it once', async () => {
  for (const { socket } of origin.connections) socket.destroy();
  await until(
    async () => JSON.parse((await proxy.admin('/connections')).text).connections.length === 0,
    () => 'tunnels are still open',
  );
  const lines = await proxy.stop();
  for (const open of linesLike(lines, { event: 'open' })) {
    if (open.status === 200) onlyLine(lines, { event: 'close', id: open.id ?? '' });
  }
});
