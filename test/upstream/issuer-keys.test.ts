import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../src/core/clock.ts';
import type { Issuer } from '../../src/policy/issuer.ts';
import { IssuerKeyStore } from '../../src/upstream/issuer-keys.ts';
import { type FetchedKeys, KeyFetchError } from '../../src/upstream/key-fetcher.ts';
import { keySet, TestKey } from '../support/token-issuer.ts';
import { issuer } from '../support/workload-policy.ts';

const minute = 60_000;
const hour = 60 * minute;

const one = new TestKey('one', 'RS256');
const two = new TestKey('two', 'ES256');

const url = (text: string): Issuer['keys'] => ({
  kind: 'url',
  text,
  host: 'keys.test',
  ip: null,
  port: 443,
  path: '/jwks',
});
const remote = issuer({ keys: url('https://keys.test/jwks') });

let now = 0;
const clock: Clock = { now: () => now, monotonic: () => now };
let directory: string;
let store: IssuerKeyStore;
/** What happens next to whoever fetches. */
let reply: () => FetchedKeys | Promise<FetchedKeys>;
/** When was fetched. */
let fetches: number[];
let heard: string[];

const gives = (keys: readonly (TestKey | object)[], maxAge?: number) => (): FetchedKeys => ({
  bytes: Buffer.from(keySet(keys)),
  maxAge,
});
const fails = (): never => {
  throw new KeyFetchError('nobody is there');
};

beforeEach(() => {
  mock.timers.enable({ apis: ['setInterval'] });
  now = 0;
  fetches = [];
  heard = [];
  reply = gives([one]);
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-keys-'));
  store = new IssuerKeyStore({
    fetcher: {
      async load() {
        fetches.push(now);
        return await reply();
      },
    },
    directory,
    clock,
    random: () => 1,
    observer: {
      loaded: (name, keys) => heard.push(`loaded ${name} ${keys}`),
      failed: (name, why, kept) => heard.push(`failed ${name} ${why} ${kept}`),
      removed: () => heard.push('removed'),
    },
  });
});

afterEach(() => {
  store.close();
  mock.timers.reset();
  fs.rmSync(directory, { recursive: true });
});

function apply(...issuers: readonly Issuer[]): Promise<void> {
  store.apply(new Map(issuers.map((definition) => [definition.name, definition])));
  return turn();
}

/** Lets the time pass, second by second. */
async function pass(ms: number): Promise<void> {
  for (const end = now + ms; now < end; ) {
    now += 1000;
    mock.timers.tick(1000);
    // What a fetch comes to, comes in later turns.
    await turn();
  }
}

const has = (key: TestKey): boolean =>
  store.find('ci', key.kid, key.algorithm as 'RS256' | 'ES256') !== null;

describe('keys by HTTPS', () => {
  test('at once, then every ten minutes', async () => {
    await apply(remote);
    assert.ok(has(one));
    await pass(31 * minute);
    assert.deepEqual(fetches, [0, 10 * minute, 20 * minute, 30 * minute]);
    assert.deepEqual(heard, ['loaded ci 1']);
  });

  const ages: readonly [seconds: number, next: number][] = [
    [0, minute],
    [59, minute],
    [300, 5 * minute],
    [3600, hour],
    [1e9, hour],
  ];
  for (const [seconds, next] of ages) {
    test(`max-age=${seconds}: again after ${next / minute} minutes`, async () => {
      reply = gives([one], seconds);
      await apply(remote);
      await pass(next);
      assert.deepEqual(fetches, [0, next]);
    });
  }

  test('an unknown kid asks at once, and once a minute at most', async () => {
    await apply(remote);
    reply = gives([one, two]);
    await pass(2 * minute);
    assert.ok(!has(two));
    await turn();
    assert.ok(has(two));
    for (let i = 0; i < 100; i++) store.find('ci', `evil-${i}`, 'RS256');
    assert.deepEqual(fetches, [0, 2 * minute]);
    await pass(minute);
    store.find('ci', 'evil', 'RS256');
    store.find('ci', 'evil', 'RS256');
    assert.deepEqual(fetches, [0, 2 * minute, 3 * minute]);
    assert.equal(store.find('nobody', 'evil', 'RS256'), null);
  });

  test('a failure keeps the keys, is told once, and is tried again ever more slowly', async () => {
    await apply(remote);
    reply = fails;
    await pass(11 * minute);
    assert.ok(has(one));
    const seconds = fetches.slice(1).map((at) => (at - 10 * minute) / 1000);
    assert.deepEqual(seconds, [0, 2, 6, 14, 30]);
    reply = gives([one]);
    await pass(3 * minute);
    assert.deepEqual(heard, ['loaded ci 1', 'failed ci nobody is there 1', 'loaded ci 1']);
    assert.deepEqual(store.counts(), [{ issuer: 'ci', keys: 1, refreshed: 2, failed: 5 }]);
  });

  test('a day old, they are gone', async () => {
    await apply(remote);
    reply = fails;
    await pass(24 * hour);
    assert.ok(has(one));
    await pass(2000);
    assert.ok(!has(one));
    assert.deepEqual(heard.slice(2), ['failed ci its keys are a day old 0', 'removed']);
  });

  test('a set that cannot be used is a failure', async () => {
    await apply(remote);
    reply = gives([{ kty: 'oct', k: 'c2VjcmV0' }]);
    await pass(10 * minute);
    assert.ok(has(one));
    assert.match(heard[1] ?? '', /^failed ci the key set is not usable: .*symmetric/);
  });

  test('a key that is gone is told', async () => {
    reply = gives([one, two]);
    await apply(remote);
    const id = store.find('ci', 'one', 'RS256')?.id ?? '';
    assert.ok(store.has('ci', id));
    reply = gives([two]);
    await pass(10 * minute);
    assert.ok(!store.has('ci', id));
    assert.deepEqual(heard, ['loaded ci 2', 'removed']);
  });

  test('a new name for the same key takes nothing away', async () => {
    await apply(remote);
    reply = gives([one.jwk({ kid: 'renamed' })]);
    await pass(10 * minute);
    assert.deepEqual(heard, ['loaded ci 1']);
  });
});

