import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { compileDirectory } from '../../src/config/compile.ts';
import {
  checkAgents,
  createRevocationReader,
  parseRevocations,
  readRevocationFile,
} from '../../src/config/revocation-file.ts';

const now = Date.UTC(2026, 10, 22, 12);
const read = (text: string) => parseRevocations(Buffer.from(text), now);

/** `line:column code`, in order. */
const found = (text: string) =>
  read(text).problems.map(({ line, column, code }) => `${line}:${column} ${code}`);

test('every form of an entry, with its place', () => {
  const { entries, problems } = read(`# why
revoked:
  - token: 01JD8Q6Z0000000000000000AB
    at: 2026-11-22T11:00:00.123Z
    by: alice@example.com
    why: laptop lost
  - {token: "sha256:9f86d081884c"}
  - token: cert:0A:1B
  - certificate: 123456
  - certificate: 12e5
  - {agent: demo, at: "2026-11-22T12:00:00+01:00"}
quarantined:
  - agent: demo
    why: odd uploads
`);
  assert.deepEqual(problems, []);
  const rest = { at: undefined, by: undefined, why: undefined };
  assert.deepEqual(entries, [
    {
      kind: 'token',
      id: '01JD8Q6Z0000000000000000AB',
      at: now - 3_600_000 + 123,
      by: 'alice@example.com',
      why: 'laptop lost',
      place: 'revocations.yaml:3',
    },
    { ...rest, kind: 'token', id: 'sha256:9f86d081884c', place: 'revocations.yaml:7' },
    { ...rest, kind: 'certificate', id: '0a1b', place: 'revocations.yaml:8' },
    { ...rest, kind: 'certificate', id: '123456', place: 'revocations.yaml:9' },
    { ...rest, kind: 'certificate', id: '12e5', place: 'revocations.yaml:10' },
    { ...rest, kind: 'agent', id: 'demo', at: now - 3_600_000, place: 'revocations.yaml:11' },
    { ...rest, kind: 'quarantine', id: 'demo', why: 'odd uploads', place: 'revocations.yaml:13' },
  ]);
});

describe('what is refused', () => {
  const errors: [what: string, text: string, expected: string[]][] = [
    ['a list', '- token: x\n', ['1:1 wrong-type']],
    ['an unknown key', 'revoke: []\n', ['1:1 unknown-key']],
    ['an unknown key inside', 'revoked: [{tokn: x}]\n', ['1:11 missing-key', '1:12 unknown-key']],
    ['nothing in an item', 'revoked: [{by: x}]\n', ['1:11 missing-key']],
    [
      'two things in an item',
      'revoked: [{agent: demo, certificate: "0a"}]\n',
      ['1:11 conflicting-keys'],
    ],
    ['an agent without a time', 'revoked: [{agent: demo}]\n', ['1:11 missing-key']],
    ['the credential itself', 'revoked: [{token: sp1.abc.def}]\n', ['1:19 bad-revocation']],
    ['a serial that is none', 'revoked: [{certificate: hello}]\n', ['1:25 bad-revocation']],
    ['an agent that is none', 'quarantined: [{agent: De mo}]\n', ['1:23 bad-name']],
    ['a quarantine of nobody', 'quarantined: [{why: x}]\n', ['1:15 missing-key']],
    [
      'a time without a zone',
      'revoked: [{agent: demo, at: 2026-11-22T11:00:00}]\n',
      ['1:29 bad-time'],
    ],
    ['half a file', 'revoked:\n  - token: 01JD8Q6Z000\n', ['2:12 bad-revocation']],
    ['broken YAML', 'revoked: [{token: 01JD\n', ['2:1 yaml-syntax']],
    [
      'a hidden character',
      'quarantined: [{agent: demo, why: "a\\eb"}]\n',
      ['1:34 yaml-characters'],
    ],
    [
      'too much to say',
      `quarantined: [{agent: demo, why: ${'x'.repeat(513)}}]\n`,
      ['1:34 bad-value'],
    ],
  ];
  for (const [what, text, expected] of errors) {
    test(what, () => {
      assert.deepEqual(found(text), expected);
      assert.equal(read(text).entries, null);
    });
  }

  test('what is only odd is a warning', () => {
    const text = `revoked:
  - {token: 01JD8Q6Z0000000000000000AB}
  - {token: 01jd8q6z0000000000000000ab}
  - {agent: demo, at: 2026-11-22T12:00:01Z}
  - {agent: demo, at: 2026-11-22T11:00:01Z}
quarantined: [{agent: dmo}]
`;
    assert.deepEqual(found(text), ['3:13 duplicate-revocation', '4:13 future-revocation']);
    const agents = checkAgents(read(text).entries ?? [], new Map([['demo', null]]));
    assert.deepEqual(
      agents.map(({ line, code }) => `${line} ${code}`),
      ['6 unknown-agent'],
    );
    assert.match(agents[0]?.message ?? '', /did you mean `demo`/);
  });

  test('any bytes are read without a throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const { entries, problems } = parseRevocations(bytes, now);
        assert.ok(entries !== null || problems.length > 0);
      }),
    );
  });
});

