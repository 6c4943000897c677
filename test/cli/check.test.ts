import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { formatProblem } from '../../src/config/problem.ts';
import { Installation } from '../support/command.ts';

const good = 'agents: {demo: {owner: a@example.com, purpose: p, allow: [example.com]}}\n';
const bad = `agents:
  demo:
    owner: a@example.com
    purpose: p
    allow_domain: [example.com]
    allow: ["*.github.io", dns.google]
`;
const main = path.join(import.meta.dirname, '../../src/main.ts');
const root = path.dirname(path.dirname(main));

function installation(text: string): Installation {
  const made = new Installation();
  made.allow('agents.yaml', text);
  return made;
}

describe('check', () => {
  test('of good files prints their size and exits 0', async () => {
    using home = installation(good);
    const { status, stdout, stderr } = await home.run(['check']);
    assert.equal(status, 0);
    assert.equal(stderr, '');
    assert.match(
      stdout,
      /^ok: 1 file, 1 agent, 0 groups, 1 entry; 0 errors, 0 warnings, policy [0-9a-f]{12}\n$/u,
    );
  });

  test('an entry that names a listener of the settings in force is an error', async () => {
    const moved = 'listen: [127.0.0.1:4128]\nadmin: "[::1]:4129"\n';
    const cases = [
      ['127.0.0.1:3128', undefined, true],
      ['127.0.0.1:3128', moved, false],
      ['http://127.0.0.1:3129', undefined, true],
      ['tcp://127.0.0.1:3129', undefined, true],
      ['127.0.0.1:4128', moved, true],
      ['"[::1]:4129"', moved, true],
      ['{host: 127.0.0.1, ports: [443, 3128]}', undefined, true],
      ['127.0.0.0/8:3128', undefined, false],
      ['127.0.0.1', undefined, false],
      ['127.0.0.2:3128', undefined, false],
    ] as const;
    for (const [entry, config, refused] of cases) {
      using home = installation(
        `agents: {demo: {owner: a@example.com, purpose: p, allow: [${entry}]}}\n`,
      );
      const flags: string[] = [];
      if (config !== undefined) {
        fs.writeFileSync(path.join(home.root, 'c.yaml'), config);
        flags.push('--config', path.join(home.root, 'c.yaml'));
      }
      const { status, stdout } = await home.run(['check', ...flags], Date.now(), {
        SALLYPORT_ADMIN: '',
      });
      assert.equal(status, refused ? 1 : 0, `${entry} ${stdout}`);
      assert.equal(/agents\.yaml:1:\d+ {2}own-listener {2}/u.test(stdout), refused, entry);
    }
  });

  test('of bad files prints every problem with its place and hint, and exits 1', async () => {
    using home = installation(bad);
    const { status, stdout } = await home.run(['check']);
    assert.equal(status, 1);
    assert.deepEqual(
      stdout
        .split('\n')
        .map((line) => line.split('  ', 2).join('  '))
        .filter((line) => /^agents/u.test(line)),
      [
        'agents.yaml:5:5  unknown-key',
        'agents.yaml:6:13  broad-wildcard',
        'agents.yaml:6:28  doh-host',
      ],
    );
    assert.match(stdout, /did you mean `allow`\?/u);
    assert.match(stdout, /doh-host {2}warning: /u);
    assert.match(
      stdout,
      /\nnot usable: 1 file, 1 agent, 0 groups, 2 entries; 2 errors, 1 warning\n$/u,
    );
  });

  test('--json prints the contract’s object and nothing else', async () => {
    using home = installation(bad);
    const { status, stdout } = await home.run(['check', '--json']);
    assert.equal(status, 1);
    const printed = JSON.parse(stdout);
    assert.deepEqual(Object.keys(printed), ['ok', 'problems']);
    assert.equal(printed.ok, false);
    assert.equal(printed.problems.length, 3);
    for (const problem of printed.problems) {
      assert.deepEqual(Object.keys(problem), [
        'file',
        'line',
        'column',
        'severity',
        'code',
        'message',
        'hint',
      ]);
      assert.match(formatProblem(problem), /^agents\.yaml:\d+:\d+ {2}[a-z-]+ {2}.+\n {4}.+$/u);
    }
    assert.deepEqual(
      printed.problems.map((problem: { severity: string }) => problem.severity),
      ['error', 'error', 'warning'],
    );
  });

  test('warnings alone exit 0', async () => {
    using home = installation('groups: {}\n');
    const { status, stdout } = await home.run(['check', '--json']);
    assert.equal(status, 0);
    const printed = JSON.parse(stdout);
    assert.equal(printed.ok, true);
    assert.equal(printed.problems[0].code, 'no-agents');
  });

  test('takes a directory as DIR, --allowlists, variable or setting', async () => {
    using home = installation(good);
    const config = path.join(home.root, 'sallyport.yaml');
    fs.writeFileSync(config, `allowlists: ${home.allowlists}\n`);
    const elsewhere = { SALLYPORT_ALLOWLISTS: '/nonexistent' };
    for (const argv of [[home.allowlists], ['--allowlists', home.allowlists]]) {
      assert.equal((await home.run(['check', ...argv], 0, elsewhere)).status, 0, argv.join(' '));
    }
    const none = { SALLYPORT_ALLOWLISTS: '' };
    assert.equal((await home.run(['check', '--config', config], 0, none)).status, 0);
    assert.equal((await home.run(['check'], 0, { ...none, SALLYPORT_CONFIG: config })).status, 0);
  });

  test('a directory that is not there is a problem', async () => {
    using home = installation(good);
    const { status, stdout } = await home.run(['check', '/nonexistent', '--json']);
    assert.equal(status, 1);
    assert.equal(JSON.parse(stdout).problems[0].code, 'file-missing');
  });

  const wrongUsage: readonly (readonly string[])[] = [
    ['check', 'a', 'b'],
    ['check', '--frobnicate'],
    ['check', 'a', '--allowlists', 'b'],
    ['check', '--allowlists'],
    ['chek'],
    ['--frobnicate'],
    [],
  ];
  for (const argv of wrongUsage) {
    test(`\`${['sallyport', ...argv].join(' ')}\` is wrong usage`, async () => {
      using home = installation(good);
      const { status, stdout, stderr } = await home.run(argv);
      assert.equal(status, 2);
      assert.equal(stdout, '');
      assert.notEqual(stderr, '');
    });
  }

  test('settings that cannot be used are exit 3 with their place', async () => {
    using home = installation(good);
    const config = path.join(home.root, 'sallyport.yaml');
    fs.writeFileSync(config, 'workers: 1\nlisten: 5\n');
    const { status, stderr } = await home.run(['check', '--config', config]);
    assert.equal(status, 3);
    assert.ok(stderr.startsWith(`${config}:2:9  wrong-type  `), stderr);
    const variable = await home.run(['check'], 0, { SALLYPORT_WORKERS: 'lots' });
    assert.equal(variable.status, 3);
    assert.match(variable.stderr, /^SALLYPORT_WORKERS: `lots` is not a number of workers/u);
  });

  test('--help has an example', async () => {
    using home = installation(good);
    const { status, stdout } = await home.run(['check', '--help']);
    assert.equal(status, 0);
    assert.match(stdout, /Examples:\n {2}sallyport check\n/u);
    assert.equal((await home.run(['help', 'check'])).stdout, stdout);
    const program = await home.run(['--help']);
    assert.equal(program.status, 0);
    assert.match(program.stdout, /\n {2}check {11}validate and lint allowlists\n/u);
  });
});

