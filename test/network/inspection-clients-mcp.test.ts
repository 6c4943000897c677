import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type ClientRun, describeRun } from '../support/client-lab.ts';
import { linesLike } from '../support/egress-lines.ts';
import { assertRefusedRequest, assertRequests, EnvLab } from '../support/env-lab.ts';
import type { McpOutcome } from '../support/mcp-client.ts';
import { McpOrigin, toolNames } from '../support/mcp-origin.ts';
import { enterNamespace } from '../support/namespace.ts';

await enterNamespace(import.meta.filename);

const host = 'mcp.test';
const address = '93.184.215.14';
const program = path.resolve(import.meta.dirname, '../support/mcp-client.ts');

let lab: EnvLab;
let origin: McpOrigin;
before(async () => {
  lab = await EnvLab.start({
    hosts: { [host]: address },
    allow: [
      {
        host,
        paths: ['/mcp', '/sse', '/messages'],
        tools: { allow: ['read_*', 'search'], deny: ['read_secret'], log: ['repo'] },
      },
    ],
  });
  origin = await McpOrigin.start({ address, port: 443 }, lab.certificate(host));
});
after(async () => {
  await lab[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});
beforeEach(() => {
  origin.requests.length = 0;
  origin.called.length = 0;
});

async function steps(
  transport: 'http' | 'sse',
  ...names: readonly string[]
): Promise<{ run: ClientRun; outcomes: McpOutcome[] }> {
  const url = `https://${host}/${transport === 'http' ? 'mcp' : 'sse'}`;
  const run = await lab.shell('node "$@"', program, url, transport, ...names);
  assert.equal(run.status, 0, describeRun(run));
  return { run, outcomes: JSON.parse(run.stdout) as McpOutcome[] };
}

const admitted = toolNames.filter((name) => !['read_secret', 'write_file'].includes(name));
const asked = { repo: 'example/shop', token: 'hidden-from-the-log' };
const params = JSON.stringify({ repo: asked.repo });

for (const [transport, at] of [
  ['http', '/mcp'],
  ['sse', '/messages'],
] as const) {
  describe(`a client of the MCP SDK by ${transport}, inspected`, () => {
    test('sees the tools that it may call', async () => {
      const { outcomes } = await steps(transport, 'list');
      assert.deepEqual(outcomes, [{ tools: admitted }]);
    });

    test('calls one, and sees its progress as it is made', async () => {
      const { run, outcomes } = await steps(transport, 'read_file');
      const [outcome] = outcomes;
      assert.deepEqual(outcome?.progress, [1, 2, 3], describeRun(run));
      assert.equal(outcome?.text, `read_file ${JSON.stringify(asked)}`);
      // Signs that are held back until the answer come in one piece.
      assert.ok(Number(outcome?.spread) > 40, describeRun(run));
      const call = { host, method: 'POST', path: at, tool: 'read_file' };
      const [line] = assertRequests(run, call);
      assert.equal(line?.params, params);
      assert.ok(!JSON.stringify(run.lines).includes(asked.token));
    });

    for (const tool of ['write_file', 'read_secret']) {
      test(`is told that it may not call ${tool}, and goes on`, async () => {
        const { run, outcomes } = await steps(transport, tool, 'search');
        const [refused, next] = outcomes;
        for (const said of [
          'a tool that the request calls is not allowed on mcp.test for agent demo',
          'Tools there: read_*, search but not read_secret',
        ]) {
          assert.ok(refused?.error?.includes(said), describeRun(run));
        }
        assert.equal(next?.text, `search ${JSON.stringify(asked)}`, describeRun(run));
        const block = { host, path: at, reason: 'tool_not_allowed', tool, status: 403, params };
        assertRefusedRequest(run, block, 'tool_not_allowed');
        assertRequests(run, { tool: 'search' });
        assert.deepEqual(origin.called, ['search']);
      });
    }
  });
}

describe('sessions of streamable HTTP, inspected', () => {
  test('are kept by their id, and end by DELETE', async () => {
    const before = origin.sessions;
    const { run } = await steps('http', 'list', 'search', 'end');
    const [, ...later] = origin.requests;
    const ids = new Set(later.map(({ headers }) => headers['mcp-session-id']));
    assert.equal(ids.size, 1, describeRun(run));
    assert.match(String([...ids][0]), /^[0-9a-f-]{36}$/u);
    assert.deepEqual(origin.sessions, before);
    assertRequests(run, { host, method: 'DELETE', path: '/mcp', status: 200 });
  });

  test('are resumed behind the last event that came', async () => {
    const { run, outcomes } = await steps('http', 'read_slowly');
    assert.deepEqual(outcomes[0]?.progress, [1, 2, 3], describeRun(run));
    assert.equal(outcomes[0]?.text, `read_slowly ${JSON.stringify(asked)}`);
    const resumed = origin.requests.filter(({ headers }) => 'last-event-id' in headers);
    assert.deepEqual(
      resumed.map(({ method, url }) => `${method} ${url}`),
      ['GET /mcp'],
    );
    assert.deepEqual(origin.called, ['read_slowly']);
  });

  test('a stream whose client has gone ends', async () => {
    const { run } = await steps('http', 'list');
    const [line] = linesLike(run.lines, { event: 'request', method: 'GET', path: '/mcp' });
    assert.equal(line?.end, 'client', describeRun(run));
  });
});
