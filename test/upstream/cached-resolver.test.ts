import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseIp } from '../../src/core/ip.ts';
import { CachedResolver } from '../../src/upstream/cached-resolver.ts';
import type { Answer, Resolver } from '../../src/upstream/resolver.ts';
import { ResolveError } from '../../src/upstream/resolver.ts';
import { ManualClock } from '../support/manual-clock.ts';

function answer(text: string, ttl: number): Answer {
  const ip = parseIp(text);
  assert.ok(ip);
  return { addresses: [ip], ttl };
}

/** Answers by name when told to; counts what reaches it. */
class ScriptedResolver implements Resolver {
  readonly asked: string[] = [];
  respond: (name: string) => Promise<Answer> = async () => answer('192.0.2.1', 60);

  resolve(name: string): Promise<Answer> {
    this.asked.push(name);
    return this.respond(name);
  }
}

function setUp(options: { names?: number; maxTtl?: number } = {}) {
  const inner = new ScriptedResolver();
  const clock = new ManualClock();
  return { inner, clock, cache: new CachedResolver(inner, { ...options, clock }) };
}

function fails(rcode: string): (name: string) => Promise<Answer> {
  return (name) => Promise.reject(new ResolveError(rcode, name));
}

describe('CachedResolver with answers', () => {
  it('keeps an answer for its TTL and not a millisecond longer', async () => {
    const { inner, clock, cache } = setUp();
    assert.equal(cache.peek('a.test'), null);
    const first = await cache.resolve('a.test');
    assert.equal(cache.peek('a.test'), first);
    clock.advance(59_999);
    assert.equal(cache.peek('a.test'), first);
    assert.equal(await cache.resolve('a.test'), first);
    clock.advance(1);
    assert.equal(cache.peek('a.test'), null);
    await cache.resolve('a.test');
    assert.deepEqual(inner.asked, ['a.test', 'a.test']);
  });

  it('never keeps TTL 0', async () => {
    const { inner, cache } = setUp();
    inner.respond = async () => answer(`192.0.2.${inner.asked.length}`, 0);
    assert.equal((await cache.resolve('a.test')).addresses[0]?.text, '192.0.2.1');
    assert.equal(cache.peek('a.test'), null);
    assert.equal((await cache.resolve('a.test')).addresses[0]?.text, '192.0.2.2');
  });

  it('keeps no answer of more than 64 addresses', async () => {
    const { inner, cache } = setUp();
    const [address] = answer('192.0.2.1', 60).addresses;
    assert.ok(address);
    for (const [count, kept] of [
      [64, true],
      [65, false],
    ] as const) {
      inner.respond = async () => ({ addresses: Array(count).fill(address), ttl: 60 });
      assert.equal((await cache.resolve(`${count}.test`)).addresses.length, count);
      assert.equal(cache.peek(`${count}.test`) !== null, kept);
    }
  });

  it('bounds the TTL from above', async () => {
    const { inner, clock, cache } = setUp({ maxTtl: 100 });
    inner.respond = async () => answer('192.0.2.1', 86_400);
    await cache.resolve('a.test');
    clock.advance(99_999);
    assert.notEqual(cache.peek('a.test'), null);
    clock.advance(1);
    assert.equal(cache.peek('a.test'), null);
  });

  it('never serves an expired answer, not even when its server is down', async () => {
    const { inner, clock, cache } = setUp();
    await cache.resolve('a.test');
    clock.advance(60_000);
    inner.respond = fails('TIMEOUT');
    await assert.rejects(cache.resolve('a.test'), { rcode: 'TIMEOUT' });
  });

  it('is bounded: the least recently used name goes first', async () => {
    const { inner, cache } = setUp({ names: 2 });
    await cache.resolve('a.test');
    await cache.resolve('b.test');
    cache.peek('a.test');
    await cache.resolve('c.test');
    assert.notEqual(cache.peek('a.test'), null);
    assert.equal(cache.peek('b.test'), null);
    assert.deepEqual(inner.asked, ['a.test', 'b.test', 'c.test']);
  });
});

