import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { makeDirectory } from '../../src/core/directory.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-directory-'));
after(() => fs.rmSync(root, { recursive: true }));

describe('a directory', () => {
  test('is made with those above it', () => {
    makeDirectory(path.join(root, 'a/b/c'), 0o700);
    assert.equal(fs.statSync(path.join(root, 'a/b/c')).mode & 0o777, 0o700);
  });

  test('that is there stays as it is', () => {
    fs.mkdirSync(path.join(root, 'open'), 0o755);
    makeDirectory(path.join(root, 'open'), 0o700);
    assert.equal(fs.statSync(path.join(root, 'open')).mode & 0o777, 0o755);
  });

  test('cannot be below a file', () => {
    fs.writeFileSync(path.join(root, 'file'), '');
    assert.throws(() => makeDirectory(path.join(root, 'file/a'), 0o700), { code: 'ENOTDIR' });
    assert.throws(() => makeDirectory(path.join(root, 'file'), 0o700), { code: 'ENOTDIR' });
  });

  test('cannot be below /proc, which is said at once', {
    skip: !fs.existsSync('/proc/self'),
  }, () => {
    assert.throws(() => makeDirectory('/proc/none/a/b', 0o700), { code: 'ENOENT' });
  });
});
