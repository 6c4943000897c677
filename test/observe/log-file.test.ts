import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import { LogFile } from '../../src/observe/log-file.ts';
import { FakeClock } from './fake-clock.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-log-file-'));
after(() => fs.rmSync(root, { recursive: true }));

let directory = '';
let file = '';
let clock = new FakeClock();
let count = 0;
beforeEach(() => {
  directory = path.join(root, String(count++));
  file = path.join(directory, 'egress.jsonl');
  clock = new FakeClock();
});

/** After the interval at which the path is looked at. */
const later = 1001;

describe('a file', () => {
  test('is made with its directory, for the owner and to be read by the group', () => {
    const log = new LogFile(file, clock);
    assert.equal(fs.statSync(file).mode & 0o777, 0o640 & ~process.umask());
    assert.equal(fs.statSync(directory).mode & 0o777, 0o750 & ~process.umask());
    log.close();
  });

  test('is appended to', () => {
    fs.mkdirSync(directory);
    fs.writeFileSync(file, 'before\n');
    const log = new LogFile(file, clock);
    assert.ok(log.append('one\n'));
    assert.ok(log.append('zwölf 😀\n'));
    log.close();
    assert.equal(fs.readFileSync(file, 'utf8'), 'before\none\nzwölf 😀\n');
  });

  test('whose last line is torn gets a newline first', () => {
    fs.mkdirSync(directory);
    fs.writeFileSync(file, 'whole\n{"torn":');
    const log = new LogFile(file, clock);
    assert.ok(log.append('next\n'));
    log.close();
    assert.equal(fs.readFileSync(file, 'utf8'), 'whole\n{"torn":\nnext\n');
  });

  test('may be shared with another writer', () => {
    const one = new LogFile(file, clock);
    const two = new LogFile(file, clock);
    for (const log of [one, two, one, two]) assert.ok(log.append(log === one ? '1\n' : '2\n'));
    one.close();
    two.close();
    assert.equal(fs.readFileSync(file, 'utf8'), '1\n2\n1\n2\n');
  });

  test('is written no more once closed', () => {
    const log = new LogFile(file, clock);
    log.close();
    log.close();
    assert.equal(fs.readFileSync(file, 'utf8'), '');
  });
});

describe('the path', () => {
  test('is followed when the file was renamed', () => {
    const log = new LogFile(file, clock);
    assert.ok(log.append('old\n'));
    fs.renameSync(file, `${file}.1`);
    assert.ok(log.append('still old\n'));
    clock.advance(later);
    assert.ok(log.append('new\n'));
    assert.equal(fs.readFileSync(`${file}.1`, 'utf8'), 'old\nstill old\n');
    assert.equal(fs.readFileSync(file, 'utf8'), 'new\n');
    log.close();
  });

  test('is followed when another file took its place', () => {
    const log = new LogFile(file, clock);
    fs.renameSync(file, `${file}.1`);
    fs.writeFileSync(file, 'made by logrotate\n');
    clock.advance(later);
    assert.ok(log.append('new\n'));
    assert.equal(fs.readFileSync(file, 'utf8'), 'made by logrotate\nnew\n');
    log.close();
  });

  test('is made again when the file was deleted', () => {
    const log = new LogFile(file, clock);
    fs.unlinkSync(file);
    clock.advance(later);
    assert.ok(log.append('new\n'));
    assert.equal(fs.readFileSync(file, 'utf8'), 'new\n');
    log.close();
  });

  test('is made again when its directory was removed', () => {
    const log = new LogFile(file, clock);
    fs.rmSync(directory, { recursive: true });
    log.check();
    assert.ok(log.append('new\n'));
    assert.equal(fs.readFileSync(file, 'utf8'), 'new\n');
    log.close();
  });

  test('that cannot be opened refuses, until it can', () => {
    fs.writeFileSync(directory, 'a file where the directory should be');
    const log = new LogFile(file, clock);
    assert.match(String(log.error?.code), /^(EEXIST|ENOTDIR)$/);
    assert.equal(log.append('lost\n'), false);
    fs.unlinkSync(directory);
    assert.ok(log.append('new\n'));
    assert.equal(log.error, null);
    assert.equal(fs.readFileSync(file, 'utf8'), 'new\n');
    log.close();
  });

  test('that became a directory refuses', () => {
    const log = new LogFile(file, clock);
    fs.unlinkSync(file);
    fs.mkdirSync(file);
    clock.advance(later);
    assert.equal(log.append('lost\n'), false);
    assert.equal(log.error?.code, 'EISDIR');
    log.close();
  });
});

describe('a full device', () => {
  test('refuses and says why', () => {
    const log = new LogFile('/dev/full', clock);
    assert.equal(log.append('one\n'), false);
    assert.equal(log.error?.code, 'ENOSPC');
    assert.equal(log.keptLines, 0);
    log.close();
  });
});

describe('a named pipe', () => {
  function makePipe(): void {
    fs.mkdirSync(directory);
    execFileSync('mkfifo', [file]);
  }
  const openReader = () => fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);

  function drain(reader: number): string {
    const chunk = Buffer.alloc(1 << 20);
    let text = '';
    try {
      for (;;) text += chunk.toString('utf8', 0, fs.readSync(reader, chunk));
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
    }
    return text;
  }

  test('without a reader refuses, until there is one', () => {
    makePipe();
    const log = new LogFile(file, clock);
    assert.equal(log.append('lost\n'), false);
    assert.equal(log.error?.code, 'ENXIO');
    const reader = openReader();
    assert.ok(log.append('one\n'));
    assert.equal(drain(reader), 'one\n');
    fs.closeSync(reader);
    assert.equal(log.append('lost\n'), false);
    assert.equal(log.error?.code, 'EPIPE');
    log.close();
  });

  test('that is full refuses; what it took of a line is ended before the next', () => {
    makePipe();
    const reader = openReader();
    const log = new LogFile(file, clock);
    const line = `${'x'.repeat(5999)}\n`;
    let accepted = 0;
    while (log.append(line)) accepted++;
    assert.ok(accepted > 0);
    assert.equal(log.error?.code, 'EAGAIN');
    assert.equal(log.append('refused\n'), false);
    const before = drain(reader);
    assert.equal(before.slice(0, accepted * line.length), line.repeat(accepted));
    const torn = before.slice(accepted * line.length);
    assert.ok(torn.length > 0 && !torn.includes('\n'));
    assert.ok(log.append('next\n'));
    assert.equal(drain(reader), '\nnext\n');
    fs.closeSync(reader);
    log.close();
  });

  test('tells how many lines of a refused batch it took', () => {
    makePipe();
    const reader = openReader();
    const log = new LogFile(file, clock);
    const line = `${'x'.repeat(5999)}\n`;
    assert.equal(log.append(line.repeat(100)), false);
    const taken = drain(reader);
    assert.equal(log.keptLines, taken.split('\n').length - 1);
    assert.ok(log.keptLines > 0 && log.keptLines < 100);
    fs.closeSync(reader);
    log.close();
  });
});