describe('CachedResolver with failures', () => {
  const cases: readonly [rcode: string, seconds: number][] = [
    ['NXDOMAIN', 10],
    ['NODATA', 10],
    ['SERVFAIL', 1],
    ['REFUSED', 1],
    ['TIMEOUT', 1],
    ['FORMERR', 1],
    ['FAILED', 1],
  ];
  for (const [rcode, seconds] of cases) {
    it(`keeps ${rcode} for ${seconds} s`, async () => {
      const { inner, clock, cache } = setUp();
      inner.respond = fails(rcode);
      await assert.rejects(cache.resolve('a.test'), { name: 'ResolveError', rcode });
      clock.advance(seconds * 1000 - 1);
      await assert.rejects(cache.resolve('a.test'), { name: 'ResolveError', rcode });
      assert.equal(inner.asked.length, 1);
      clock.advance(1);
      inner.respond = async () => answer('192.0.2.1', 60);
      await cache.resolve('a.test');
      assert.equal(inner.asked.length, 2);
      assert.notEqual(cache.peek('a.test'), null);
    });
  }

  it('passes a defect on and does not keep it', async () => {
    const { inner, cache } = setUp();
    inner.respond = () => Promise.reject(new TypeError('defect'));
    await assert.rejects(cache.resolve('a.test'), TypeError);
    await assert.rejects(cache.resolve('a.test'), TypeError);
    assert.equal(inner.asked.length, 2);
  });

  it('keeps working names through a flood of names that do not exist', async () => {
    const { inner, clock, cache } = setUp({ names: 80 });
    for (let i = 0; i < 80; i++) await cache.resolve(`good${i}.test`);
    inner.respond = fails('NXDOMAIN');
    for (let i = 0; i < 1000; i++) await assert.rejects(cache.resolve(`bad${i}.test`));
    for (let i = 0; i < 80; i++) assert.notEqual(cache.peek(`good${i}.test`), null, `good${i}`);
    // The failures themselves are bounded: only the last ten are remembered.
    clock.advance(1);
    inner.asked.length = 0;
    for (let i = 999; i >= 980; i--) await assert.rejects(cache.resolve(`bad${i}.test`));
    assert.equal(inner.asked.length, 10);
  });
});

describe('CachedResolver with many askers', () => {
  it('asks once for one name, and again after that answer was not kept', async () => {
    const { inner, cache } = setUp();
    const gate = Promise.withResolvers<Answer>();
    inner.respond = () => gate.promise;
    const asked = Array.from({ length: 100 }, () => cache.resolve('a.test'));
    const other = cache.resolve('b.test');
    assert.deepEqual(inner.asked, ['a.test', 'b.test']);
    gate.resolve(answer('192.0.2.1', 0));
    assert.equal(new Set(await Promise.all(asked)).size, 1);
    await other;
    await cache.resolve('a.test');
    assert.equal(inner.asked.length, 3);
  });

  it('gives one failure to all who wait for it', async () => {
    const { inner, cache } = setUp();
    const gate = Promise.withResolvers<Answer>();
    inner.respond = () => gate.promise;
    const asked = Array.from({ length: 10 }, () => cache.resolve('a.test'));
    gate.reject(new ResolveError('SERVFAIL', 'a.test'));
    const results = await Promise.allSettled(asked);
    assert.ok(results.every((result) => result.status === 'rejected'));
    assert.deepEqual(inner.asked, ['a.test']);
  });
});

describe('CachedResolver.clear', { timeout: 10_000 }, () => {
  it('forgets answers and failures', async () => {
    const { inner, cache } = setUp();
    await cache.resolve('a.test');
    inner.respond = fails('NXDOMAIN');
    await assert.rejects(cache.resolve('b.test'));
    cache.clear();
    assert.equal(cache.peek('a.test'), null);
    inner.respond = async () => answer('192.0.2.2', 60);
    assert.equal((await cache.resolve('b.test')).addresses[0]?.text, '192.0.2.2');
  });

  it('keeps nothing of what was asked before it, and asks anew', async () => {
    const { inner, cache } = setUp();
    const old = Promise.withResolvers<Answer>();
    inner.respond = () => old.promise;
    const before = cache.resolve('a.test');
    cache.clear();
    const fresh = answer('192.0.2.2', 60);
    inner.respond = async () => fresh;
    assert.equal(await cache.resolve('a.test'), fresh);
    old.resolve(answer('192.0.2.1', 60));
    assert.equal((await before).addresses[0]?.text, '192.0.2.1');
    assert.equal(cache.peek('a.test'), fresh);
    assert.equal(inner.asked.length, 2);
  });

  it('does not keep a failure from before it either', async () => {
    const { inner, cache } = setUp();
    const old = Promise.withResolvers<Answer>();
    inner.respond = () => old.promise;
    const before = cache.resolve('a.test');
    cache.clear();
    old.reject(new ResolveError('NXDOMAIN', 'a.test'));
    await assert.rejects(before);
    inner.respond = async () => answer('192.0.2.1', 60);
    await cache.resolve('a.test');
  });
});
