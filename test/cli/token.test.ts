import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { loadCredentialKeys } from '../../src/identity/credential-keys.ts';
import { verifyCredential } from '../../src/identity/issued-credential.ts';
import { Installation } from '../support/command.ts';

const now = Date.UTC(2026, 10, 22, 12);
const demo = `groups:
  docs/python:
    about: documentation
    allow: [docs.python.org]
agents:
  demo:
    owner: ann@example.com
    purpose: a test
    allow:
      - group: docs/python
`;

function installation(text = demo): Installation {
  const made = new Installation();
  made.allow('demo.yaml', text);
  return made;
}

describe('token issue', () => {
  test('prints the credential alone, and makes the key at the first one', async () => {
    using home = installation();
    const result = await home.run(['token', 'issue', 'demo'], now);
    assert.deepEqual({ status: result.status, stderr: result.stderr }, { status: 0, stderr: '' });
    assert.match(result.stdout, /^sp1\.[\w-]+\.[\w-]+\n$/u);
    const keys = loadCredentialKeys(path.join(home.certs, 'credentials.key'));
    const verified = verifyCredential(keys, result.stdout.trim(), now);
    assert.equal(verified?.claims.agent, 'demo');
    assert.equal(verified?.claims.expiresAt, now / 1000 + 8 * 3600);
    assert.equal(verified?.claims.only, undefined);
  });

  test('the next one is of the same key', async () => {
    using home = installation();
    const first = await home.run(['token', 'issue', 'demo'], now);
    const file = path.join(home.certs, 'credentials.key');
    const before = fs.readFileSync(file, 'utf8');
    const second = await home.run(['token', 'issue', 'demo'], now);
    assert.equal(fs.readFileSync(file, 'utf8'), before);
    assert.notEqual(first.stdout, second.stdout);
  });

  test('says in JSON what it has made', async () => {
    using home = installation();
    const argv = [
      'token',
      'issue',
      'demo',
      '--json',
      '--ttl',
      '15m',
      '--task',
      'T-1',
      '--requested-by',
      'ann',
      '--only',
      'docs/python',
    ];
    const result = await home.run(argv, now);
    const { credential, id, agent, expires } = JSON.parse(result.stdout) as Record<string, string>;
    assert.equal(agent, 'demo');
    assert.equal(expires, '2026-11-22T12:15:00.000Z');
    const keys = loadCredentialKeys(path.join(home.certs, 'credentials.key'));
    assert.deepEqual(verifyCredential(keys, credential ?? '', now)?.claims, {
      id,
      agent: 'demo',
      issuedAt: now / 1000,
      expiresAt: now / 1000 + 900,
      task: 'T-1',
      requestedBy: 'ann',
      only: ['docs/python'],
      hosts: undefined,
    });
  });

  const refused: readonly [string, readonly string[], number, RegExp][] = [
    [
      'an unknown agent',
      ['dmo'],
      1,
      /^sallyport: no agent "dmo" in the allowlists; did you mean `demo`\?\n$/u,
    ],
    ['an unknown group', ['demo', '--only', 'docs/rust'], 1, /no group "docs\/rust"/u],
    ['no agent', [], 2, /agent/u],
    ['a bad duration', ['demo', '--ttl', '8'], 2, /90s, 15m, 8h, 7d/u],
    ['a long duration', ['demo', '--ttl', '31d'], 2, /30d is the most/u],
    ['an unknown option', ['demo', '--tll', '8h'], 2, /--ttl/u],
    ['two agents', ['demo', 'other'], 2, /too many arguments/u],
  ];
  for (const [what, argv, status, message] of refused) {
    test(`${what}: exit status ${status}, nothing on standard output, no key made`, async () => {
      using home = installation();
      const result = await home.run(['token', 'issue', ...argv], now);
      assert.equal(result.status, status);
      assert.equal(result.stdout, '');
      assert.match(result.stderr, message);
      if (status === 2) assert.equal(fs.existsSync(home.certs), false);
    });
  }

  test('broken allowlists: their problems and exit status 1', async () => {
    using home = installation(`${demo}      - "*"\n`);
    const result = await home.run(['token', 'issue', 'demo'], now);
    assert.equal(result.status, 1);
    assert.equal(result.stdout, '');
    assert.match(result.stderr, /^demo\.yaml:11:\d+ {2}\S+ {2}/u);
  });

  test('an agent that takes none', async () => {
    using home = installation(`${demo}    credentials: {issued: false}\n`);
    const result = await home.run(['token', 'issue', 'demo'], now);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /takes no issued credentials: demo\.yaml:6 says/u);
  });

  test('a key that others can read', async () => {
    using home = installation();
    await home.run(['token', 'issue', 'demo'], now);
    fs.chmodSync(path.join(home.certs, 'credentials.key'), 0o644);
    const result = await home.run(['token', 'issue', 'demo'], now);
    assert.equal(result.status, 1);
    assert.equal(result.stdout, '');
    assert.match(result.stderr, /mode 0644.*chmod 600/u);
  });

  test('--help shows an example', async () => {
    using home = installation();
    for (const argv of [
      ['token', '--help'],
      ['token', 'issue', '--help'],
    ]) {
      const result = await home.run(argv, now);
      assert.equal(result.status, 0);
      assert.match(result.stdout, /Example:\n {2}sallyport token issue demo/u);
    }
  });
});
