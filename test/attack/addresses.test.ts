import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import cases from '../cases/addresses.json' with { type: 'json' };
import { ipFromNumber, longestBlock, rangeOf } from '../support/address-numbers.ts';
import { openBlackHole } from '../support/black-hole.ts';
import { type DnsServer, startDnsServer, type ZoneEntry } from '../support/dns-server.ts';
import { onlyLine, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace, forbiddenAddresses } from '../support/namespace.ts';
import { canary, echo, type Origin, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { header, proxyAuthorization, RawClient, type RawResponse } from '../support/raw-client.ts';
import { assertRefusal } from '../support/refusal.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const open = '93.184.215.14';
const second = '93.184.215.15';
const open6 = '2606:4700::1111';
/** A private service that grants are for. */
const service = '10.0.0.5';
const port = 5000;
const own = [3128, 3129, 3130, 3131];

const grant = (host: string, addresses: readonly string[], ports = [port]) => ({
  host,
  scheme: 'tcp',
  ports,
  addresses,
});

const allow = [
  { host: '*.addr.test', scheme: 'tcp', ports: [port] },
  { host: '*.plain.test', scheme: 'http', ports: [port] },
  { host: 'localhost', scheme: 'tcp', ports: [port] },
  grant('net.grant.test', ['10.0.0.0/24']),
  grant('host.grant.test', ['10.0.0.5']),
  grant('wrong.grant.test', ['10.1.0.0/16']),
  grant('mixed.grant.test', ['10.0.0.0/24']),
  grant('loop.grant.test', ['127.0.0.0/8', '::1'], [port, ...own]),
  grant('meta.grant.test', ['169.254.0.0/16', '100.64.0.0/10', 'fd00::/8']),
  `tcp://${service}:${port}`,
  { host: '192.168.0.0/16', scheme: 'tcp', ports: [port] },
  { host: '169.254.0.0/16', scheme: 'tcp', ports: [port] },
  { host: '168.63.129.0/24', scheme: 'tcp', ports: [port] },
  { host: '127.0.0.0/8', scheme: 'tcp', ports: [port, ...own] },
];

let proxy: ProxyProcess;
let dns: DnsServer;
let origins: Origin[];
let canaries: Origin[];
let names = 0;

before(async () => {
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone: {} });
  origins = await Promise.all(
    [open, open6, service, '192.168.7.7', '127.0.0.1'].map((address) =>
      startTcpOrigin({ address, port }, echo),
    ),
  );
  const known = origins.map(({ address }) => address);
  const forbidden = forbiddenAddresses.filter((address) => !known.includes(address));
  canaries = await Promise.all(forbidden.map((address) => canary(address, port)));
  proxy = await ProxyProcess.start({
    settings: {
      listen: ['127.0.0.1:3128', '0.0.0.0:3130', '[::]:3131'],
      admin: '127.0.0.1:3129',
      resolver: { timeout: '1s' },
      limits: { 'connect-timeout': '2s' },
    },
    allowlists: {
      'demo.yaml': {
        agents: { demo: agent(token, allow), watched: agent(`${token}2`, [], { mode: 'report' }) },
      },
    },
  });
});

after(async () => {
  await proxy[Symbol.asyncDispose]();
  await Promise.all([...origins, ...canaries].map((origin) => origin.close()));
  await dns.close();
});

async function connect(target: string, fields = credentials): Promise<RawResponse> {
  const client = await RawClient.connect({ port: proxy.port });
  const answer = await client.tunnel(target, fields);
  client.close();
  return answer;
}

/** A new name below `suffix` that the DNS server answers for like this. */
function name(entry: ZoneEntry, suffix = 'addr.test'): string {
  names++;
  const host = `n${names}.${suffix}`;
  dns.zone[host] = entry;
  return host;
}

const isV6 = (address: string) => address.includes(':');
const answerOf = (...addresses: readonly string[]) => ({
  a: addresses.filter((address) => !isV6(address)),
  aaaa: addresses.filter(isV6),
});
const literal = (address: string) => (isV6(address) ? `[${address}]` : address);

/** The policy said yes, the address is allowed, and this network has no way to it. */
function assertUnreachable(answer: RawResponse): void {
  assert.equal(answer.status, 502, answer.reason);
  assert.equal(header(answer, 'sallyport-reason'), 'connect_failed');
}

const blocks = [...cases.blocks, ...cases.unallocated].map((row) => ({
  ...row,
  ...rangeOf(row.block),
}));

/** First, middle and last address of each block, with what the smallest block that holds it says. */
const samples = blocks.flatMap(({ family, first, last }) =>
  [...new Set([first, (first + last) / 2n, last])].map((number) => {
    const address = ipFromNumber(family, number).text;
    return { address, block: longestBlock(blocks, family, number) };
  }),
);

