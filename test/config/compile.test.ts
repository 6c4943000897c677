import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { compileTexts } from '../../src/config/compile.ts';
import { formatProblem } from '../../src/config/problem.ts';

const now = Date.UTC(2026, 10, 22);
const cases = path.join(import.meta.dirname, '../cases/allowlists');
const agent = (id: string, allow = '[]'): string =>
  `agents: {${id}: {owner: a@example.com, purpose: p, allow: ${allow}}}\n`;

function compile(files: Readonly<Record<string, string>>): ReturnType<typeof compileTexts> {
  return compileTexts(new Map(Object.entries(files)), now);
}

const lines = (files: Readonly<Record<string, string>>): string[] =>
  compile(files).problems.map((problem) => formatProblem(problem).split('\n', 1)[0] ?? '');

describe('allowlist files, each beside its problems', () => {
  const names = fs.readdirSync(cases).filter((name) => name.endsWith('.yaml'));
  assert.ok(names.length > 20, 'the case files are there');
  for (const name of names) {
    test(name, () => {
      const result = compileTexts(new Map([[name, fs.readFileSync(path.join(cases, name))]]), now);
      const text = result.problems.map((problem) => `${formatProblem(problem)}\n`).join('');
      const expected = fs.readFileSync(path.join(cases, name.replace(/yaml$/u, 'txt')), 'utf8');
      assert.equal(text, expected);
      const hasError = result.problems.some(({ severity }) => severity === 'error');
      assert.equal(result.policy === null, hasError);
      for (const { hint, message } of result.problems) {
        assert.ok(hint.length > 0 && message.length > 0);
        assert.doesNotMatch(message, /\.$/u);
      }
    });
  }
});

describe('several files', () => {
  test('a good one compiles to what it says', () => {
    const name = 'good-everything.yaml';
    const bytes = fs.readFileSync(path.join(cases, name));
    const { policy, counts } = compileTexts(new Map([[name, bytes]]), now);
    assert.ok(policy !== null);
    assert.deepEqual(counts, { files: 1, agents: 2, groups: 1, entries: 25 });
    const found = policy.agents.get('storefront-refactor');
    assert.ok(found !== undefined);
    assert.deepEqual(
      found.allow.map(({ pattern, scheme, ports }) => `${scheme} ${pattern} ${ports?.join()}`),
      [
        'https developer.mozilla.org 443',
        'https *.docs.example.com 443',
        'https .wiki.example.com 443',
        'https bedrock-runtime.*.amazonaws.com 443',
        'http deb.example.org 80',
        'http deb.example.org 8000',
        'tcp git.example.com 22',
        'https api.example.com 8443',
        'https 203.0.113.7 443',
        'https 198.51.100.0/24 443',
        'https 198.51.100.0/24 8443',
        'https 2001:db8::1 443',
        'https 2001:db8::2 8443',
        'https xn--bcher-kva.example 443',
        'https billing.internal.example.com 443,8443',
        'https api.github.com 443',
        'https *.github.io 443',
        'tcp ssh.example.com 22,2222',
      ],
    );
    assert.deepEqual(
      found.deny.map(({ pattern, scheme, ports }) => [pattern, scheme, ports]),
      [
        ['*.upload.example.com', undefined, undefined],
        ['git.example.com', 'tcp', [2222]],
        ['example.net', undefined, [25]],
      ],
    );
    const billing = found.allow[14];
    assert.equal(billing?.until, Date.UTC(2099, 11, 31, 18));
    assert.deepEqual(
      billing?.addresses.map(({ text }) => text),
      ['10.3.0.0/16'],
    );
    assert.equal(billing?.note, 'OPS-1421');
    const github = found.allow[15];
    assert.equal(github?.upload, 50_000_000);
    assert.deepEqual(github?.methods, ['GET', 'HEAD']);
    const template = (header: string, value: string) => {
      return { header, scheme: { kind: 'template', value } };
    };
    assert.deepEqual(github?.inject, [
      { ...template('authorization', 'Bearer {secret}'), secret: { kind: 'env', name: 'NAME' } },
      { ...template('x-key', '{secret}'), secret: { kind: 'file', path: '/run/secrets/key' } },
      {
        ...template('x-other', 'k={secret}'),
        secret: { kind: 'command', argv: ['vault', 'read'], refresh: 300_000 },
      },
    ]);
    assert.deepEqual(
      found.groups.map(({ until }) => until),
      [Date.UTC(2098, 11, 31, 22)],
    );
    assert.deepEqual(found.limits, {
      connections: 64,
      connectionsPerSecond: 50,
      uploadPerTunnel: 50_000_000,
    });
    assert.equal(policy.agents.get('watcher')?.mode, 'report');
    assert.equal(policy.agents.get('watcher')?.purpose, 'Watches, and says so on two lines');
    assert.equal(policy.agents.get('watcher')?.credentials.sourcesAlone, true);
  });

  test('one agent or group in two places names both', () => {
    const files = { 'b.yaml': `# x\n${agent('demo')}`, 'a.yaml': agent('demo') };
    assert.deepEqual(lines(files), [
      'b.yaml:2:10  duplicate-agent  the agent `demo` is already defined at a.yaml:1',
    ]);
    const groups = { 'a.yaml': `groups: {g: {}}\n${agent('demo')}`, 'b.yaml': 'groups: {g: {}}' };
    assert.ok(
      lines(groups).includes(
        'b.yaml:1:10  duplicate-group  the group `g` is already defined at a.yaml:1',
      ),
    );
  });

  test('groups and denies work across files', () => {
    const { policy, problems } = compile({
      'z.yaml': 'groups: {g: {allow: [example.com]}}',
      'a.yaml': agent('demo', '[{group: g}]'),
    });
    assert.deepEqual(problems, []);
    assert.equal(policy?.agents.get('demo')?.groups[0]?.group.allow[0]?.at, 'z.yaml:1');
  });

  test('a file that does not parse hides what it may define, and nothing else', () => {
    const files = { 'a.yaml': agent('demo', '[{group: g}, Bad.example]'), 'g.yaml': 'groups: [' };
    const codes = compile(files).problems.map(({ file, code }) => `${file} ${code}`);
    assert.deepEqual(codes, ['a.yaml bad-pattern', 'g.yaml yaml-syntax']);
  });

  test('an empty list, no list and no agents allow nothing', () => {
    const { policy } = compile({ 'a.yaml': agent('demo') });
    assert.deepEqual(policy?.agents.get('demo')?.allow, []);
    assert.equal(compile({}).policy?.agents.size, 0);
    assert.deepEqual(
      compile({}).problems.map(({ code }) => code),
      ['no-agents'],
    );
  });
});

