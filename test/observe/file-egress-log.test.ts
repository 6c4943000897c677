import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { FileEgressLog } from '../../src/observe/file-egress-log.ts';
import {
  assertSequence,
  parseEgressLine,
  parseEgressLog,
  readEgressLog,
  waitForLine,
} from '../support/egress-lines.ts';
import { FakeClock } from './fake-clock.ts';
import { agentNamed } from './records.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-egress-log-'));
after(() => fs.rmSync(root, { recursive: true }));

const agent = agentNamed('demo');
const clock = new FakeClock();
let messages: string[] = [];
let file = '';
let count = 0;
beforeEach(() => {
  messages = [];
  file = path.join(root, String(count++), 'egress.jsonl');
});

function open(target = file): FileEgressLog {
  const note = (message: string) => messages.push(message);
  const observer = { failed: note, recovered: note };
  return new FileEgressLog({ path: target, clock, node: 'host/0', observer });
}

const ids = () => readEgressLog(file).map((line) => line.id);
const child = (name: string) => path.join(import.meta.dirname, name);

describe('write', () => {
  test('has handed the line over when it returns', () => {
    const log = open();
    assert.equal(log.write({ event: 'start' }), true);
    assert.equal(log.write({ event: 'open', id: 'a', agent, verdict: 'allow' }), true);
    const lines = readEgressLog(file);
    assert.deepEqual(
      lines.map((line) => [line.seq, line.event, line.node]),
      [
        [1, 'start', 'host/0'],
        [2, 'open', 'host/0'],
      ],
    );
    log.close();
  });

  test('takes the waiting lines along, in order', () => {
    const log = open();
    log.writeLater({ event: 'close', id: 'a' });
    log.writeLater({ event: 'close', id: 'b' });
    assert.deepEqual(ids(), []);
    log.write({ event: 'open', id: 'c' });
    assert.deepEqual(ids(), ['a', 'b', 'c']);
    assertSequence(readEgressLog(file));
    log.close();
  });

  test('is refused once the log is closed', () => {
    const log = open();
    log.close();
    assert.equal(log.write({ event: 'open', id: 'late' }), false);
    log.writeLater({ event: 'close', id: 'late' });
    log.close();
    assert.deepEqual([ids(), log.healthy], [[], false]);
  });
});

describe('writeLater', () => {
  test('is written by the end of the turn', async () => {
    const log = open();
    log.writeLater({ event: 'close', id: 'a' });
    await turn();
    assert.deepEqual(ids(), ['a']);
    log.writeLater({ event: 'close', id: 'b' });
    await turn();
    assert.deepEqual(ids(), ['a', 'b']);
    log.close();
  });

  test('is written by close', () => {
    const log = open();
    log.writeLater({ event: 'close', id: 'a' });
    log.close();
    assert.deepEqual(ids(), ['a']);
  });

  test('loses nothing of a large burst while all is well', () => {
    const log = open();
    for (let i = 0; i < 20_000; i++) log.writeLater({ event: 'close', id: String(i), agent });
    log.close();
    assert.equal(ids().length, 20_000);
    assertSequence(readEgressLog(file));
    assert.equal(log.dropped, 0);
  });
});