const metadata = new Set(cases.metadata);

describe('a name that resolves into a special-purpose block', () => {
  for (const { address, block } of samples) {
    const passes = block?.globallyReachable === true && !metadata.has(address);
    test(`${address} (${block?.block}): ${passes ? 'may be dialled' : 'refused'}`, async () => {
      const answer = await connect(`${name(answerOf(address))}:${port}`);
      if (passes) return assertUnreachable(answer);
      const body = assertRefusal(answer, 'address_not_allowed');
      assert.ok(!answer.body.includes(address), 'the refusal is no oracle for internal addresses');
      const line = onlyLine(proxy.lines(), { event: 'block', id: body.id });
      assert.equal(line.entry, 'demo.yaml:12');
    });
  }

  const beside = [
    '9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0',
    '169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0',
    '198.17.255.255 198.20.0.0 223.255.255.255 168.63.129.15 168.63.129.17 2a00::1 2400::1',
  ].flatMap((row) => row.split(' '));
  for (const address of beside) {
    test(`${address} is beside one and may be dialled`, async () => {
      assertUnreachable(await connect(`${name(answerOf(address))}:${port}`));
    });
  }
});

describe('an address in a target', () => {
  const watched = proxyAuthorization(`${token}2`, 'watched');
  const rows = [
    ...cases.embedded.map(({ ip, class: kind }) => ({ ip, passes: kind === 'global' })),
    ...cases.metadata.map((ip) => ({ ip, passes: false })),
    ...forbiddenAddresses.map((ip) => ({ ip, passes: false })),
  ];
  for (const { ip, passes } of rows) {
    test(`${ip}: ${passes ? 'may be dialled' : 'refused'}, whatever the allowlist says`, async () => {
      const answer = await connect(`${literal(ip)}:5001`, watched);
      if (!passes) assertRefusal(answer, 'address_not_allowed');
      else assert.equal(answer.status, 502, answer.reason);
    });
  }

  test('is never looked up', async () => {
    const asked = dns.queries.length;
    await connect(`${open}:5001`, watched);
    assert.equal(dns.queries.length, asked);
  });
});

