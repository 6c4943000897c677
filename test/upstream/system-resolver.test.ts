import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ResolveError } from '../../src/upstream/resolver.ts';
import type { SystemResolverOptions } from '../../src/upstream/system-resolver.ts';
import { SystemResolver } from '../../src/upstream/system-resolver.ts';
import type { DnsServer, Zone, ZoneEntry } from '../support/dns-server.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { assertNothingLeft, holdingsAtRest } from '../support/leaks.ts';

const NO_HOSTS = '/nonexistent/hosts';
/** Longer than any test: a step that waits for it fails the test by never coming. */
const NEVER_MS = 600_000;

function resolverFor(servers: readonly DnsServer[], options: SystemResolverOptions = {}) {
  return new SystemResolver({
    servers: servers.map((server) => server.server),
    hostsFile: NO_HOSTS,
    ...options,
  });
}

/** `addresses ttl n`, or the response code. */
async function outcome(resolver: SystemResolver, name: string): Promise<string> {
  try {
    const { addresses, ttl } = await resolver.resolve(name);
    return `${addresses.map((ip) => ip.text).join(' ')} ttl ${ttl}`;
  } catch (error) {
    assert.ok(error instanceof ResolveError, String(error));
    return error.rcode;
  }
}

const both = { a: ['192.0.2.1'], aaaa: ['2001:db8::1'] };
const chain: Zone = Object.fromEntries(
  Array.from({ length: 50 }, (_, i) => [`hop${i}.test`, { cname: `hop${i + 1}.test` }]),
);

