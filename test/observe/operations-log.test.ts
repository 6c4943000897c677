import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  createOperationsLog,
  type OperationsLogOptions,
} from '../../src/observe/operations-log.ts';
import { FakeClock } from './fake-clock.ts';

function capture(options: OperationsLogOptions) {
  const lines: string[] = [];
  const write = (line: string) => lines.push(line);
  return { lines, log: createOperationsLog({ clock: new FakeClock(), write, ...options }) };
}

describe('as JSON', () => {
  test('a message is one line with level, time, fields and text', () => {
    const { lines, log } = capture({ readable: false });
    log.warn('allowlists changed', { file: 'a.yaml', problems: 2 });
    assert.equal(lines.length, 1);
    assert.ok(lines[0]?.endsWith('}\n'));
    assert.deepEqual(JSON.parse(lines[0] ?? ''), {
      level: 'warn',
      time: '2026-01-01T00:00:00.000Z',
      file: 'a.yaml',
      problems: 2,
      msg: 'allowlists changed',
    });
  });

  test('nothing in it can move a cursor or forge a line', () => {
    const { lines, log } = capture({ readable: false });
    log.error('a\nb\u001b[2J\u009b\u202e', { host: '\u007f\u2028' });
    assert.match(lines[0] ?? '', /^[\u0020-\u007e]+\n$/);
    assert.equal((JSON.parse(lines[0] ?? '') as { msg: string }).msg, 'a\nb\u001b[2J\u009b\u202e');
  });

  test('no secret is in it', () => {
    const { lines, log } = capture({ readable: false });
    const err = new Error('refused Basic aHVudGVyMg==');
    log.error('Bearer aHVudGVyMg==', { err, 'proxy-authorization': 'aHVudGVyMg==' });
    assert.ok(!lines.join('').includes('aHVudGVyMg'));
    assert.equal(lines.join('').match(/\[redacted\]/g)?.length, 4);
  });
});

describe('for a person', () => {
  test('a message is one line of time, level, text and fields', () => {
    const { lines, log } = capture({ readable: true });
    log.info('listening', { address: '127.0.0.1:3128', workers: 2, note: 'two words' });
    assert.deepEqual(lines, [
      '00:00:00 info  listening  address=127.0.0.1:3128  workers=2  note="two words"\n',
    ]);
  });

  test('nothing in it can move a cursor or forge a line', () => {
    const { lines, log } = capture({ readable: true });
    log.info('a\nb\u001b[2J', { host: '\u202ex' });
    assert.match(lines[0] ?? '', /^[\u0020-\u007e]+\n$/);
  });
});

describe('the level', () => {
  const cases: [level: 'debug' | 'info' | 'warn' | 'error' | 'silent', written: string[]][] = [
    ['debug', ['d', 'i', 'w', 'e']],
    ['info', ['i', 'w', 'e']],
    ['warn', ['w', 'e']],
    ['error', ['e']],
    ['silent', []],
  ];
  for (const [level, written] of cases) {
    test(`${level} writes ${written.length} of 4`, () => {
      const { lines, log } = capture({ level, readable: false });
      log.debug('d');
      log.info('i');
      log.warn('w');
      log.error('e');
      assert.deepEqual(
        lines.map((line) => (JSON.parse(line) as { msg: string }).msg),
        written,
      );
    });
  }
});

describe('standard error', () => {
  const module = path.resolve(import.meta.dirname, '../../src/observe/operations-log.ts');
  const program = `
    import fs from 'node:fs';
    import { createOperationsLog } from '${module}';
    const log = createOperationsLog();
    if (process.argv[1] === 'closed') fs.closeSync(2);
    for (let i = 0; i < 100; i++) log.info('message ' + i);
    process.exit(7);
  `;
  const args = ['--input-type=module-typescript', '--eval', program];

  test('has every message when the process exits at once', () => {
    const run = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.equal(run.status, 7);
    assert.equal(run.stderr.trimEnd().split('\n').length, 100);
  });

  test('that is gone does not end the process', () => {
    assert.equal(spawnSync(process.execPath, [...args, 'closed']).status, 7);
  });
});