describe('a directory', () => {
  const demo = 'agents: {demo: {owner: a@example.com, purpose: test, allow: [example.com]}}\n';

  test('without the file revokes nothing; one that is not there is an error', async () => {
    using home = temporary({ 'demo.yaml': demo });
    const { entries, exists } = await readRevocationFile(home.root, now);
    assert.deepEqual({ entries, exists }, { entries: [], exists: false });
    const gone = await readRevocationFile(path.join(home.root, 'elsewhere'), now);
    assert.equal(gone.entries, null);
  });

  const odd: [what: string, make: (file: string) => void, message: RegExp][] = [
    ['a link that leads nowhere', (file) => fs.symlinkSync('nowhere', file), /leads nowhere/],
    ['a link to itself', (file) => fs.symlinkSync('revocations.yaml', file), /in a circle/],
    ['a directory', (file) => fs.mkdirSync(file), /no file/],
    ['a pipe', (file) => execFileSync('mkfifo', [file]), /no file/],
  ];
  for (const [what, make, message] of odd) {
    test(`${what} in its place is an error, and is not waited for`, async () => {
      using home = temporary({ 'demo.yaml': demo });
      make(path.join(home.root, 'revocations.yaml'));
      const { entries, problems } = await readRevocationFile(home.root, now);
      assert.equal(entries, null);
      assert.match(problems[0]?.message ?? '', message);
    });
  }

  test('bytes that have not changed are not parsed again; others are', async () => {
    using home = temporary({ 'revocations.yaml': 'quarantined: [{agent: a}]\n' });
    const reader = createRevocationReader(home.root, () => now);
    const first = await reader();
    assert.equal(await reader(), first);
    fs.writeFileSync(path.join(home.root, 'revocations.yaml'), 'quarantined: [{agent: b}]\n');
    assert.deepEqual(
      (await reader()).entries?.map(({ id }) => id),
      ['b'],
    );
  });

  test('the file is no allowlist, whatever is in it, and changes no digest', async () => {
    using home = temporary({ 'demo.yaml': demo });
    const before = await compileDirectory(home.root, now);
    for (const text of ['revoked: []\n', 'broken: [\n']) {
      fs.writeFileSync(path.join(home.root, 'revocations.yaml'), text);
      const { policy, problems } = await compileDirectory(home.root, now);
      assert.equal(policy?.digest, before.policy?.digest);
      assert.deepEqual(problems, before.problems);
    }
  });

  for (const name of ['revocations.yml', 'Revocations.yaml']) {
    test(`${name} is refused, because it would revoke nothing`, async () => {
      using home = temporary({ 'demo.yaml': demo, [name]: 'revoked: []\n' });
      const { policy, problems } = await compileDirectory(home.root, now);
      assert.equal(policy, null);
      assert.deepEqual(
        problems.map(({ file, code }) => [file, code]),
        [[name, 'file-type']],
      );
    });
  }

  test('only the root has one', async () => {
    using home = temporary({ 'demo.yaml': demo, 'team/revocations.yaml': 'groups: {}\n' });
    assert.deepEqual((await readRevocationFile(home.root, now)).entries, []);
    assert.ok((await compileDirectory(home.root, now)).policy);
  });
});

function temporary(files: Readonly<Record<string, string>>): Disposable & { root: string } {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-revocations-'));
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), text);
  }
  return { root, [Symbol.dispose]: () => fs.rmSync(root, { recursive: true }) };
}