describe('a log that cannot be written', () => {
  test('refuses, says so once, and recovers by itself', () => {
    fs.mkdirSync(path.dirname(file));
    fs.symlinkSync('/dev/full', file);
    const log = open();
    log.write({ event: 'open', id: 'refused' });
    log.write({ event: 'open', id: 'refused too' });
    assert.deepEqual([log.healthy, log.failures], [false, 2]);
    assert.equal(messages.length, 1);
    assert.match(messages[0] ?? '', /egress\.jsonl cannot be written .*ENOSPC.*log_unavailable/);

    log.writeLater({ event: 'close', id: 'kept' });
    fs.unlinkSync(file);
    clock.advance(1001);
    assert.equal(log.write({ event: 'open', id: 'accepted' }), true);
    assert.deepEqual([log.healthy, messages.length], [true, 2]);
    assert.match(messages[1] ?? '', /can be written again; refused in all: 2/);
    assert.deepEqual(ids(), ['kept', 'accepted']);
    assertSequence(readEgressLog(file));
    log.close();
  });

  test('forgets the open lines it refused and keeps the others', () => {
    fs.mkdirSync(path.dirname(file));
    fs.symlinkSync('/dev/full', file);
    const log = open();
    for (const event of ['open', 'block', 'open', 'reload'] as const) {
      assert.equal(log.write({ event, id: event }), false);
    }
    fs.unlinkSync(file);
    log.reopen();
    assert.deepEqual(ids(), ['block', 'reload']);
    assertSequence(readEgressLog(file));
    assert.deepEqual([log.failures, log.dropped, log.healthy], [4, 0, true]);
    log.close();
  });

  test('keeps what fits of the lines that nobody waits for; the gap shows the rest', () => {
    fs.mkdirSync(path.dirname(file));
    fs.symlinkSync('/dev/full', file);
    const log = open();
    const record = { event: 'close', id: 'c', agent, path: `/${'x'.repeat(900)}` } as const;
    for (let i = 0; i < 2000; i++) log.writeLater(record);
    assert.ok(log.dropped > 0 && log.dropped < 2000);
    fs.unlinkSync(file);
    log.reopen();
    assert.equal(log.write({ event: 'open', id: 'next' }), true);
    const lines = readEgressLog(file);
    assert.equal(lines.length, 2000 - log.dropped + 1);
    assert.equal(lines.at(-1)?.seq, 2001);
    assertSequence(lines.slice(0, -1));
    log.close();
  });

  test('gets over it without a write, too', async () => {
    fs.mkdirSync(path.dirname(file));
    fs.symlinkSync('/dev/full', file);
    const log = open();
    log.writeLater({ event: 'close', id: 'kept' });
    await turn();
    assert.equal(log.healthy, false);
    fs.unlinkSync(file);
    fs.writeFileSync(file, '');
    await waitForLine(file, { id: 'kept' });
    assert.equal(log.healthy, true);
    log.close();
  });

  test('starts as unhealthy if it cannot be opened', () => {
    fs.writeFileSync(path.dirname(file), 'in the way');
    const log = open();
    assert.deepEqual([log.healthy, messages.length], [false, 1]);
    log.close();
  });
});

describe('reopen', () => {
  test('follows a rotation at once; waiting lines go to the old file', () => {
    const log = open();
    log.write({ event: 'open', id: 'a' });
    log.writeLater({ event: 'close', id: 'a' });
    fs.renameSync(file, `${file}.1`);
    log.reopen();
    log.write({ event: 'open', id: 'b' });
    assert.deepEqual(ids(), ['b']);
    assertSequence([...readEgressLog(`${file}.1`), ...readEgressLog(file)]);
    log.close();
  });
});

