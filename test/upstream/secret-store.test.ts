import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import type { SecretSource } from '../../src/policy/injection.ts';
import { SecretStore } from '../../src/upstream/secret-store.ts';
import { until as untilSo } from '../support/deadline.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** Part of every secret here: no message may hold it. */
const canary = 'c4nary';
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-secrets-'));

/** Where programs are found. */
const { PATH } = process.env;

let directory: string;
let count = 0;
let clock: ManualClock;
let told: string[];
let stores: SecretStore[];

beforeEach(() => {
  directory = path.join(root, String(count++));
  fs.mkdirSync(directory);
  clock = new ManualClock();
  told = [];
  stores = [];
});
afterEach(() => {
  for (const store of stores) store.close();
  assert.ok(!told.join('\n').includes(canary), told.join('\n'));
});
after(() => fs.rmSync(root, { recursive: true }));

function storeOf(
  sources: readonly SecretSource[],
  environment: Readonly<Record<string, string | undefined>> = { PATH },
  commandTimeoutMs = 10_000,
): SecretStore {
  const store = new SecretStore({
    environment,
    directory,
    clock,
    commandTimeoutMs,
    observer: {
      failed: (source, why, kept) => told.push(`${source} ${why}${kept ? ' (kept)' : ''}`),
      recovered: (source) => told.push(`${source} is back`),
      exposed: (source, why) => told.push(`${source} ${why}`),
    },
  });
  stores.push(store);
  store.use(sources);
  return store;
}

function ask(store: SecretStore, source: SecretSource): Promise<string | null> {
  return new Promise((resolve) => store.get(source, resolve));
}

/** What is known at once; undefined if one has to wait. */
function known(store: SecretStore, source: SecretSource): string | null | undefined {
  let answer: string | null | undefined;
  store.get(source, (secret) => {
    answer = secret;
  });
  return answer;
}

/** What was told since the last look. */
function news(): string[] {
  return told.splice(0);
}

function put(name: string, text: string | Buffer, mode = 0o600): string {
  const file = path.join(directory, name);
  fs.writeFileSync(file, text);
  fs.chmodSync(file, mode);
  return file;
}

describe('a variable', () => {
  const named = (name: string): SecretSource => ({ kind: 'env', name });
  const cases: readonly [
    what: string,
    value: string | undefined,
    secret: string | null,
    news: readonly string[],
  ][] = [
    ['is the secret as it stands', `${canary} x~`, `${canary} x~`, []],
    ['that is not set', undefined, null, ['the variable KEY is not set']],
    ['that is empty', '', null, ['the variable KEY is empty']],
    [
      'with a line end',
      `${canary}\n`,
      null,
      ['the variable KEY holds more than one line, or a byte outside visible ASCII'],
    ],
    [
      'with another header in it',
      `${canary}\r\nx-admin: 1`,
      null,
      ['the variable KEY holds more than one line, or a byte outside visible ASCII'],
    ],
    [
      'in another script',
      `${canary}é`,
      null,
      ['the variable KEY holds more than one line, or a byte outside visible ASCII'],
    ],
    ['that is too long', canary.repeat(2000), null, ['the variable KEY is longer than 8192 bytes']],
  ];
  for (const [what, value, secret, expected] of cases) {
    test(what, () => {
      const store = storeOf([named('KEY')], { KEY: value });
      assert.equal(known(store, named('KEY')), secret);
      assert.deepEqual(news(), expected);
    });
  }

  test('that objects inherit is not set', () => {
    const store = storeOf([named('constructor'), named('__proto__')]);
    assert.equal(known(store, named('constructor')), null);
    assert.equal(known(store, named('__proto__')), null);
  });

  test('that no policy names has no secret', () => {
    const store = storeOf([named('A')], { A: canary, B: canary });
    assert.equal(known(store, named('B')), null);
    store.use([named('B')]);
    assert.equal(known(store, named('B')), canary);
    assert.equal(known(store, named('A')), null);
    store.close();
    assert.equal(known(store, named('B')), null);
  });
});

