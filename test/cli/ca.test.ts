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
    assert.deepEqual(Object.keys(facts), ['subject', 'sha256', 'expires', 'expired', 'path']);
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
    assert.match(again.stderr, /is there already.*move ca\.key and ca\.crt away/u);
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
    ]) {
      const result = await home.run(argv, now);
      assert.equal(result.status, 0);
      assert.match(result.stdout, /Example:\n {2}sallyport ca /u);
    }
  });
});