describe('SystemResolver against a server', { concurrency: true, timeout: 20_000 }, () => {
  const cases: readonly [title: string, entry: ZoneEntry, expected: string | RegExp][] = [
    ['both families', both, '192.0.2.1 2001:db8::1 ttl 60'],
    ['A only', { a: ['192.0.2.1', '192.0.2.2'] }, '192.0.2.1 192.0.2.2 ttl 60'],
    ['AAAA only', { aaaa: ['2001:db8::1'] }, '2001:db8::1 ttl 60'],
    ['no addresses', {}, 'NODATA'],
    ['no such name', { rcode: 'NXDOMAIN' }, 'NXDOMAIN'],
    ['SERVFAIL', { rcode: 'SERVFAIL' }, 'SERVFAIL'],
    ['REFUSED', { rcode: 'REFUSED' }, 'REFUSED'],
    ['FORMERR', { rcode: 'FORMERR' }, 'FORMERR'],
    ['NOTIMP', { rcode: 'NOTIMP' }, 'FAILED'],
    ['TTL 0', { a: ['192.0.2.1'], ttl: 0 }, '192.0.2.1 ttl 0'],
    ['TTL with the top bit', { a: ['192.0.2.1'], ttl: 0x80000001 }, '192.0.2.1 ttl 0'],
    [
      'A answered, AAAA NXDOMAIN',
      (q) => (q.type === 'A' ? both : { rcode: 'NXDOMAIN' }),
      '192.0.2.1 ttl 60',
    ],
    [
      'A answered, AAAA SERVFAIL',
      (q) => (q.type === 'A' ? both : { rcode: 'SERVFAIL' }),
      '192.0.2.1 ttl 5',
    ],
    [
      'AAAA answered, A silent',
      (q) => (q.type === 'A' ? { silent: true } : both),
      '2001:db8::1 ttl 5',
    ],
    ['A silent, AAAA NODATA', (q) => (q.type === 'A' ? { silent: true } : {}), 'TIMEOUT'],
    ['silence', { silent: true }, 'TIMEOUT'],
    ['first packet lost', [{ silent: true }, both], '192.0.2.1 2001:db8::1 ttl 60'],
    ['truncated, then whole over TCP', { ...both, truncate: true }, '192.0.2.1 2001:db8::1 ttl 60'],
    ['garbage', { garbage: Buffer.from('ff'.repeat(40), 'hex') }, /^(TIMEOUT|FORMERR|FAILED)$/],
    ['header cut short', { garbage: Buffer.from('8180', 'hex') }, /^(TIMEOUT|FORMERR|FAILED)$/],
    ['answer to another question', { ...both, misdirect: 'evil.test' }, /^(TIMEOUT|FORMERR)$/],
    ['CNAME', { cname: 'target.test', ttl: 300 }, '192.0.2.9 ttl 7'],
    ['CNAME with the smaller TTL', { cname: 'target.test', ttl: 3 }, '192.0.2.9 ttl 3'],
    ['CNAME to nothing', { cname: 'gone.test' }, 'NODATA'],
    ['CNAME loop', { cname: 'name.test' }, /^(NODATA|FORMERR)$/],
    ['chain of 50 CNAMEs', { cname: 'hop0.test' }, /^192\.0\.2\.50 ttl 60$|^(FORMERR|NODATA)$/],
  ];
  for (const [title, entry, expected] of cases) {
    it(title, async () => {
      const zone: Zone = {
        'name.test': entry,
        'target.test': { a: ['192.0.2.9'], ttl: 7 },
        ...chain,
        'hop50.test': { a: ['192.0.2.50'] },
      };
      await using server = await startDnsServer({ zone });
      const resolver = resolverFor([server], { timeoutMs: 900, graceMs: 300 });
      const result = await outcome(resolver, 'name.test');
      if (typeof expected === 'string') assert.equal(result, expected);
      else assert.match(result, expected);
      resolver.close();
    });
  }

  it('asks both types once and nothing else', async () => {
    await using server = await startDnsServer({ zone: { 'name.test': both } });
    await resolverFor([server]).resolve('name.test');
    assert.deepEqual(server.asked('name.test').sort(), ['A', 'AAAA']);
    assert.equal(server.queries.length, 2);
  });

  it('asks again every time: nothing below remembers TTL 0, TTL 60 or NXDOMAIN', async () => {
    const rebinding = [
      { a: ['93.184.215.14'], ttl: 0 },
      { a: ['127.0.0.1'], ttl: 0 },
    ];
    await using server = await startDnsServer({
      zone: { 'rebind.test': rebinding, 'kept.test': { a: ['192.0.2.1'], ttl: 60 } },
    });
    const resolver = resolverFor([server]);
    assert.equal(await outcome(resolver, 'rebind.test'), '93.184.215.14 ttl 0');
    assert.equal(await outcome(resolver, 'rebind.test'), '127.0.0.1 ttl 0');
    for (const name of ['kept.test', 'gone.test']) {
      await outcome(resolver, name);
      await outcome(resolver, name);
      assert.equal(server.asked(name).length, 4, name);
    }
  });

  it('takes all of 300 addresses in one answer', async () => {
    const a = Array.from({ length: 300 }, (_, i) => `192.0.${i >> 8}.${i & 255}`);
    await using server = await startDnsServer({ zone: { 'many.test': { a } } });
    const { addresses } = await resolverFor([server]).resolve('many.test');
    assert.deepEqual(
      addresses.map((ip) => ip.text),
      a,
    );
    assert.ok(server.queries.some((query) => query.transport === 'tcp'));
  });

  it('sends A-labels and underscores as they are', async () => {
    await using server = await startDnsServer({ zone: { '*': { a: ['192.0.2.1'] } } });
    const resolver = resolverFor([server]);
    const names = ['xn--ls8h.test', 'xn--zzzzzzz.test', 'xn--.test', '_a.b_c.test', 'ab--c.test'];
    for (const name of [...names, `${'a'.repeat(63)}.test`]) {
      await resolver.resolve(name);
      assert.equal(server.asked(name).length, 2, name);
    }
  });

  it('sends nothing for what is not a canonical name', async () => {
    await using server = await startDnsServer({ zone: { '*': both } });
    const resolver = resolverFor([server]);
    const names = [
      '',
      '.',
      'a\0b',
      'a..b',
      'A.test',
      'a b',
      '\\097.test',
      'ä.test',
      '[::1]',
      '::1',
    ];
    for (const name of [...names, `${'a'.repeat(64)}.test`, `${'a.'.repeat(200)}test`]) {
      assert.equal(await outcome(resolver, name), 'FORMERR', JSON.stringify(name));
    }
    assert.deepEqual(server.queries, []);
  });
});

