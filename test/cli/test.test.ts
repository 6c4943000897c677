import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { Installation } from '../support/command.ts';
import { shippedAllowlists } from '../support/shipped-allowlists.ts';

const now = Date.UTC(2026, 10, 22, 12);
const shipped = path.join(import.meta.dirname, '../../allowlists');
const cases = path.join(import.meta.dirname, '../cases');

function installation(): Installation {
  const made = new Installation();
  made.allow(
    'a.yaml',
    `agents:
  demo:
    owner: a@example.com
    purpose: p
    allow: [good.example.com, {host: later.example.com, until: 2026-12-01T00:00:00Z}, {host: mcp.example.com, methods: [POST], tools: [search]}]
    deny: [bad.example.com]
`,
  );
  return made;
}

/** Runs `sallyport test` on one file with this text, which is then called `FILE` in the output. */
async function run(text: string, ...more: string[]) {
  using home = installation();
  const file = path.join(home.root, 'tests.yaml');
  fs.writeFileSync(file, text);
  const { status, stdout, stderr } = await home.run(['test', file, ...more], now);
  return { status, stdout: stdout.replaceAll(file, 'FILE'), stderr };
}

describe('test', () => {
  test('counts what holds', async () => {
    const { status, stdout } = await run(`tests:
  - agent: demo
    allow: [good.example.com, "https://good.example.com/x"]
    block: [other.example.com]
  - {agent: demo, block: [bad.example.com], reason: denied}
  - {agent: demo, allow: [later.example.com]}
  - {agent: demo, block: [later.example.com], reason: entry_expired, at: 2026-12-01T00:00:00Z}
  - {agent: demo, block: ["user@x"], reason: bad_target}
  - {agent: demo, tool: search, allow: ["https://mcp.example.com/"]}
  - {agent: demo, tool: delete, block: ["https://mcp.example.com/"], reason: tool_not_allowed}
  - {agent: demo, method: POST, allow: ["https://mcp.example.com/"]}
  - {agent: demo, block: ["https://mcp.example.com/"], reason: method_not_allowed}
`);
    assert.equal(stdout, '11 passed, 0 failed\n');
    assert.equal(status, 0);
  });

  test('shows each target that was decided otherwise, with its place', async () => {
    const { status, stdout } = await run(`tests:
  - agent: demo
    allow: [other.example.com, good.example.com]
    block:
      - good.example.com
      - bad.example.com
    reason: host_not_allowed
`);
    assert.equal(status, 1);
    assert.deepEqual(stdout.split('\n'), [
      'FILE:3:13  demo → other.example.com: expected allow, got block (host_not_allowed)',
      'FILE:5:9  demo → good.example.com: expected block (host_not_allowed), got allow, by a.yaml:5',
      'FILE:6:9  demo → bad.example.com: expected block (host_not_allowed), got block (denied), by a.yaml:6',
      '    `sallyport explain --agent demo other.example.com` tells why.',
      '1 passed, 3 failed',
      '',
    ]);
  });

  const problems: readonly [string, string][] = [
    ['', '1:1 missing-key'],
    ['tests: []', '1:8 empty-list'],
    ['test: []', '1:1 unknown-key'],
    ['tests: [{allow: [x.example]}]', '1:9 missing-key'],
    ['tests: [{agent: demo}]', '1:9 missing-key'],
    ['tests: [{agent: demo, allow: []}]', '1:30 empty-list'],
    ['tests: [{agent: demo, blok: [x.example], allow: [good.example.com]}]', '1:23 unknown-key'],
    ['tests: [{agent: demo, allow: x.example}]', '1:30 wrong-type'],
    ['tests: [{agent: demo, block: [x.example], reason: nope}]', '1:51 bad-value'],
    ['tests: [{agent: demo, allow: [good.example.com], reason: denied}]', '1:50 bad-expectation'],
    ['tests: [{agent: demo, block: [x.example], at: noon}]', '1:47 bad-time'],
    ['tests: [*a]', '1:9 yaml-alias'],
    // Else every block of a misspelt agent would hold.
    ['tests: [{agent: dmeo, block: [x.example]}]', '1:17 bad-expectation'],
  ];
  for (const [text, expected] of problems) {
    test(`${JSON.stringify(text)} is a problem`, async () => {
      const { status, stdout } = await run(text, '--json');
      assert.equal(status, 1);
      const printed = JSON.parse(stdout);
      assert.equal(printed.ok, false);
      const places = printed.problems.map(
        ({ line, column, code }: { line: number; column: number; code: string }) =>
          `${line}:${column} ${code}`,
      );
      assert.ok(places.includes(expected), places.join(', '));
    });
  }

  test('several files add up, and one that is not there fails', async () => {
    using home = installation();
    const one = path.join(home.root, 'one.yaml');
    fs.writeFileSync(one, 'tests: [{agent: demo, allow: [good.example.com]}]\n');
    assert.equal((await home.run(['test', one, one], now)).stdout, '2 passed, 0 failed\n');
    const missing = await home.run(['test', one, path.join(home.root, 'two.yaml')], now);
    assert.equal(missing.status, 1);
    assert.match(
      missing.stdout,
      /two\.yaml:1:1 {2}file-unreadable[\s\S]*\n1 passed, 0 failed, 1 problem\n$/u,
    );
  });

  test('--json', async () => {
    const { stdout } = await run('tests: [{agent: demo, block: [good.example.com]}]', '--json');
    assert.deepEqual(JSON.parse(stdout), {
      ok: false,
      passed: 0,
      failed: 1,
      failures: [
        {
          file: 'FILE',
          line: 1,
          column: 31,
          agent: 'demo',
          target: 'good.example.com',
          expected: 'block',
          got: 'allow',
          entry: 'a.yaml:5',
        },
      ],
      problems: [],
    });
  });

  test('without a file is wrong usage; with broken allowlists the answer is no', async () => {
    using home = installation();
    assert.equal((await home.run(['test'])).status, 2);
    home.allow('b.yaml', 'agents: 5');
    const { status, stdout, stderr } = await home.run(['test', 'x.yaml']);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /^b\.yaml:1:9 {2}wrong-type/u);
  });

  test('the shipped expectations hold for the shipped allowlists', async () => {
    using home = installation();
    const { status, stdout } = await home.run([
      'test',
      '--allowlists',
      shipped,
      path.join(cases, 'shipped-allowlists.yaml'),
    ]);
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^[1-9]\d* passed, 0 failed\n$/u);
  });

  test('the inspected groups that are shipped hold what they promise', async () => {
    using home = installation();
    for (const [name, text] of Object.entries(shippedAllowlists())) home.allow(name, text);
    const agents = fs.readFileSync(path.join(cases, 'read-only-agents.yaml'), 'utf8');
    home.allow('agents.yaml', agents);
    const { status, stdout } = await home.run(['test', path.join(cases, 'read-only-groups.yaml')]);
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^[1-9]\d* passed, 0 failed\n$/u);
  });
});
