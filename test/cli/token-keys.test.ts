import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { loadCredentialKeys } from '../../src/identity/credential-keys.ts';
import { Installation } from '../support/command.ts';

const now = Date.UTC(2026, 10, 22, 12);
const main = path.resolve(import.meta.dirname, '../../src/main.ts');
const line = (digit: string): string => digit.repeat(64);

function installation(text: string): { home: Installation; file: string } {
  const home = new Installation();
  const file = path.join(home.certs, 'credentials.key');
  fs.mkdirSync(home.certs, { mode: 0o700 });
  fs.writeFileSync(file, text, { mode: 0o600 });
  return { home, file };
}

describe('token keys', () => {
  test('lists ids and ends, never a key', async () => {
    const { home, file } = installation(
      `# ours\n${line('a')}\n${line('b')} until 2026-12-01T00:00:00Z\n${line('c')} until 2026-11-01T00:00:00Z\n`,
    );
    using _ = home;
    const [a, b, c] = loadCredentialKeys(file).all.map(({ id }) => id);
    const result = await home.run(['token', 'keys'], now);
    assert.equal(
      result.stdout,
      `${file}
  ${a}  signs and verifies
  ${b}  verifies until 2026-12-01T00:00:00.000Z
  ${c}  ended at 2026-11-01T00:00:00.000Z: its line can go
`,
    );
    const json = JSON.parse((await home.run(['token', 'keys', '--json'], now)).stdout) as object;
    assert.deepEqual(json, {
      file,
      keys: [
        { id: a, signs: true },
        { id: b, signs: false, until: '2026-12-01T00:00:00.000Z' },
        { id: c, signs: false, until: '2026-11-01T00:00:00.000Z' },
      ],
    });
  });

  test('--rotate puts a new key on top and gives the others an end', async () => {
    const { home, file } = installation(
      `# ours\n${line('a')}\n# older\n${line('b')} until 2026-12-01T00:00:00Z\n`,
    );
    using _ = home;
    const before = loadCredentialKeys(file);
    const result = await home.run(['token', 'keys', '--rotate'], now);
    const after = loadCredentialKeys(file);
    assert.match(
      result.stdout,
      new RegExp(`${after.signing.id} is new and signs from now on`, 'u'),
    );
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(fs.readdirSync(home.certs), ['credentials.key']);
    assert.deepEqual(
      after.all.slice(1).map(({ id, until }) => [id, new Date(until).toISOString()]),
      [
        [before.signing.id, '2026-12-22T12:00:00.000Z'],
        [before.all[1]?.id, '2026-12-01T00:00:00.000Z'],
      ],
    );
    const text = fs.readFileSync(file, 'utf8');
    assert.match(text, /^# ours\n[0-9a-f]{64}\na{64} until .*\n# older\nb{64} until .*\n$/u);
  });

  test('--rotate without a file makes it, with a key to rotate to', async () => {
    using home = new Installation();
    const result = await home.run(['token', 'keys', '--rotate'], now);
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stdout, /signs from now on/u);
  });

  test('--rotate by several processes at once loses no key', async () => {
    const { home, file } = installation(`${line('a')}\n`);
    using _ = home;
    const env = { ...process.env, SALLYPORT_CERTS: home.certs };
    const args = ['--disable-sigusr1', main, 'token', 'keys', '--rotate', '--json'];
    const runs = await Promise.all(
      Array.from({ length: 4 }, () => promisify(execFile)(process.execPath, args, { env })),
    );
    const made = runs.map(({ stdout }) => {
      const { keys } = JSON.parse(stdout) as { keys: { id: string; signs: boolean }[] };
      return keys.find(({ signs }) => signs)?.id;
    });
    const ids = loadCredentialKeys(file).all.map(({ id }) => id);
    assert.equal(ids.length, 5);
    for (const id of made) assert.ok(ids.includes(id ?? ''));
    assert.deepEqual(fs.readdirSync(home.certs), ['credentials.key']);
  });

  test('a file that cannot be used stays as it is', async () => {
    for (const [text, mode, message] of [
      ['half a line', 0o600, /:1 is not a key/u],
      [`${line('a')} until tomorrow`, 0o600, /:1: behind `until` belongs a time/u],
      [`${line('a')} until 2026-11-31T00:00:00Z`, 0o600, /:1: behind `until` belongs a time/u],
      [line('a'), 0o644, /chmod 600/u],
    ] as const) {
      const { home, file } = installation(text);
      using _ = home;
      fs.chmodSync(file, mode);
      for (const argv of [
        ['token', 'keys'],
        ['token', 'keys', '--rotate'],
      ]) {
        const result = await home.run(argv, now);
        assert.deepEqual([result.status, result.stdout], [1, '']);
        assert.match(result.stderr, message);
        assert.ok(!result.stderr.includes('aaaaaaaa'), 'no key in a message');
      }
      assert.equal(fs.readFileSync(file, 'utf8'), text);
      assert.deepEqual(fs.readdirSync(home.certs), ['credentials.key']);
    }
  });

  test('a lock that stays is reported, and what to do', async () => {
    const { home, file } = installation(`${line('a')}\n`);
    using _ = home;
    fs.writeFileSync(`${file}.lock`, '');
    const result = await home.run(['token', 'keys', '--rotate'], now);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /somebody else: if nobody is, remove .*credentials\.key\.lock/u);
    assert.equal(fs.readFileSync(file, 'utf8'), `${line('a')}\n`);
  });
});

describe('a signing key with an end', () => {
  const policy = `agents: {demo: {owner: ann@example.com, purpose: a test, allow: [a.com]}}`;
  const end = '2026-11-22T14:00:00Z';
  const cases: readonly (readonly [string, number, number, RegExp])[] = [
    ['1h', now, 0, /^$/u],
    ['2h', now, 0, /^$/u],
    ['3h', now, 1, /ends at 2026-11-22T14:00:00\.000Z, before.*shorter --ttl.*keys --rotate/u],
    ['1h', now + 7_200_000, 1, /, which signs, ended at 2026-11-22T14.*keys --rotate/u],
  ];
  for (const [ttl, at, status, message] of cases) {
    test(`token issue --ttl ${ttl} at ${new Date(at).toISOString()}: ${status}`, async () => {
      const { home } = installation(`${line('a')} until ${end}\n`);
      using _ = home;
      home.allow('demo.yaml', policy);
      const result = await home.run(['token', 'issue', 'demo', '--ttl', ttl], at);
      assert.equal(result.status, status, result.stderr);
      assert.match(result.stderr, message);
    });
  }
});
