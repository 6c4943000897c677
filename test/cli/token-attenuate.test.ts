import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import { loadCredentialKeys } from '../../src/identity/credential-keys.ts';
import { verifyCredential } from '../../src/identity/issued-credential.ts';
import { type CommandResult, Installation } from '../support/command.ts';

const now = Date.UTC(2026, 10, 22, 12);

async function issued(home: Installation, ...more: string[]): Promise<string> {
  home.allow(
    'demo.yaml',
    `groups:
  docs/python: {about: documentation, allow: [docs.python.org]}
agents:
  demo: {owner: ann@example.com, purpose: a test, allow: [{group: docs/python}, "*.example.com"]}
`,
  );
  const result = await home.run(['token', 'issue', 'demo', ...more], now);
  assert.equal(result.status, 0, result.stderr);
  return result.stdout.trim();
}

const attenuate = (
  home: Installation,
  input: string | null,
  ...argv: string[]
): Promise<CommandResult> => {
  // Nothing of the installation is there: only the credential counts.
  const nowhere = path.join(home.root, 'nowhere');
  const env = { SALLYPORT_ALLOWLISTS: nowhere, SALLYPORT_CERTS: nowhere };
  return home.run(['token', 'attenuate', ...argv], now, env, input);
};

describe('token attenuate', () => {
  const scopes: readonly (readonly [string, { only?: string[]; hosts?: string[] }])[] = [
    ['docs/python', { only: ['docs/python'] }],
    ['docs', { only: ['docs'] }],
    ['group:docs.v2', { only: ['docs.v2'] }],
    ['docs.python.org', { hosts: ['docs.python.org'] }],
    ['*.example.com', { hosts: ['*.example.com'] }],
    ['host:localhost', { hosts: ['localhost'] }],
    ['10.0.0.0/8', { hosts: ['10.0.0.0/8'] }],
    ['2001:db8::1', { hosts: ['2001:db8::1'] }],
    ['host:[2001:db8::1]', { hosts: ['2001:db8::1'] }],
  ];
  for (const [text, expected] of scopes) {
    test(`--only ${text}`, async () => {
      using home = new Installation();
      const credential = await issued(home);
      const result = await attenuate(home, `${credential}\n`, '--only', text);
      assert.deepEqual([result.status, result.stderr], [0, '']);
      assert.match(result.stdout, /^sp1\.[\w-]+\.[\w-]+\.[\w-]+\n$/u);
      const keys = loadCredentialKeys(path.join(home.certs, 'credentials.key'));
      const verified = verifyCredential(keys, result.stdout.trim(), now);
      assert.deepEqual(verified?.narrowings, [
        { expiresAt: undefined, only: undefined, hosts: undefined, ...expected },
      ]);
    });
  }

  test('ends it earlier, takes it as an argument or from a proxy URL, and says so in JSON', async () => {
    using home = new Installation();
    const credential = await issued(home);
    for (const given of [
      credential,
      `demo:${credential}`,
      `http://demo:${credential}@[::1]:3128/`,
    ]) {
      const result = await attenuate(home, null, given, '--ttl', '15m', '--json');
      const made = JSON.parse(result.stdout) as Record<string, string>;
      const { agent, expires, credential: shorter = '' } = made;
      assert.deepEqual([agent, expires], ['demo', '2026-11-22T12:15:00.000Z']);
      const again = await attenuate(home, shorter, '--ttl', '10m', '--json');
      assert.match(again.stdout, /"expires": "2026-11-22T12:10:00\.000Z"/u);
    }
  });

  const refused: readonly (readonly [string, string | null, readonly string[], number, RegExp])[] =
    [
      ['nothing to take away', 'x', [], 2, /--ttl, --only, or both/u],
      ['no credential', null, ['--ttl', '1m'], 2, /no credential: give it on standard input/u],
      ['an empty one', '\n', ['--ttl', '1m'], 1, /is empty/u],
      ['two lines', 'sp1.a\nsp1.b', ['--ttl', '1m'], 1, /this is no credential/u],
      ['a static token', 'hunter2-hunter2', ['--ttl', '1m'], 1, /begins with sp1\./u],
      ['an end that is later', 'good', ['--ttl', '8h'], 1, /ends at 2026-11-22T20:00:00\.000Z/u],
      ['a host that is none', 'good', ['--only', 'host:a b'], 1, /U\+0020|" "|is in no host name/u],
      ['a host that is misspelt', 'good', ['--only', '*foo.com'], 1, /write host:\*\.foo\.com/u],
      ['a group that is misspelt', 'good', ['--only', 'Docs'], 1, /not a group name/u],
    ];
  for (const [what, input, argv, status, message] of refused) {
    test(`refuses ${what}, without showing it`, async () => {
      using home = new Installation();
      const credential = await issued(home);
      const result = await attenuate(home, input === 'good' ? credential : input, ...argv);
      assert.equal(result.status, status);
      assert.equal(result.stdout, '');
      assert.match(result.stderr, message);
      assert.doesNotMatch(result.stderr, /hunter2|sp1\.\w/u);
    });
  }

  test('refuses one that has ended', async () => {
    using home = new Installation();
    const credential = await issued(home, '--ttl', '1s');
    const argv = ['token', 'attenuate', '--only', 'docs'];
    const result = await home.run(argv, now + 1000, {}, credential);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /ended at 2026-11-22T12:00:01\.000Z/u);
  });
});

describe('token issue --only', () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['a group of the agent', 'docs/python', /^$/u],
    ['a host that an entry covers', 'a.example.com', /^$/u],
    ['a host that no entry covers', 'a.example.org', /covers any host of a\.example\.org/u],
    ['the apex, which the entry leaves out', 'example.com', /covers any host of example\.com/u],
  ];
  for (const [what, scope, stderr] of cases) {
    test(what, async () => {
      using home = new Installation();
      await issued(home);
      const result = await home.run(['token', 'issue', 'demo', '--only', scope], now);
      assert.equal(result.status, 0);
      assert.match(result.stdout, /^sp1\./u);
      assert.match(result.stderr, stderr);
    });
  }
});