describe('a file', () => {
  const source: SecretSource = { kind: 'file', path: 'key' };

  const contents: readonly [
    what: string,
    text: string | Buffer,
    secret: string | null,
    why?: RegExp,
  ][] = [
    ['without a line end', canary, canary],
    ['with a line feed', `${canary}\n`, canary],
    ['with both', `${canary}\r\n`, canary],
    ['with spaces', ` ${canary} `, ` ${canary} `],
    [
      'of 8192 bytes and a line end',
      `${canary}${'x'.repeat(8186)}\r\n`,
      `${canary}${'x'.repeat(8186)}`,
    ],
    ['of 8193 bytes', `${canary}${'x'.repeat(8187)}`, null, /longer than 8192/],
    ['of a megabyte', `${canary}${'x'.repeat(1_000_000)}`, null, /longer than 8192/],
    ['with two line ends', `${canary}\n\n`, null, /more than one line/],
    ['with a return alone', `${canary}\r`, null, /more than one line/],
    ['with two lines', `${canary}\nx: y\n`, null, /more than one line/],
    ['with a tab', `${canary}\t`, null, /visible ASCII/],
    ['with NUL', `${canary}\0`, null, /visible ASCII/],
    ['in UTF-8', `${canary}é`, null, /visible ASCII/],
    ['in UTF-16', Buffer.from(canary, 'utf16le'), null, /visible ASCII/],
    ['with DEL', `${canary}\x7f`, null, /visible ASCII/],
    ['that is empty', '', null, /is empty/],
    ['of a line end alone', '\n', null, /is empty/],
  ];
  for (const [what, text, secret, why] of contents) {
    test(what, () => {
      put('key', text);
      const store = storeOf([source]);
      assert.equal(known(store, source), secret);
      const heard = news();
      assert.equal(heard.length, why === undefined ? 0 : 1);
      if (why !== undefined) assert.match(heard[0] ?? '', why);
    });
  }

  test('that is no file', () => {
    fs.mkdirSync(path.join(directory, 'key'));
    const pipe = path.join(directory, 'pipe');
    assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
    const fromPipe: SecretSource = { kind: 'file', path: pipe };
    const store = storeOf([source, fromPipe]);
    assert.equal(known(store, source), null);
    assert.equal(known(store, fromPipe), null);
    assert.deepEqual(news(), [
      'the file key is not a regular file',
      `the file ${pipe} is not a regular file`,
    ]);
  });

  const modes: readonly [mode: number, served: boolean, why: RegExp | undefined][] = [
    [0o600, true, undefined],
    [0o400, true, undefined],
    [0o644, true, /can be read by others \(mode 0644\)/],
    [0o640, true, /can be read by others \(mode 0640\)/],
    [0o620, false, /can be written by others/],
    [0o602, false, /can be written by others/],
  ];
  for (const [mode, served, why] of modes) {
    test(`of mode ${mode.toString(8)}`, () => {
      put('key', canary, mode);
      const store = storeOf([source]);
      assert.equal(known(store, source), served ? canary : null);
      clock.advance(2000);
      assert.equal(known(store, source), served ? canary : null);
      const heard = news();
      assert.equal(heard.length, why === undefined ? 0 : 1);
      if (why !== undefined) assert.match(heard[0] ?? '', why);
    });
  }

  test('is read again when it has changed, looked at once a second', () => {
    put('key', `${canary}1`);
    const store = storeOf([source]);
    assert.equal(known(store, source), `${canary}1`);
    put('new', `${canary}2`);
    fs.renameSync(path.join(directory, 'new'), path.join(directory, 'key'));
    clock.advance(999);
    assert.equal(known(store, source), `${canary}1`);
    clock.advance(1);
    assert.equal(known(store, source), `${canary}2`);
    put('key', `${canary}33`);
    clock.advance(1000);
    assert.equal(known(store, source), `${canary}33`);
    assert.deepEqual(news(), []);
  });

  test('is read again at once after a reload', () => {
    put('key', `${canary}1`);
    const store = storeOf([source]);
    put('key', `${canary}2`);
    store.reload();
    assert.equal(known(store, source), `${canary}2`);
  });

  test('is not used any more when it is gone or no good, which is told once', () => {
    const file = put('key', canary);
    const store = storeOf([source]);
    fs.rmSync(file);
    for (let second = 0; second < 5; second++) {
      clock.advance(1000);
      assert.equal(known(store, source), null);
    }
    assert.deepEqual(news(), ['the file key cannot be read (ENOENT)']);
    put('key', `${canary}\n${canary}`);
    for (let second = 0; second < 5; second++) {
      clock.advance(1000);
      assert.equal(known(store, source), null);
    }
    assert.deepEqual(news(), [
      'the file key holds more than one line, or a byte outside visible ASCII',
    ]);
    put('key', `${canary}4`);
    clock.advance(1000);
    assert.equal(known(store, source), `${canary}4`);
    assert.deepEqual(news(), ['the file key is back']);
  });

  test('behind links, as Kubernetes changes it', () => {
    for (const [name, text] of [
      ['..1', '1'],
      ['..2', '2'],
    ] as const) {
      fs.mkdirSync(path.join(directory, name));
      put(`${name}/key`, `${canary}${text}`, 0o644);
    }
    fs.symlinkSync('..1', path.join(directory, '..data'));
    fs.symlinkSync('..data/key', path.join(directory, 'key'));
    const store = storeOf([source]);
    assert.equal(known(store, source), `${canary}1`);
    assert.equal(news().length, 1);
    fs.symlinkSync('..2', path.join(directory, '..next'));
    fs.renameSync(path.join(directory, '..next'), path.join(directory, '..data'));
    clock.advance(1000);
    assert.equal(known(store, source), `${canary}2`);
    assert.deepEqual(news(), [], 'told again that others can read it');
  });

  test('stays as it is under another policy', () => {
    const file = put('key', canary);
    const store = storeOf([source]);
    fs.rmSync(file);
    store.use([{ kind: 'file', path: 'other' }, { ...source }]);
    assert.equal(known(store, source), canary);
    assert.deepEqual(news(), ['the file other cannot be read (ENOENT)']);
  });
});