describe('a disk that fills up', () => {
  const namespace = process.getuid?.() === 0 ? ['-m'] : ['-r', '-m'];
  const script = 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2" "$3" "$1"';
  const possible =
    spawnSync('unshare', [...namespace, 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']).status === 0;

  test('keeps every line that was accepted, none that was refused, and no torn one', {
    skip: possible ? false : 'needs a mount namespace (unshare -rm)',
  }, () => {
    const disk = path.join(root, 'disk');
    fs.mkdirSync(disk);
    const command = ['sh', '-c', script, 'sh', disk, process.execPath, child('full-disk-child.ts')];
    const run = spawnSync('unshare', [...namespace, ...command], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    const result = JSON.parse(run.stdout) as {
      acknowledged: string[];
      refused: number;
      healthyWhenFull: boolean[];
      atTheEnd: number;
      acceptedAgain: boolean[];
      messages: string[];
      log: string;
    };
    const lines = parseEgressLog(result.log);
    assert.deepEqual(
      lines.filter((line) => line.event === 'open').map((line) => line.id),
      result.acknowledged,
    );
    assertSequence(lines);
    assert.ok(result.refused >= 2 && result.acknowledged.length > 20);
    assert.deepEqual(result.healthyWhenFull, [false, false]);
    assert.deepEqual(result.acceptedAgain, [true, true]);
    assert.equal(result.atTheEnd, 0x0a);
    assert.equal(lines.filter((line) => line.id === 'waiting').length, 2);
    assert.match(result.messages[0] ?? '', /ENOSPC/);
  });
});

describe('a process that is killed', () => {
  test('has written every line that it accepted', async () => {
    const writer = spawn(process.execPath, [child('acknowledging-child.ts'), file], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let acknowledged = '';
    writer.stderr.setEncoding('utf8').on('data', (text: string) => {
      acknowledged += text;
      if (acknowledged.length > 20_000) writer.kill('SIGKILL');
    });
    const [, signal] = (await once(writer, 'close')) as [number | null, string | null];
    assert.equal(signal, 'SIGKILL', acknowledged.slice(-500));
    const told = acknowledged.split('\n').slice(0, -1);
    const whole = readEgressLog(file);
    assertSequence(whole);
    const written = new Set(whole.filter((line) => line.event === 'open').map((line) => line.id));
    assert.deepEqual(
      told.filter((id) => !written.has(id)),
      [],
    );
  });
});

describe('standard output', () => {
  const program = `
    import { systemClock } from '${path.resolve(import.meta.dirname, '../../src/core/clock.ts')}';
    import { FileEgressLog } from '${path.resolve(import.meta.dirname, '../../src/observe/file-egress-log.ts')}';
    const observer = { failed() {}, recovered() {} };
    const log = new FileEgressLog({ path: '-', clock: systemClock, node: 'h/0', observer });
    let refused = 0;
    for (let i = 0; i < 3000; i++) if (!log.write({ event: 'open', id: String(i) })) refused++;
    log.reopen();
    if (!log.write({ event: 'stop' })) refused++;
    log.close();
    process.exitCode = refused > 0 ? 1 : 0;
  `;
  const args = ['--input-type=module-typescript', '--eval', program];

  test('that is read', async () => {
    const writer = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    writer.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    const [status] = (await once(writer, 'close')) as [number | null];
    assert.equal(status, 0);
    const lines = parseEgressLog(text);
    assert.equal(lines.length, 3001);
    assertSequence(lines);
  });

  test('as a pipe that nobody reads refuses instead of hanging', () => {
    fs.mkdirSync(path.dirname(file));
    execFileSync('mkfifo', [file]);
    const fd = fs.openSync(file, 'r+');
    const run = spawnSync(process.execPath, args, { stdio: ['ignore', fd, 'inherit'] });
    fs.closeSync(fd);
    assert.equal(run.status, 1);
  });

  test('as a file', () => {
    fs.mkdirSync(path.dirname(file));
    const fd = fs.openSync(file, 'a');
    const run = spawnSync(process.execPath, args, { stdio: ['ignore', fd, 'inherit'] });
    fs.closeSync(fd);
    assert.equal(run.status, 0);
    assert.equal(readEgressLog(file).length, 3001);
  });
});

describe('the reader of the tests', () => {
  const good = { time: '2026-07-01T12:00:05.007Z', event: 'start', node: 'h/0', seq: 1 };
  const bad: [why: string, text: string][] = [
    ['torn', '{"time":"2026'],
    ['another order', JSON.stringify({ seq: 1, event: 'start', time: good.time, node: 'h/0' })],
    ['an unknown key', JSON.stringify({ ...good, extra: 1 })],
    ['no seq', JSON.stringify({ ...good, seq: undefined })],
    ['another time', JSON.stringify({ ...good, time: '2026-07-01T12:00:05Z' })],
    ['a raw DEL', JSON.stringify({ ...good, node: 'h\u007f' })],
    ['too long', JSON.stringify({ ...good, node: 'h'.repeat(8192) })],
  ];
  test('takes a good line', () => {
    assert.deepEqual(parseEgressLine(JSON.stringify(good)), good);
  });
  for (const [why, text] of bad) {
    test(`refuses ${why}`, () => assert.throws(() => parseEgressLine(text)));
  }
});