describe('several answers', () => {
  const many = Array.from({ length: 40 }, (_, index) => `93.184.200.${index}`);
  const rows: readonly [what: string, entry: ZoneEntry][] = [
    ['public and private', { a: [open, '10.0.0.5'] }],
    ['private and public', { a: ['10.0.0.5', open] }],
    ['a public A and a private AAAA', { a: [open], aaaa: ['fd00::5'] }],
    ['a public AAAA and a private A', { a: ['10.0.0.5'], aaaa: [open6] }],
    ['a loopback AAAA beside a public A', { a: [open], aaaa: ['::1'] }],
    ['one private among forty', { a: [...many, '10.0.0.5'] }],
    ['forty public A and a private AAAA', { a: many, aaaa: ['fd00::5'] }],
    ['a CNAME to a private address', { cname: 'inner.test' }],
    ['a CNAME out of a public answer', { a: [open], cname: 'inner.test' }],
    ['an IPv4-mapped AAAA', { aaaa: ['::ffff:10.0.0.5'] }],
    ['NAT64', { aaaa: ['64:ff9b::a00:5'] }],
    ['unspecified', { a: ['0.0.0.0'] }],
    ['unspecified IPv6', { aaaa: ['::'] }],
    ['metadata', { a: [open, '169.254.169.254'] }],
    ['Azure WireServer', { a: ['168.63.129.16'] }],
  ];
  for (const [what, entry] of rows) {
    test(`${what}: one refused answer refuses the name`, async () => {
      dns.zone['inner.test'] = { a: ['10.0.0.5'] };
      assertRefusal(await connect(`${name(entry)}:${port}`), 'address_not_allowed');
      const client = await RawClient.connect({ port: proxy.port });
      const host = `${name(entry, 'plain.test')}:${port}`;
      client.write(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${credentials}\r\n`);
      assertRefusal(await client.readResponse(), 'address_not_allowed');
      client.close();
    });
  }

  test('are asked for once: what is dialled is what was vetted', async () => {
    const host = name([
      { a: [open], ttl: 0 },
      { a: ['127.0.0.1'], ttl: 0 },
    ]);
    const answer = await connect(`${host}:${port}`);
    assert.equal(answer.status, 200, answer.reason);
    assert.deepEqual(dns.asked(host).sort(), ['A', 'AAAA']);
    const line = onlyLine(proxy.lines(), { event: 'open', host });
    assert.equal(line.address, `${open}:${port}`);
    assertRefusal(await connect(`${host}:${port}`), 'address_not_allowed');
    assert.equal(dns.asked(host).length, 4);
  });

  test('are kept for their TTL', async () => {
    const host = name({ a: [open], ttl: 60 });
    for (let time = 0; time < 3; time++) await connect(`${host}:${port}`);
    assert.equal(dns.asked(host).length, 2);
  });

  test('are tried in turn if they are all allowed', async () => {
    const host = name({ a: ['93.184.215.16', open] });
    assert.equal((await connect(`${host}:${port}`)).status, 200);
    assert.equal(onlyLine(proxy.lines(), { event: 'open', host }).address, `${open}:${port}`);
    const silent = name({ a: [second, open] });
    await using _hole = await openBlackHole(second, port);
    assert.equal((await connect(`${silent}:${port}`)).status, 200);
  });

  test('prefer IPv6', async () => {
    const host = name({ a: [open], aaaa: [open6] });
    assert.equal((await connect(`${host}:${port}`)).status, 200);
    assert.equal(onlyLine(proxy.lines(), { event: 'open', host }).address, `[${open6}]:${port}`);
  });
});

describe('no answer', () => {
  const rows: readonly [what: string, entry: ZoneEntry, status: number, rcode: string][] = [
    ['NXDOMAIN', { rcode: 'NXDOMAIN' }, 502, 'NXDOMAIN'],
    ['SERVFAIL', { rcode: 'SERVFAIL' }, 502, 'SERVFAIL'],
    ['REFUSED', { rcode: 'REFUSED' }, 502, 'REFUSED'],
    ['no address', {}, 502, 'NODATA'],
    ['a loop of CNAMEs', { cname: 'loop.test' }, 502, '[A-Z]+'],
    ['silence', { silent: true }, 504, 'TIMEOUT'],
  ];
  for (const [what, entry, status, rcode] of rows) {
    test(`${what}: ${status}`, async () => {
      dns.zone['loop.test'] = { cname: 'loop.test' };
      const host = name(entry);
      const answer = await connect(`${host}:${port}`);
      assertRefusal(answer, 'dns_failure', status);
      const error = status === 504 ? 'dns_timeout' : 'dns_error';
      const said = header(answer, 'proxy-status') ?? '';
      assert.match(said, new RegExp(`error=${error}; rcode="${rcode}"`));
      const line = onlyLine(proxy.lines(), { host });
      assert.deepEqual(
        [line.event, line.verdict, line.status, line.reason],
        ['open', 'allow', status, 'dns_failure'],
      );
    });
  }

  test('garbage is no answer', async () => {
    const host = name({ garbage: Buffer.from('0102030405', 'hex') });
    const answer = await connect(`${host}:${port}`);
    assert.equal(header(answer, 'sallyport-reason'), 'dns_failure');
  });

  test('neither is one to another question', async () => {
    const host = name({ a: [open], misdirect: `x${names}.other.test` });
    const answer = await connect(`${host}:${port}`);
    assert.equal(header(answer, 'sallyport-reason'), 'dns_failure');
  });

  test('no search list is used, and localhost is not looked up', async () => {
    assertRefusal(await connect(`localhost:${port}`), 'address_not_allowed');
    const asked = new Set(dns.queries.map((query) => query.name));
    assert.ok(!asked.has('localhost'));
    for (const host of asked) assert.match(host, /\.test$/);
  });
});

describe('a grant', () => {
  /** Target, its addresses, 200 or the reason. */
  const rows: readonly [host: string, addresses: readonly string[], expected: string][] = [
    ['net.grant.test', [service], '200'],
    ['host.grant.test', [service], '200'],
    ['mixed.grant.test', [service, open], '200'],
    ['net.grant.test', ['::ffff:10.0.0.5'], '200'],
    ['net.grant.test', [service, '10.0.1.1'], 'address_not_allowed'],
    ['host.grant.test', ['10.0.0.6'], 'address_not_allowed'],
    ['wrong.grant.test', [service], 'address_not_allowed'],
    ['net.grant.test', ['127.0.0.1'], 'address_not_allowed'],
    ['net.grant.test', ['169.254.169.254'], 'address_not_allowed'],
    ['meta.grant.test', ['169.254.169.254'], 'address_not_allowed'],
    ['meta.grant.test', ['169.254.170.2'], 'address_not_allowed'],
    ['meta.grant.test', ['100.100.100.200'], 'address_not_allowed'],
    ['meta.grant.test', ['fd00:ec2::254'], 'address_not_allowed'],
    ['meta.grant.test', ['::ffff:169.254.169.254'], 'address_not_allowed'],
    ['loop.grant.test', ['127.0.0.1'], '200'],
    ['loop.grant.test', ['0.0.0.0'], 'address_not_allowed'],
    ['loop.grant.test', ['10.0.0.5'], 'address_not_allowed'],
  ];
  for (const [host, addresses, expected] of rows) {
    test(`${host} at ${addresses.join(', ')}: ${expected}`, async () => {
      dns.zone[host] = { ...answerOf(...addresses), ttl: 0 };
      const answer = await connect(`${host}:${port}`);
      if (expected === '200') assert.equal(answer.status, 200, answer.reason);
      else assertRefusal(answer, expected);
    });
  }

  const literals: readonly [target: string, expected: string][] = [
    [`${service}:${port}`, '200'],
    [`[::ffff:${service}]:${port}`, '200'],
    [`192.168.7.7:${port}`, '200'],
    [`127.0.0.1:${port}`, '200'],
    [`10.0.0.6:${port}`, 'host_not_allowed'],
    [`169.254.169.254:${port}`, 'address_not_allowed'],
    [`168.63.129.16:${port}`, 'address_not_allowed'],
  ];
  for (const [target, expected] of literals) {
    test(`by an entry that is an address or range: ${target}: ${expected}`, async () => {
      const answer = await connect(target);
      if (expected === '200') assert.equal(answer.status, 200, answer.reason);
      else assertRefusal(answer, expected);
    });
  }
});

describe('the proxy itself', () => {
  const targets = [
    '127.0.0.1:3128',
    '127.0.0.1:3129',
    '127.0.0.1:3130',
    '127.9.9.9:3130',
    '0.0.0.0:3128',
    '[::]:3131',
    '[::1]:3131',
    '[::ffff:127.0.0.1]:3128',
    '[::127.0.0.1]:3128',
    '[64:ff9b::7f00:1]:3128',
    `${open}:3130`,
    `${service}:3130`,
    `[${open6}]:3131`,
    `${open}:3131`,
  ];
  for (const target of targets) {
    test(`is no target: ${target}`, async () => {
      assertRefusal(await connect(target), 'loop');
      const client = await RawClient.connect({ port: proxy.port });
      client.write(`GET http://${target}/ HTTP/1.1\r\nHost: ${target}\r\n${credentials}\r\n`);
      assertRefusal(await client.readResponse(), 'loop');
      client.close();
    });
  }

  for (const [address, to] of [
    ['127.0.0.1', 3128],
    ['127.0.0.1', 3129],
    [open, 3130],
    [open6, 3131],
  ] as const) {
    test(`is not reached by a name at ${address}, port ${to}, grant or not`, async () => {
      dns.zone['loop.grant.test'] = { ...answerOf(address), ttl: 0 };
      assertRefusal(await connect(`loop.grant.test:${to}`), 'loop');
    });
  }

  const via: readonly [value: string, loops: boolean][] = [
    ['1.1 sallyport', true],
    ['1.1 other, 1.1 Sallyport', true],
    ['1.1 other', false],
    ['1.1 sallyport-two', false],
  ];
  for (const [value, loops] of via) {
    test(`a request with Via: ${value}${loops ? ' is ours already' : ' is not ours'}`, async () => {
      const fields = `${credentials}Via: ${value}\r\n`;
      const answer = await connect(`${name({ a: [open] })}:${port}`, fields);
      if (loops) assertRefusal(answer, 'loop');
      else assert.equal(answer.status, 200);
    });
  }
});

test('a grant that is withdrawn ends the tunnels and requests that rest on it', async () => {
  const lists = (addresses: readonly string[]) => {
    const entry = { host: 'lent.test', ports: [port], addresses };
    const both = ['tcp', 'http'].map((scheme) => ({ ...entry, scheme }));
    return { 'demo.yaml': { agents: { demo: agent(token, both) } } };
  };
  dns.zone['lent.test'] = { a: [service] };
  await proxy.reload(lists(['10.0.0.0/24']));
  const clients = await Promise.all([0, 1].map(() => RawClient.connect({ port: proxy.port })));
  const [tunnel, plain] = clients as [RawClient, RawClient];
  assert.equal((await tunnel.tunnel(`lent.test:${port}`, credentials)).status, 200);
  const seen = (origins[2] as Origin).connections.length;
  plain.write(`GET http://lent.test:${port}/ HTTP/1.1\r\nHost: lent.test\r\n${credentials}\r\n`);
  await (origins[2] as Origin).connection(seen);
  await proxy.reload(lists(['10.9.0.0/24']));
  for (const client of clients) {
    await client.readToClose(1000);
    client.close();
  }
  const line = await waitForLine(proxy.logFile, { event: 'close', host: 'lent.test' });
  assert.deepEqual([line.verdict, line.end], ['block', 'policy_changed']);
});

test('leaves a whole log and untouched canaries', async () => {
  await proxy.stop();
  assert.equal(canaries.flatMap((origin) => origin.connections).length, 0);
});
