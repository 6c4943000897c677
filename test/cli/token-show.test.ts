import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { IssuedDescription } from '../../src/cli/issued-description.ts';
import { credentialKey } from '../../src/identity/credential-keys.ts';
import { attenuateCredential, issueCredential } from '../../src/identity/issued-credential.ts';
import { Installation } from '../support/command.ts';

const now = Date.UTC(2026, 10, 22, 12);
const digits = 'a'.repeat(64);
const key = credentialKey(Buffer.from(digits, 'hex'));
const nothing = { expiresAt: undefined, only: undefined, hosts: undefined };
const root = issueCredential(key, {
  id: '01JD8Q6Z0000000000000000AB',
  agent: 'demo',
  issuedAt: now / 1000,
  expiresAt: now / 1000 + 3600,
  task: 'T-1',
  requestedBy: undefined,
  only: ['docs', 'registry/npm'],
  hosts: ['*.example.com'],
});
const narrowed = attenuateCredential(
  attenuateCredential(root, { ...nothing, expiresAt: now / 1000 + 60 }),
  { ...nothing, only: ['docs'], hosts: ['a.example.com'] },
);

function jwt(header: object, claims: object): string {
  const parts = [header, claims].map((part) => JSON.stringify(part));
  return [...parts, 'signature'].map((part) => Buffer.from(part).toString('base64url')).join('.');
}

