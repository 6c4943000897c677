import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  changeSecretFile,
  createSecretFile,
  readSecretFile,
  replaceSecretFile,
  SecretFileError,
} from '../../src/core/secret-file.ts';

let root: string;
let file: string;
beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-secret-'));
  file = path.join(root, 'deep', 'er', 'x.key');
});
afterEach(() => fs.rmSync(root, { recursive: true }));

const problem = (message: RegExp) => (error: unknown) =>
  error instanceof SecretFileError && message.test(error.message) && error.message.startsWith(root);

describe('createSecretFile', () => {
  test('makes the file and its directories for the owner alone', () => {
    assert.equal(createSecretFile(file, 'secret\n'), true);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o700);
    assert.equal(readSecretFile(file), 'secret\n');
  });

  test('leaves a file that is there, and nothing else behind', () => {
    createSecretFile(file, 'first');
    assert.equal(createSecretFile(file, 'second'), false);
    assert.equal(readSecretFile(file), 'first');
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['x.key']);
  });

  test('does not write through a dangling link', () => {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.symlinkSync(path.join(root, 'elsewhere'), file);
    assert.equal(createSecretFile(file, 'secret'), false);
    assert.equal(fs.existsSync(path.join(root, 'elsewhere')), false);
  });

  test('says so where it cannot', () => {
    fs.writeFileSync(path.join(root, 'deep'), '');
    assert.throws(() => createSecretFile(file, 'x'), problem(/cannot be made \(ENOTDIR\)/u));
  });
});

describe('replaceSecretFile', () => {
  test('makes the file, and another one in its place', () => {
    replaceSecretFile(file, 'first');
    fs.chmodSync(file, 0o644);
    const open = fs.openSync(file, 'r');
    replaceSecretFile(file, 'second');
    assert.equal(readSecretFile(file), 'second');
    assert.equal(fs.readFileSync(open, 'utf8'), 'first', 'whoever reads the old one goes on');
    fs.closeSync(open);
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['x.key']);
  });

  test('replaces a link, and not what it points to', () => {
    const elsewhere = path.join(root, 'elsewhere');
    fs.writeFileSync(elsewhere, 'kept');
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.symlinkSync(elsewhere, file);
    replaceSecretFile(file, 'new');
    assert.equal(readSecretFile(file), 'new');
    assert.equal(fs.readFileSync(elsewhere, 'utf8'), 'kept');
  });

  test('says so where it cannot, and leaves nothing behind', () => {
    fs.mkdirSync(file, { recursive: true });
    fs.writeFileSync(path.join(file, 'x'), '');
    assert.throws(() => replaceSecretFile(file, 'x'), problem(/cannot be made \(EISDIR\)/u));
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['x.key']);
    const below = path.join(file, 'x', 'y.key');
    assert.throws(
      () => replaceSecretFile(below, 'x'),
      problem(/cannot be made \(E(?:NOTDIR|EXIST)\)/u),
    );
  });
});

describe('readSecretFile', () => {
  test('is null for what is not there', () => assert.equal(readSecretFile(file), null));

  test('refuses a named pipe without waiting for a writer', () => {
    const pipe = path.join(root, 'pipe');
    execFileSync('mkfifo', ['-m', '600', pipe]);
    assert.throws(() => readSecretFile(pipe), problem(/not a regular file/u));
  });

  test('looks at the mode of the file, not of the process that made it', () => {
    createSecretFile(file, 'x');
    for (const mode of [0o604, 0o640, 0o602]) {
      fs.chmodSync(file, mode);
      assert.throws(() => readSecretFile(file), problem(/chmod 600/u));
    }
    fs.chmodSync(file, 0o400);
    assert.equal(readSecretFile(file), 'x');
  });
});

describe('changeSecretFile', () => {
  test('puts the new text in place of the old one, for the owner alone, and leaves nothing beside it', () => {
    createSecretFile(file, 'old');
    changeSecretFile(file, (text) => `${text} and new`);
    assert.equal(readSecretFile(file), 'old and new');
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['x.key']);
  });

  test('leaves the old text, and no lock, if the change fails', () => {
    createSecretFile(file, 'old');
    const fail = () => {
      throw new RangeError('no');
    };
    assert.throws(() => changeSecretFile(file, fail), RangeError);
    assert.equal(readSecretFile(file), 'old');
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['x.key']);
  });

  test('makes no file where there is none', () => {
    assert.throws(() => changeSecretFile(file, () => 'new'), problem(/does not exist/u));
    assert.deepEqual(fs.readdirSync(path.dirname(file)), []);
  });

  test('does not go past a lock', () => {
    createSecretFile(file, 'old');
    fs.writeFileSync(`${file}.lock`, '');
    assert.throws(() => changeSecretFile(file, () => 'new'), problem(/remove .*x\.key\.lock/u));
    assert.equal(readSecretFile(file), 'old');
  });
});