test('colours only on a terminal, and never with NO_COLOR', async () => {
  const { styles } = await import('../../src/cli/output.ts');
  const terminal = { write: () => true, isTTY: true };
  assert.equal(styles(terminal, {}).red('x'), '\u001b[31mx\u001b[39m');
  for (const [sink, env] of [
    [terminal, { NO_COLOR: '1' }],
    [terminal, { TERM: 'dumb' }],
    [{ write: () => true }, {}],
  ] as const) {
    assert.equal(styles(sink, env).red('x'), 'x');
  }
});

describe('the program itself', () => {
  test('runs as a script, through a link, from anywhere', () => {
    using home = installation(good);
    const link = path.join(home.root, 'sallyport');
    fs.symlinkSync(main, link);
    for (const file of [main, link]) {
      const printed = execFileSync(file, ['check', home.allowlists], {
        cwd: '/',
        encoding: 'utf8',
      });
      assert.match(printed, /^ok: /u);
    }
  });

  test('keeps the status and the streams apart', () => {
    using home = installation(bad);
    const result = spawnSync(process.execPath, [main, 'check', home.allowlists], {
      encoding: 'utf8',
    });
    assert.deepEqual([result.status, result.stderr], [1, '']);
    for (const args of [['nothing'], ['nothing', '--help']]) {
      const unknown = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
      assert.deepEqual([unknown.status, unknown.stdout], [2, '']);
    }
  });

  test('does not load the proxy to check a file', () => {
    using home = installation(good);
    const script = `import { registerHooks } from 'node:module';
      const loaded = [];
      registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context); } });
      process.argv.splice(1, 0, 'main', 'check', ${JSON.stringify(home.allowlists)});
      process.argv.length = 4;
      await import(${JSON.stringify(main)});
      process.stderr.write(loaded.join('\\n'));`;
    const { stderr, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    assert.match(stdout, /^ok: /u);
    const files = stderr.split('\n').map((url) => url.replace(`file://${root}/`, ''));
    assert.ok(files.includes('src/config/compile.ts'), stderr);
    const heavy = files.filter((file) =>
      /^(?:src\/(?:server|proxy|upstream|observe|tls)\/|node_modules\/(?:undici|pino|node-forge))/u.test(
        file,
      ),
    );
    assert.deepEqual(heavy, []);
  });
});

test('every command of the table loads, is called by its name and has an example', async () => {
  const { commands, nodeTooOld } = await import('../../src/cli/program.ts');
  using home = installation(good);
  for (const { name } of commands) {
    const { status, stdout } = await home.run([name, '--help']);
    assert.equal(status, 0, name);
    assert.match(stdout, new RegExp(`^Usage: sallyport ${name} `, 'u'));
    assert.match(stdout, /Examples?/u, name);
  }
  for (const [version, tooOld] of [
    ['24.18.1', false],
    ['24.19.0', false],
    ['25.0.0', false],
    ['24.18.0', true],
    ['22.22.9', true],
  ] as const) {
    assert.equal(nodeTooOld(version) !== null, tooOld, version);
  }
});