const minute = 60_000;

/** A program for Node; `runs` counts how often it ran. */
function program(code: string, refresh = minute): SecretSource {
  const counted = `require('fs').appendFileSync('runs', 'x');${code}`;
  return { kind: 'command', argv: [process.execPath, '-e', counted], refresh };
}

function runs(): number {
  return fs.statSync(path.join(directory, 'runs'), { throwIfNoEntry: false })?.size ?? 0;
}

/** What the program does is in a file, so that it can change. */
function changing(): SecretSource {
  return program("eval(require('fs').readFileSync('code', 'utf8'))");
}

const command = `the command ${process.execPath}`;

describe('a command', () => {
  test('runs once for all who wait, and not again while its secret is fresh', async () => {
    const source = program(`console.log('${canary}')`);
    const store = storeOf([source, { ...source }]);
    assert.equal(known(store, source), undefined);
    const answers = await Promise.all([ask(store, source), ask(store, source), ask(store, source)]);
    assert.deepEqual(answers, [canary, canary, canary]);
    clock.advance(minute - 1);
    assert.equal(known(store, source), canary);
    store.use([source]);
    assert.equal(known(store, source), canary);
    assert.equal(runs(), 1);
    assert.deepEqual(news(), []);
  });

  test('runs again when its secret is due, which nobody waits for', async () => {
    const source = changing();
    put('code', `console.log('${canary}1')`);
    const store = storeOf([source]);
    assert.equal(await ask(store, source), `${canary}1`);
    put('code', `console.log('${canary}2')`);
    clock.advance(minute);
    assert.equal(known(store, source), `${canary}1`);
    await until(() => known(store, source) === `${canary}2`);
    assert.equal(runs(), 2);
  });

  test('whose secret nobody asked for in a long time is waited for', async () => {
    const source = changing();
    put('code', `console.log('${canary}1')`);
    const store = storeOf([source]);
    assert.equal(await ask(store, source), `${canary}1`);
    put('code', `console.log('${canary}2')`);
    clock.advance(2 * minute);
    assert.equal(await ask(store, source), `${canary}2`);
    assert.deepEqual(news(), []);
  });

  test('that fails: the last secret counts for twice its time, then there is none', async () => {
    const source = changing();
    put('code', `console.log('${canary}')`);
    const store = storeOf([source]);
    assert.equal(await ask(store, source), canary);
    put('code', `console.error('${canary}'); console.log('${canary}'); process.exitCode = 3`);
    clock.advance(minute);
    assert.equal(known(store, source), canary);
    await until(() => told.length > 0);
    assert.deepEqual(news(), [`${command} ended with status 3 (kept)`]);
    clock.advance(minute - 1);
    assert.equal(known(store, source), canary);
    await until(() => runs() === 3);
    clock.advance(1);
    assert.equal(await ask(store, source), null);
    assert.deepEqual(news(), [`${command} ended with status 3`]);
    put('code', `console.log('${canary}5')`);
    clock.advance(minute);
    assert.equal(await ask(store, source), `${canary}5`);
    assert.deepEqual(news(), [`${command} is back`]);
  });

  test('that goes on failing is tried after 1, 2, 4 … 60 seconds', async () => {
    const source = program('process.exitCode = 1');
    const store = storeOf([source]);
    assert.equal(await ask(store, source), null);
    let tried = 1;
    for (const pause of [1, 2, 4, 8, 16, 32, 60, 60]) {
      clock.advance(pause * 1000 - 1);
      assert.equal(known(store, source), null, `${pause} s`);
      assert.equal(runs(), tried);
      clock.advance(1);
      assert.equal(known(store, source), undefined, `${pause} s`);
      assert.equal(await ask(store, source), null);
      tried++;
      assert.equal(runs(), tried);
    }
    assert.deepEqual(news(), [`${command} ended with status 1`]);
  });

  test('runs at once after a reload, in a pause as well', async () => {
    const source = changing();
    put('code', 'process.exitCode = 1');
    const store = storeOf([source]);
    assert.equal(await ask(store, source), null);
    put('code', `console.log('${canary}')`);
    assert.equal(known(store, source), null);
    store.reload();
    assert.equal(await ask(store, source), canary);
  });

  test('that is under way at a reload runs once more', async () => {
    const source = changing();
    put('code', `console.log('${canary}1')`);
    const store = storeOf([source]);
    store.reload();
    store.reload();
    await ask(store, source);
    put('code', `console.log('${canary}2')`);
    await until(() => runs() === 2);
    assert.match((await ask(store, source)) ?? '', new RegExp(`^${canary}[12]$`, 'u'));
  });

  test('that fails under way at a reload does not answer for the next run', async () => {
    const source = program(
      `if (require('fs').statSync('runs').size === 1) process.exit(1); console.log('${canary}')`,
    );
    const store = storeOf([source]);
    store.reload();
    assert.equal(await ask(store, source), canary);
  });

  const outputs: readonly [what: string, code: string, secret: string | null, why?: string][] = [
    ['without a line end', `process.stdout.write('${canary}')`, canary],
    ['with both line ends', `process.stdout.write('${canary}\\r\\n')`, canary],
    ['nothing', '', null, 'printed what cannot be used: it is empty'],
    [
      'two lines',
      `console.log('${canary}\\n${canary}')`,
      null,
      'printed what cannot be used: it holds more than one line, or a byte outside visible ASCII',
    ],
    [
      '8193 bytes',
      `console.log('${canary}'.padEnd(8193, 'x'))`,
      null,
      'printed what cannot be used: it is longer than 8192 bytes',
    ],
    [
      'without end',
      `const more = () => process.stdout.write('${canary}'.repeat(1000), more); more()`,
      null,
      'printed more than 65536 bytes',
    ],
    [
      'and dies',
      `process.stdout.write('${canary}', () => process.kill(process.pid, 'SIGTERM')); setInterval(() => {}, 1000)`,
      null,
      'was ended by SIGTERM',
    ],
  ];
  for (const [what, code, secret, why] of outputs) {
    test(`that prints ${what}`, async () => {
      const source = program(code);
      const store = storeOf([source]);
      assert.equal(await ask(store, source), secret);
      assert.deepEqual(news(), why === undefined ? [] : [`${command} ${why}`]);
    });
  }

  const starts: readonly [what: string, argv: readonly [string, ...string[]], why: string][] = [
    [
      'is not there',
      ['/nonexistent/vault', canary],
      'the command /nonexistent/vault cannot be run (ENOENT)',
    ],
    ['may not be run', ['./plain', canary], 'the command ./plain cannot be run (EACCES)'],
    [
      'has NUL in it',
      ['sh', `${canary}\0`],
      'the command sh cannot be run (ERR_INVALID_ARG_VALUE)',
    ],
    ['is too long', ['sh', 'x'.repeat(10_000_000)], 'the command sh cannot be run (E2BIG)'],
  ];
  for (const [what, argv, why] of starts) {
    test(`that ${what}`, async () => {
      put('plain', 'x');
      const source: SecretSource = { kind: 'command', argv, refresh: minute };
      const store = storeOf([source]);
      assert.equal(await ask(store, source), null);
      assert.deepEqual(news(), [why]);
    });
  }

  test('gets three variables, no shell, no input, and the directory to run in', async () => {
    const environment = {
      PATH,
      HOME: '/h',
      LANG: 'C.UTF-8',
      KEY: canary,
      LD_PRELOAD: 'x',
    };
    const code =
      "const fs = require('fs'); console.log(JSON.stringify([Object.keys(process.env).sort(), process.argv[1], fs.readFileSync(0, 'utf8'), process.cwd()]))";
    const argv = [process.execPath, '-e', code, '$HOME;`id`'] as const;
    const source: SecretSource = { kind: 'command', argv, refresh: minute };
    const store = storeOf([source], environment);
    assert.deepEqual(JSON.parse((await ask(store, source)) ?? ''), [
      ['HOME', 'LANG', 'PATH'],
      '$HOME;`id`',
      '',
      fs.realpathSync(directory),
    ]);
  });

  test('of the directory is found there', async () => {
    put('print-key', `#!/bin/sh\necho ${canary}\n`, 0o700);
    const source: SecretSource = { kind: 'command', argv: ['./print-key'], refresh: minute };
    assert.equal(await ask(storeOf([source]), source), canary);
  });

  test('that takes too long is ended, with all that it began', async () => {
    const source: SecretSource = {
      kind: 'command',
      argv: ['sh', '-c', `sleep 300 & echo $! > inner; echo $$ > outer; echo ${canary}; wait`],
      refresh: minute,
    };
    const store = storeOf([source], undefined, 1500);
    assert.equal(await ask(store, source), null);
    assert.deepEqual(news(), ['the command sh took longer than 1500 ms']);
    await until(() => hasEnded('inner') && hasEnded('outer'));
  });

  test('that leaves something behind does not wait for it', async () => {
    const source: SecretSource = {
      kind: 'command',
      argv: ['sh', '-c', `sleep 300 & echo $! > inner; echo ${canary}`],
      refresh: minute,
    };
    const store = storeOf([source]);
    assert.equal(await ask(store, source), canary);
    await until(() => hasEnded('inner'));
  });

  test('that nobody needs any more is ended, and whoever waits gets nothing', async () => {
    const source: SecretSource = {
      kind: 'command',
      argv: ['sh', '-c', 'echo $$ > outer; sleep 300'],
      refresh: minute,
    };
    const store = storeOf([source]);
    const waiting = ask(store, source);
    await until(() => fs.existsSync(path.join(directory, 'outer')) && pidIn('outer') > 0);
    store.use([]);
    assert.equal(await waiting, null);
    await until(() => hasEnded('outer'));
    assert.deepEqual(news(), []);
  });

  test('may be asked again, or given up, by whoever gets its answer', async () => {
    const source = program('process.exitCode = 1');
    const store = storeOf([source]);
    const answers: (string | null)[] = [];
    await new Promise<void>((resolve) => {
      store.get(source, (first) => {
        store.get(source, (second) => {
          answers.push(first, second);
          store.close();
          store.get(source, (third) => {
            answers.push(third);
            resolve();
          });
        });
      });
    });
    assert.deepEqual(answers, [null, null, null]);
    assert.equal(runs(), 1);
  });
});

/** Waits until it is so. */
function until(condition: () => boolean): Promise<void> {
  return untilSo(condition, () => told.join('\n'));
}

function pidIn(name: string): number {
  return Number(fs.readFileSync(path.join(directory, name), 'utf8'));
}

/** A process whose parent has not asked for its end yet is one that has ended. */
function hasEnded(name: string): boolean {
  try {
    const stat = fs.readFileSync(`/proc/${pidIn(name)}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return true;
  }
}