describe('another policy', () => {
  test('with the same definition asks for nothing', async () => {
    await apply(remote);
    await apply({ ...remote, audience: ['other'], at: 'elsewhere.yaml:7' });
    assert.ok(has(one));
    assert.deepEqual(fetches, [0]);
  });

  test('with other algorithms reads the same keys again', async () => {
    reply = gives([one, two]);
    await apply(remote);
    reply = fails;
    await apply({ ...remote, algorithms: ['ES256'] });
    assert.ok(!has(one));
    assert.ok(has(two));
  });

  test('with another place forgets them', async () => {
    await apply(remote);
    reply = fails;
    await apply({ ...remote, keys: url('https://keys.test/other') });
    assert.ok(!has(one));
  });

  test('without the issuer forgets them, and asks no more', async () => {
    await apply(remote);
    await apply();
    assert.ok(!has(one));
    await pass(11 * minute);
    assert.deepEqual(fetches, [0]);
  });

  test('what comes for the one before does not count', async () => {
    const late = Promise.withResolvers<FetchedKeys>();
    reply = () => late.promise;
    await apply(remote);
    reply = gives([two]);
    await apply({ ...remote, keys: url('https://keys.test/other') });
    late.resolve(gives([one])());
    await turn();
    assert.ok(has(two));
    assert.ok(!has(one));
    assert.deepEqual(heard, ['loaded ci 1']);
  });
});

describe('keys in a file', () => {
  const local = issuer({ keys: { kind: 'file', text: 'keys.json' } });
  const file = (): string => path.join(directory, 'keys.json');
  const write = (text: string): void => {
    fs.writeFileSync(`${file()}.new`, text);
    fs.renameSync(`${file()}.new`, file());
  };

  test('at once, and whenever they change', async () => {
    write(keySet([one]));
    await apply(local);
    assert.ok(has(one));
    write(keySet([two]));
    await pass(2000);
    assert.ok(has(two));
    assert.ok(!has(one));
    assert.deepEqual(heard, ['loaded ci 1', 'removed']);
    assert.deepEqual(fetches, []);
  });

  test('by an absolute path', async () => {
    write(keySet([one]));
    await apply(issuer({ keys: { kind: 'file', text: file() } }));
    assert.ok(has(one));
  });

  test('through the links of a Kubernetes volume', async () => {
    fs.mkdirSync(path.join(directory, '..data'));
    fs.writeFileSync(path.join(directory, '..data', 'keys.json'), keySet([one]));
    fs.symlinkSync('..data/keys.json', file());
    await apply(local);
    assert.ok(has(one));
  });

  test('unchanged, they count for ever', async () => {
    write(keySet([one]));
    await apply(local);
    await pass(25 * hour);
    assert.ok(has(one));
  });

  const troubles: readonly [string, () => void, RegExp][] = [
    ['not there', () => fs.rmSync(file()), /cannot be read \(ENOENT\)/],
    ['half written', () => write('{"keys": ['), /not a JWK Set/],
    ['too large', () => write(`{"x":"${'x'.repeat(300_000)}"}`), /more than 256 KiB/],
    ['writable by everybody', () => fs.chmodSync(file(), 0o666), /written by everybody/],
    [
      'a directory',
      () => {
        fs.rmSync(file());
        fs.mkdirSync(file());
      },
      /not a regular file/,
    ],
    [
      'a device',
      () => {
        fs.rmSync(file());
        fs.symlinkSync('/dev/zero', file());
      },
      /not a regular file/,
    ],
  ];
  for (const [what, cause, why] of troubles) {
    test(`${what}: the keys of before stay, and come back`, async () => {
      write(keySet([one]));
      await apply(local);
      cause();
      await pass(3000);
      assert.ok(has(one));
      assert.equal(heard.length, 2);
      assert.match(heard[1] ?? '', why);
      fs.rmSync(file(), { recursive: true, force: true });
      write(keySet([two]));
      await pass(2000);
      assert.ok(has(two));
      assert.deepEqual(heard.slice(2), ['loaded ci 1', 'removed']);
    });
  }
});