describe('SystemResolver under bad conditions', { concurrency: true, timeout: 20_000 }, () => {
  it('goes on to the second if the first is silent, for 300 names at once', async () => {
    await using silent = await startDnsServer({ zone: { '*': { silent: true } } });
    await using good = await startDnsServer({ zone: { '*': both } });
    const resolver = resolverFor([silent, good], { timeoutMs: 3000 });
    const names = Array.from({ length: 300 }, (_, i) => `n${i}.test`);
    const answers = await Promise.all(names.map((name) => outcome(resolver, name)));
    assert.deepEqual(new Set(answers), new Set(['192.0.2.1 2001:db8::1 ttl 60']));
    assert.ok(silent.queries.length > 0);
    resolver.close();
  });

  it('goes on to the second if nobody listens at the first', async () => {
    const closed = createSocket('udp4').bind(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address();
    closed.close();
    await using good = await startDnsServer({ zone: { '*': both } });
    const resolver = new SystemResolver({
      servers: [`127.0.0.1:${port}`, good.server],
      hostsFile: NO_HOSTS,
    });
    assert.equal(await outcome(resolver, 'name.test'), '192.0.2.1 2001:db8::1 ttl 60');
  });

  it('lets names under a silent zone hold up nobody', async () => {
    const zone: Zone = { '*.silent.test': { silent: true }, 'bob.test': both };
    await using server = await startDnsServer({ zone });
    const resolver = resolverFor([server], { timeoutMs: 1500 });
    const order: string[] = [];
    const stuck = Array.from({ length: 200 }, async (_, i) => {
      order.push(await outcome(resolver, `n${i}.silent.test`));
    });
    order.push(await outcome(resolver, 'bob.test'));
    await Promise.all(stuck);
    assert.equal(order[0], '192.0.2.1 2001:db8::1 ttl 60');
    assert.deepEqual(new Set(order.slice(1)), new Set(['TIMEOUT']));
    resolver.close();
  });

  it('keeps asking until the deadline on a channel that is used to fast answers', async () => {
    const slow: ZoneEntry = ({ count }) => (count <= 3 ? { silent: true } : both);
    await using server = await startDnsServer({ zone: { 'slow.test': slow, '*': both } });
    const resolver = resolverFor([server]);
    for (let i = 0; i < 10; i++) await resolver.resolve(`n${i}.test`);
    assert.equal(await outcome(resolver, 'slow.test'), '192.0.2.1 2001:db8::1 ttl 60');
  });

  it('does not let a silent family hold up the other until the deadline', async () => {
    const halfSilent: ZoneEntry = ({ type }) => (type === 'A' ? both : { silent: true });
    await using server = await startDnsServer({ zone: { 'name.test': halfSilent } });
    const resolver = resolverFor([server], { timeoutMs: NEVER_MS, graceMs: 50 });
    assert.equal(await outcome(resolver, 'name.test'), '192.0.2.1 ttl 5');
    resolver.close();
  });

  it('gives up at its deadline even if c-ares would go on', async () => {
    await using server = await startDnsServer({ zone: { '*': { silent: true } } });
    // Below the shortest time of one try.
    const resolver = resolverFor([server], { timeoutMs: 50 });
    assert.equal(await outcome(resolver, 'name.test'), 'TIMEOUT');
    assert.equal(server.queries.length, 2);
    resolver.close();
  });
});

describe('SystemResolver besides the DNS', () => {
  it('answers from the hosts file first', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'hosts-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const hostsFile = join(directory, 'hosts');
    writeFileSync(hostsFile, '::1 localhost box.test\n127.0.0.1 localhost\n');
    await using server = await startDnsServer({ zone: { '*': both } });
    const resolver = resolverFor([server], { hostsFile });
    assert.equal(await outcome(resolver, 'localhost'), '127.0.0.1 ::1 ttl 5');
    assert.equal(await outcome(resolver, 'box.test'), '::1 ttl 5');
    assert.deepEqual(server.queries, []);
    assert.equal(await outcome(resolver, 'other.box.test'), '192.0.2.1 2001:db8::1 ttl 60');
  });

  it('never asks for localhost', async () => {
    await using server = await startDnsServer({ zone: { '*': both } });
    const resolver = resolverFor([server]);
    assert.equal(await outcome(resolver, 'localhost'), 'NXDOMAIN');
    assert.equal(await outcome(resolver, 'app.localhost'), 'NXDOMAIN');
    assert.deepEqual(server.queries, []);
  });

  it('fails what is outstanding when it is closed', async () => {
    await using server = await startDnsServer({ zone: { '*': { silent: true } } });
    const resolver = resolverFor([server]);
    const result = outcome(resolver, 'name.test');
    resolver.close();
    assert.equal(await result, 'FAILED');
  });

  it('leaves nothing running behind an answer', async () => {
    const staggered: ZoneEntry = ({ type }) => (type === 'A' ? both : { ...both, delay: 20 });
    await using server = await startDnsServer({ zone: { 'name.test': staggered } });
    const before = await holdingsAtRest();
    assert.equal(
      await outcome(resolverFor([server], { graceMs: NEVER_MS }), 'name.test'),
      '192.0.2.1 2001:db8::1 ttl 60',
    );
    await assertNothingLeft(before);
  });

  it('names the server that is none, and the form to write', () => {
    for (const server of ['dns.test', '127.0.0.1:0', '']) {
      assert.throws(
        () => new SystemResolver({ servers: [server] }),
        (error: Error) =>
          error instanceof TypeError &&
          error.message.includes(JSON.stringify(server)) &&
          error.message.includes('192.0.2.1:5353'),
      );
    }
  });
});