describe('the digest', () => {
  const digest = (files: Readonly<Record<string, string>>): string => compile(files).digest;

  test('depends on paths and bytes and not on order', () => {
    const one = { 'a.yaml': 'groups: {}', 'b.yaml': 'deny: []' };
    const other = { 'b.yaml': 'deny: []', 'a.yaml': 'groups: {}' };
    assert.match(digest(one), /^[0-9a-f]{12}$/u);
    assert.equal(digest(one), digest(other));
    const different = new Set([
      digest(one),
      digest({ 'a.yaml': 'groups: {}', 'c.yaml': 'deny: []' }),
      digest({ 'a.yaml': 'groups: {} ', 'b.yaml': 'deny: []' }),
      digest({ 'a.yaml': 'groups: {}b.yaml\0deny: []' }),
    ]);
    assert.equal(different.size, 4);
  });

  test('is the same for the texts that come back, byte order mark and all', () => {
    const first = compileTexts(new Map([['a.yaml', `\ufeff${agent('demo', '[é.example]')}`]]), now);
    assert.equal(compileTexts(first.files, now).digest, first.digest);
  });
});

test('no text makes it throw, and a policy comes only without errors', () => {
  const word = fc.constantFrom(
    'agents',
    'groups',
    'deny',
    'allow',
    'demo',
    'owner',
    'host',
    'group',
    'until',
    '__proto__',
    'example.com',
    '"*.example.com"',
    '*x',
    '&x',
    '<<',
    '!!str',
    '---',
    '...',
    '%',
    '[',
    ']',
    '{',
    '}',
    ':',
    ': ',
    ',',
    '- ',
    '\n',
    '\n  ',
    '\n    ',
    '#',
    '|',
    '>',
    '"',
    "'",
    '~',
    'true',
    '443',
    '\t',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(word, { maxLength: 40 }).map((w) => w.join('')),
  );
  fc.assert(
    fc.property(text, (source) => {
      const { policy, problems } = compile({ 'a.yaml': source });
      assert.equal(
        policy === null,
        problems.some(({ severity }) => severity === 'error'),
      );
      for (const { line, column } of problems) assert.ok(line >= 1 && column >= 1);
    }),
    { numRuns: 500 },
  );
  assert.equal(Object.getOwnPropertyNames(Object.prototype).includes('polluted'), false);
});
