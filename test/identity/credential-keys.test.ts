import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { SecretFileError } from '../../src/core/secret-file.ts';
import {
  loadCredentialKeys,
  openCredentialKeys,
  parseCredentialKeys,
} from '../../src/identity/credential-keys.ts';

let directory: string;
let file: string;
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-keys-'));
  file = path.join(directory, 'certs', 'credentials.key');
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

const line = (digit: string): string => digit.repeat(64);

function put(content: string | Buffer, mode = 0o600): void {
  fs.mkdirSync(path.dirname(file), { mode: 0o700 });
  fs.writeFileSync(file, content);
  fs.chmodSync(file, mode);
}

const problem = (pattern: RegExp) => (error: unknown) =>
  error instanceof SecretFileError && pattern.test(error.message) && error.message.includes(file);

describe('the first start', () => {
  test('makes a key that only its owner can read, and the next start loads it', () => {
    const made = openCredentialKeys(file);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o700);
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['credentials.key']);
    const loaded = openCredentialKeys(file);
    assert.equal(loaded.signing.id, made.signing.id);
    assert.ok(loaded.signing.key.equals(made.signing.key));
    assert.equal(loaded.find(made.signing.id), loaded.signing);
  });

  test('makes different keys in different places', () => {
    const other = path.join(directory, 'other.key');
    assert.notEqual(openCredentialKeys(file).signing.id, openCredentialKeys(other).signing.id);
  });

  test('of several processes at once agrees on one key', async () => {
    const module = path.join(import.meta.dirname, '../../src/identity/credential-keys.ts');
    const script = `import { openCredentialKeys } from ${JSON.stringify(module)};
      process.stdout.write(openCredentialKeys(${JSON.stringify(file)}).signing.id);`;
    const ids = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const args = ['--input-type=module', '-e', script];
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
        const [id] = await Promise.all([text(child.stdout), once(child, 'exit')]);
        return id;
      }),
    );
    assert.match(ids[0] ?? '', /^[0-9a-f]{8}$/u);
    assert.equal(new Set(ids).size, 1);
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['credentials.key']);
  });

  test('in a place where nothing can be made says so', () => {
    fs.writeFileSync(path.join(directory, 'certs'), '');
    assert.throws(
      () => openCredentialKeys(file),
      problem(/cannot be (?:read|made) \(ENOTDIR\)|EEXIST/u),
    );
  });
});

describe('several keys', () => {
  test('the first signs, all verify', () => {
    put(`# new\n${line('a')}\n\n  ${line('b')}  \n`);
    const keys = loadCredentialKeys(file);
    const old = parseCredentialKeys(line('b'), file).signing;
    assert.equal(keys.signing.id, parseCredentialKeys(line('a'), file).signing.id);
    assert.equal(keys.find(old.id)?.id, old.id);
    assert.equal(keys.find('00000000'), undefined);
    assert.equal(keys.find('__proto__'), undefined);
  });
});

describe('refuses', () => {
  for (const mode of [0o640, 0o604, 0o620, 0o602, 0o660, 0o644, 0o601]) {
    test(`mode ${mode.toString(8)}`, () => {
      put(line('a'), mode);
      assert.throws(
        () => openCredentialKeys(file),
        problem(new RegExp(`mode 0${mode.toString(8)}.*chmod 600`, 'u')),
      );
    });
  }

  const contents: readonly [string, string | Buffer, RegExp][] = [
    ['an empty file', '', /holds no key/u],
    ['comments alone', '# a\n\n', /holds no key/u],
    ['a short key', line('a').slice(1), /:1 is not a key/u],
    ['a long key', `${line('a')}a`, /:1 is not a key/u],
    ['upper case', line('A'), /:1 is not a key/u],
    ['a second line that is none', `${line('a')}\nx\n`, /:2 is not a key/u],
    ['the same key twice', `${line('a')}\n# again\n${line('a')}\n`, /:3 repeats a key/u],
    ['binary', Buffer.alloc(32, 0xff), /:1 is not a key/u],
    ['a huge file', `#${'x'.repeat(70_000)}\n${line('a')}`, /too large/u],
  ];
  for (const [what, content, message] of contents) {
    test(what, () => {
      put(content);
      assert.throws(() => openCredentialKeys(file), problem(message));
    });
  }

  test('a symbolic link, also a dangling one', () => {
    const target = path.join(directory, 'real.key');
    fs.mkdirSync(path.dirname(file));
    fs.symlinkSync(target, file);
    assert.throws(() => openCredentialKeys(file), problem(/symbolic link/u));
    fs.writeFileSync(target, line('a'), { mode: 0o600 });
    assert.throws(() => openCredentialKeys(file), problem(/symbolic link/u));
  });

  test('a directory', () => {
    fs.mkdirSync(file, { recursive: true, mode: 0o700 });
    assert.throws(() => openCredentialKeys(file), problem(/not a regular file/u));
  });

  test('a missing file where only loading is asked', () => {
    assert.throws(() => loadCredentialKeys(file), problem(/does not exist/u));
    assert.equal(fs.existsSync(path.dirname(file)), false);
  });

  test('and never puts key material into the message', () => {
    put(`${line('a')}\n${line('b')}c\n`);
    assert.throws(
      () => loadCredentialKeys(file),
      (error) => error instanceof Error && !/aaaa|bbbb/u.test(error.message),
    );
  });
});
