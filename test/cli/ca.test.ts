import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { Installation } from '../support/command.ts';

interface Facts {
  readonly subject: string;
  readonly expires: string;
  readonly expired: boolean;
  readonly sha256: string;
  readonly permits: readonly string[] | null;
  readonly excludes: readonly string[];
  readonly overlap: Facts | null;
  readonly broken_off: boolean;
}

const now = Date.now();

describe('ca', () => {
  test('init makes an authority, show describes it, both in the same words', async () => {
    using home = new Installation();
    const made = await home.run(['ca', 'init'], now);
    assert.equal(made.status, 0, made.stderr);
    const shown = await home.run(['ca', 'show'], now);
    assert.deepEqual(shown, made);
    const file = path.join(home.certs, 'ca.crt');
    const fingerprint = execFileSync(
      'openssl',
      ['x509', '-in', file, '-noout', '-fingerprint', '-sha256'],
      { encoding: 'utf8' },
    );
    const digits = fingerprint.trim().split('=')[1] as string;
    assert.ok(shown.stdout.includes(`sha256   ${digits}\n`), shown.stdout);
    assert.match(shown.stdout, /^subject {2}O=Sallyport, CN=Sallyport authority [0-9a-f]{8}\n/u);
    assert.ok(shown.stdout.includes(`file     ${file}\n`));
  });

  test('--json has the same facts', async () => {
    using home = new Installation();
    const made = await home.run(['ca', 'init', '--json'], now);
    const shown = await home.run(['ca', 'show', '--json'], now);
    assert.deepEqual(shown, made);
    const facts = JSON.parse(shown.stdout) as Facts;
    assert.deepEqual(Object.keys(facts), [
      'subject',
      'sha256',
      'expires',
      'expired',
      'permits',
      'excludes',
      'overlap',
      'broken_off',
      'path',
    ]);
    assert.deepEqual([facts.permits, facts.excludes, facts.overlap], [null, [], null]);
    assert.equal(facts.expired, false);
    const second = Math.floor(now / 1000) * 1000;
    assert.equal(facts.expires, new Date(second + 5 * 365 * 86_400_000).toISOString());
  });

  test('init never overwrites, and says how to change to a new one', async () => {
    using home = new Installation();
    await home.run(['ca', 'init'], now);
    const key = fs.readFileSync(path.join(home.certs, 'ca.key'));
    const again = await home.run(['ca', 'init'], now);
    assert.equal(again.status, 1);
    assert.equal(again.stdout, '');
    assert.match(
      again.stderr,
      /is there already.*`sallyport ca rotate`.*move ca\.key and ca\.crt away/u,
    );
    assert.deepEqual(fs.readFileSync(path.join(home.certs, 'ca.key')), key);
  });

  test('show without an authority', async () => {
    using home = new Installation();
    const result = await home.run(['ca', 'show'], now);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /`sallyport ca init` makes one/u);
  });

  test('show of one that has expired', async () => {
    using home = new Installation();
    await home.run(['ca', 'init'], now);
    const later = now + 5 * 365 * 86_400_000 + 1000;
    const result = await home.run(['ca', 'show'], later);
    assert.equal(result.status, 1);
    assert.match(result.stdout, /EXPIRED/u);
    const json = await home.run(['ca', 'show', '--json'], later);
    assert.equal((JSON.parse(json.stdout) as Facts).expired, true);
  });

  test('show with a key that others can read', async () => {
    using home = new Installation();
    await home.run(['ca', 'init'], now);
    fs.chmodSync(path.join(home.certs, 'ca.key'), 0o644);
    const result = await home.run(['ca', 'show'], now);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /chmod 600/u);
  });

  test('alone is wrong usage; --help shows an example', async () => {
    using home = new Installation();
    assert.equal((await home.run(['ca'], now)).status, 2);
    for (const argv of [
      ['ca', '--help'],
      ['ca', 'init', '--help'],
      ['ca', 'show', '--help'],
      ['ca', 'rotate', '--help'],
    ]) {
      const result = await home.run(argv, now);
      assert.equal(result.status, 0);
      assert.match(result.stdout, /Examples?:\n {2}sallyport ca /u);
    }
  });
});