describe('token show', () => {
  test('tells every step of an issued credential and what is left', async () => {
    using home = new Installation();
    const result = await home.run(['token', 'show'], now, {}, `${narrowed}\n`);
    assert.deepEqual([result.status, result.stderr], [0, '']);
    assert.equal(
      result.stdout,
      `credential:    01JD8Q6Z0000000000000000AB
agent:         demo
task:          T-1
issued:        2026-11-22T12:00:00.000Z
expires:       2026-11-22T12:01:00.000Z
signed by key: ${key.id}, not looked up: no key file can be read here
issued for:    group docs, group registry/npm, *.example.com
narrowed (1):  ends at 2026-11-22T12:01:00.000Z
narrowed (2):  only group docs, a.example.com
may reach:     group docs, a.example.com, as far as the agent may

Nothing of this is verified: anybody can write such a text, and only the proxy can tell.
`,
    );
    assert.equal(fs.existsSync(home.certs), false, 'makes no keys');
  });

  test('as JSON, given in any form', async () => {
    using home = new Installation();
    for (const given of [narrowed, `demo:${narrowed}`, `https://demo:${narrowed}@proxy:3130`]) {
      const result = await home.run(['token', 'show', '--json', given], now);
      const said = JSON.parse(result.stdout) as IssuedDescription;
      assert.deepEqual(
        [said.kind, said.verified, said.agent, said.expired, said.problems, said.scope_exact],
        ['issued', false, 'demo', false, [], true],
      );
      assert.deepEqual(said.steps, [
        {
          expires: '2026-11-22T13:00:00.000Z',
          groups: ['docs', 'registry/npm'],
          hosts: ['*.example.com'],
        },
        { expires: '2026-11-22T12:01:00.000Z' },
        { groups: ['docs'], hosts: ['a.example.com'] },
      ]);
    }
  });

  const keyFiles: readonly (readonly [string, string, string])[] = [
    ['the first of the file', `${digits}\n`, 'the one that signs here'],
    ['another of the file', `${'b'.repeat(64)}\n${digits}\n`, 'which verifies here'],
    [
      'one that has ended',
      `${'b'.repeat(64)}\n${digits} until 2026-11-22T12:00:00Z\n`,
      'has ended',
    ],
    ['not in the file', `${'b'.repeat(64)}\n`, 'which is not in'],
  ];
  for (const [what, text, expected] of keyFiles) {
    test(`says of a key: ${what}`, async () => {
      using home = new Installation();
      fs.mkdirSync(home.certs);
      fs.writeFileSync(path.join(home.certs, 'credentials.key'), text, { mode: 0o600 });
      const result = await home.run(['token', 'show', root], now);
      assert.ok(result.stdout.includes(`signed by key: ${key.id}, `));
      assert.ok(result.stdout.includes(expected), result.stdout);
      assert.ok(!result.stdout.includes(digits.slice(0, 16)));
    });
  }

  test('says what the proxy will refuse', async () => {
    using home = new Installation();
    const odd = attenuateCredential(root, { ...nothing, hosts: ['a*b.com'] });
    const cases: readonly (readonly [string, number, RegExp])[] = [
      [root, now + 3_600_000, /refuse it: it ended at 2026-11-22T13:00:00\.000Z\./u],
      [`bob:${root}`, now, /refuse it: it is shown for agent bob, and is agent demo's\./u],
      [odd, now, /refuse it: "a\*b\.com" is not a host pattern\./u],
    ];
    for (const [given, at, message] of cases) {
      assert.match((await home.run(['token', 'show', given], at)).stdout, message);
    }
  });

  test('shows the claims of a JWT, fit for a terminal', async () => {
    using home = new Installation();
    const claims = {
      iss: 'https://ci.example.com',
      sub: 'a\u001b[31m\nb',
      aud: ['x', 'y'],
      exp: 1,
    };
    const token = jwt({ alg: 'ES256', kid: 'k1' }, claims);
    const text = (await home.run(['token', 'show', token], now)).stdout;
    assert.match(text, /issuer \(iss\): {3}https:\/\/ci\.example\.com\n/u);
    assert.match(text, /subject \(sub\): {2}a\\u001b\[31m\\u000ab\n/u);
    assert.match(text, /audience \(aud\): x, y\n/u);
    assert.match(text, /ended: {10}1970-01-01T00:00:01\.000Z\n/u);
    const json = JSON.parse(
      (await home.run(['token', 'show', '--json', token], now)).stdout,
    ) as object;
    assert.deepEqual(json, {
      kind: 'jwt',
      verified: false,
      alg: 'ES256',
      kid: 'k1',
      iss: 'https://ci.example.com',
      sub: 'a\\u001b[31m\\u000ab',
      aud: ['x', 'y'],
      exp: '1970-01-01T00:00:01.000Z',
      expired: true,
    });
  });

  test('takes odd claims as they come', async () => {
    using home = new Installation();
    for (const claims of [
      {},
      { exp: '1' },
      { exp: 1e300 },
      { aud: 1 },
      { iss: {} },
      { sub: null },
    ]) {
      const result = await home.run(['token', 'show', jwt({ alg: 'none' }, claims)], now);
      assert.deepEqual([result.status, result.stderr], [0, '']);
    }
  });

  test('gives the digest of an opaque token', async () => {
    using home = new Installation();
    const token = 'a-long-random-token-of-somebody';
    const result = await home.run(['token', 'show', token], now);
    const digest = createHash('sha256').update(token).digest('hex');
    assert.match(result.stdout, new RegExp(`tokens: \\["sha256:${digest}"\\]`, 'u'));
    assert.ok(!result.stdout.includes(token));
  });

  const garbage: readonly (readonly [string, string, RegExp])[] = [
    ['nothing', '', /is empty/u],
    ['a credential cut short', root.slice(0, -3), /a part of it is missing/u],
    ['another version', `${issuedText('2')}`, /a part of it is missing|begins like/u],
    ['a word', 'hunter2', /too short/u],
    ['words', 'hunter2 hunter2 hunter2', /one word of printable characters/u],
    ['bytes', 'hunter2\u0007hunter2hunter2', /one word of printable characters/u],
    ['a book', 'x'.repeat(20_000), /one word of printable characters/u],
  ];
  for (const [what, given, message] of garbage) {
    test(`${what}: exit status 1, and nothing of it is shown`, async () => {
      using home = new Installation();
      const result = await home.run(['token', 'show'], now, {}, given);
      assert.deepEqual([result.status, result.stdout], [1, '']);
      assert.match(result.stderr, message);
      assert.doesNotMatch(result.stderr, /hunter2|sp1\.\w|xxx/u);
    });
  }

  test('of a terminal: wrong usage', async () => {
    using home = new Installation();
    const result = await home.run(['token', 'show'], now);
    assert.equal(result.status, 2);
    assert.match(result.stderr, /give it on standard input/u);
  });
});

/** Right but for one character of its claims. */
function issuedText(change: string): string {
  return `sp1.${change}${root.slice(5)}`;
}