describe('ca rotate', () => {
  const facts = async (home: Installation, ...argv: string[]): Promise<Facts> => {
    const result = await home.run(['ca', ...argv, '--json'], now);
    assert.equal(result.status, 0, result.stderr);
    return JSON.parse(result.stdout) as Facts;
  };

  test('takes over, shows both, and ends with --finish', async () => {
    using home = new Installation();
    const old = await facts(home, 'init');
    const rotated = await facts(home, 'rotate');
    assert.notEqual(rotated.sha256, old.sha256);
    assert.deepEqual(rotated.overlap, {
      subject: old.subject,
      sha256: old.sha256,
      expires: old.expires,
      expired: false,
    });
    assert.deepEqual(await facts(home, 'show'), rotated);
    const text = (await home.run(['ca', 'show'], now)).stdout;
    assert.ok(text.includes(`sha256   ${rotated.sha256}\n`));
    assert.ok(text.includes(`sha256   ${old.sha256}\nuntil    ${old.expires}, or`), text);
    const again = await home.run(['ca', 'rotate'], now);
    assert.deepEqual([again.status, again.stdout], [1, '']);
    assert.match(again.stderr, /An overlap lasts already/u);
    assert.deepEqual(await facts(home, 'rotate', '--finish'), { ...rotated, overlap: null });
    const finished = await home.run(['ca', 'rotate', '--finish'], now);
    assert.equal(finished.status, 1);
    assert.match(finished.stderr, /no overlap to end/u);
  });

  test('that was broken off is shown, and goes on', async () => {
    using home = new Installation();
    const old = await facts(home, 'init');
    const key = path.join(home.certs, 'ca.key');
    const oldKey = fs.readFileSync(key);
    const rotated = await facts(home, 'rotate');
    fs.renameSync(key, path.join(home.certs, 'ca-next.key'));
    fs.writeFileSync(key, oldKey, { mode: 0o600 });
    const between = await facts(home, 'show');
    assert.deepEqual([between.sha256, between.broken_off], [old.sha256, true]);
    const text = (await home.run(['ca', 'show'], now)).stdout;
    assert.match(text, /A rotation was broken off: `sallyport ca rotate` takes it to its end/u);
    assert.deepEqual(await facts(home, 'rotate'), rotated);
  });

  test('without an authority', async () => {
    using home = new Installation();
    const result = await home.run(['ca', 'rotate'], now);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /`sallyport ca init` makes one/u);
  });
});

describe('--permit', () => {
  const lists: readonly (readonly [argv: readonly string[], permits: string, excludes: string])[] =
    [
      [['--permit', 'example.com'], 'example.com', '0.0.0.0/0 ::/0'],
      [['--permit', 'a.test,b.test'], 'a.test b.test', '0.0.0.0/0 ::/0'],
      [['--permit', 'a.test', '--permit', '10.0.0.0/8'], 'a.test 10.0.0.0/8', '::/0'],
      [['--permit', 'a.test', '::1'], 'a.test ::1/128', '0.0.0.0/0'],
      [['--permit', '192.0.2.7'], '192.0.2.7/32', 'every name ::/0'],
    ];
  for (const [argv, permits, excludes] of lists) {
    test(argv.join(' '), async () => {
      using home = new Installation();
      const made = await home.run(['ca', 'init', '--json', ...argv], now);
      assert.equal(made.status, 0, made.stderr);
      const facts = JSON.parse(made.stdout) as Facts;
      assert.deepEqual([facts.permits?.join(' '), facts.excludes.join(' ')], [permits, excludes]);
      const { stdout } = await home.run(['ca', 'show'], now);
      assert.ok(stdout.includes(`permits  ${permits.replaceAll(/(?<!every) /gu, ', ')}\n`), stdout);
    });
  }

  const wrong: readonly (readonly [argv: readonly string[], said: RegExp])[] = [
    [['init', '--permit', '*.example.com'], /write a domain in lower case/u],
    [['init', '--permit', 'a.test,'], /--permit ""/u],
    [['init', '--permit', '10.0.0.1/8'], /host bits are zero/u],
    [['rotate', '--permit', 'Example.com'], /--permit "Example\.com"/u],
    [['rotate', '--permit', 'a.test', '--permit-all'], /one of .* at a time/u],
    [['rotate', '--finish', '--permit-all'], /one of .* at a time/u],
  ];
  for (const [argv, said] of wrong) {
    test(`wrong: ${argv.join(' ')}`, async () => {
      using home = new Installation();
      const result = await home.run(['ca', ...argv], now);
      assert.equal(result.status, 2);
      assert.match(result.stderr, said);
      assert.equal(fs.existsSync(home.certs), false);
    });
  }

  test('holds for what the authority signs, and goes over to the next one', async () => {
    using home = new Installation();
    await home.run(['ca', 'init', '--permit', 'example.com'], now);
    const server = (name: string) => home.run(['cert', 'server', name], now);
    assert.equal((await server('proxy.example.com')).status, 0);
    for (const name of ['proxy.test', '10.0.0.1', '::1']) {
      const refused = await server(name);
      assert.equal(refused.status, 1);
      assert.match(refused.stderr, /may not sign for .* permit example\.com alone/u);
    }
    await home.run(['ca', 'rotate'], now);
    assert.equal((await server('proxy.test')).status, 1);
    await home.run(['ca', 'rotate', '--finish'], now);
    await home.run(['ca', 'rotate', '--permit-all'], now);
    assert.equal((await server('proxy.test')).status, 0);
  });

  test('holds for common names that look like hosts, and for no SPIFFE id', async () => {
    using home = new Installation();
    await home.run(['ca', 'init', '--permit', 'example.com'], now);
    const agent = (id: string, name: string) =>
      `  ${id}: {owner: a@example.com, purpose: a test, credentials: {certificates: ["${name}"]}}\n`;
    home.allow(
      'agents.yaml',
      `agents:\n${agent('one', 'spiffe://other.test/one')}${agent('two', 'CN=two.other.test')}${agent('three', 'CN=three')}`,
    );
    const issued = async (id: string) => (await home.run(['cert', 'issue', id], now)).status;
    assert.deepEqual([await issued('one'), await issued('two'), await issued('three')], [0, 1, 0]);
  });
});
