import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readYaml, type YamlNode } from '../../src/config/yaml.ts';

const read = (text: string | Uint8Array): ReturnType<typeof readYaml> =>
  readYaml('f', typeof text === 'string' ? new TextEncoder().encode(text) : text);

/** A node as plain lists, Maps and values, each with `line:column`. */
function plain(node: YamlNode): unknown {
  const at = `${node.at.line}:${node.at.column}`;
  if (node.kind === 'scalar') return [at, node.value, node.source];
  if (node.kind === 'list') return [at, node.items.map(plain)];
  if (node.kind === 'broken') return [at, 'broken'];
  const keys = [...node.entries.values()];
  return [
    at,
    keys.map(({ key, at: keyAt, value }) => [key, `${keyAt.line}:${keyAt.column}`, plain(value)]),
  ];
}

const codes = (text: string | Uint8Array): string[] =>
  read(text).problems.map(({ line, column, code }) => `${line}:${column} ${code}`);

describe('values and positions', () => {
  const rows: readonly [string, unknown][] = [
    ['a: 1', ['1:1', [['a', '1:1', ['1:4', 1, '1']]]]],
    [
      '- x\n- [y, true, ~]',
      [
        '1:1',
        [
          ['1:3', 'x', 'x'],
          [
            '2:3',
            [
              ['2:4', 'y', 'y'],
              ['2:7', true, 'true'],
              ['2:13', null, '~'],
            ],
          ],
        ],
      ],
    ],
    // Keys are text, whatever they look like.
    [
      '1e3: a\ntrue: b\n~: c',
      [
        '1:1',
        [
          ['1e3', '1:1', ['1:6', 'a', 'a']],
          ['true', '2:1', ['2:7', 'b', 'b']],
          ['~', '3:1', ['3:4', 'c', 'c']],
        ],
      ],
    ],
    // YAML 1.2: no octal by a zero, no yes and no, no dates, no sexagesimals.
    [
      '[010, yes, 2026-01-01, 1:30, 0x1F]',
      [
        '1:1',
        [
          ['1:2', 10, '010'],
          ['1:7', 'yes', 'yes'],
          ['1:12', '2026-01-01', '2026-01-01'],
          ['1:24', '1:30', '1:30'],
          ['1:30', 31, '0x1F'],
        ],
      ],
    ],
    [
      '__proto__: 1\nconstructor: 2',
      [
        '1:1',
        [
          ['__proto__', '1:1', ['1:12', 1, '1']],
          ['constructor', '2:1', ['2:14', 2, '2']],
        ],
      ],
    ],
    ['\ufeffa: b', ['1:1', [['a', '1:1', ['1:4', 'b', 'b']]]]],
    ['a:\r\n  b: c\r\n', ['1:1', [['a', '1:1', ['2:3', [['b', '2:3', ['2:6', 'c', 'c']]]]]]]],
    ['---\na: !!str 1\n...\n', ['2:1', [['a', '2:1', ['2:10', '1', '1']]]]],
  ];
  for (const [text, expected] of rows) {
    test(JSON.stringify(text), () => {
      const { root, problems } = read(text);
      assert.deepEqual(problems, []);
      assert.ok(root !== null);
      assert.deepEqual(plain(root), expected);
    });
  }

  for (const text of ['', '\n\n', '# nothing', '---\n', '   \n']) {
    test(`${JSON.stringify(text)} says nothing`, () => {
      assert.deepEqual(read(text), { root: null, problems: [] });
    });
  }
});

describe('refused with a position', () => {
  const rows: readonly [string | Uint8Array, readonly string[]][] = [
    ['a: 1\nb: 2\na: 3', ['3:1 yaml-duplicate-key']],
    ['a: &x 1', ['1:4 yaml-anchor']],
    ['a: *x', ['1:4 yaml-alias']],
    ['- &x a\n- *x', ['1:3 yaml-anchor', '2:3 yaml-alias']],
    ['- *.example.com', ['1:3 yaml-alias']],
    ['- *', ['1:3 yaml-alias']],
    ['<<: {a: 1}', ['1:1 yaml-merge-key']],
    ['a: !!binary aGk=', ['1:4 yaml-tag']],
    ['a: !local x', ['1:4 yaml-tag']],
    ['a: &x\n  b: 1', ['1:4 yaml-anchor']],
    ['&k a: 1', ['1:1 yaml-anchor']],
    ['a: &x !local 1', ['1:4 yaml-anchor', '1:7 yaml-tag']],
    ['a: !!int x', ['1:4 yaml-tag']],
    ['%YAML 1.1\n---\na: 1', ['1:1 yaml-directive']],
    ['%FOO', ['1:1 yaml-directive']],
    ['a: 1\n---\nb: 2', ['2:1 yaml-documents']],
    ['a: 1\n...\nb: 2', ['3:1 yaml-documents']],
    ['[a', ['1:3 yaml-syntax']],
    ['a: b: c', ['1:4 yaml-syntax']],
    ['? [a]\n: b', ['1:3 yaml-syntax']],
    ['a:\n\t- b', ['2:1 yaml-syntax']],
    ['a: @b', ['1:4 yaml-syntax']],
    ['a: "\\q"', ['1:5 yaml-syntax']],
    ['a: b\u0000', ['1:5 yaml-characters']],
    ['a: 1\nb: \u001b[2J', ['2:4 yaml-characters']],
    ['# \u202e txet', ['1:3 yaml-characters']],
    [new Uint8Array([0x61, 0x3a, 0x20, 0x31, 0x0a, 0x62, 0xff, 0x63]), ['2:2 yaml-encoding']],
    [new Uint8Array([0xff, 0xfe, 0x61, 0x00]), ['1:1 yaml-encoding']],
    [new Uint8Array([0x61, 0xc0, 0xaf]), ['1:2 yaml-encoding']],
    [`${'['.repeat(21)}${']'.repeat(21)}`, ['1:21 yaml-depth']],
  ];
  for (const [text, expected] of rows) {
    test(JSON.stringify(text), () => assert.deepEqual(codes(text), expected));
  }

  test('a star without quotes gets the quotes as its hint', () => {
    assert.equal(read('- *.example.com').problems[0]?.hint, 'Put it in quotes: "*.example.com".');
  });
});

describe('hostile sizes end with one problem or a few', () => {
  const bomb = Array.from(
    { length: 9 },
    (_, i) => `a${i}: &a${i} [${`*a${i - 1},`.repeat(9)}]`,
  ).join('\n');
  const rows: readonly [string, string, string][] = [
    ['10 MB', 'a'.repeat(10_000_000), 'yaml-size'],
    ['just over 1 MiB', '#'.repeat(1024 * 1024 + 1), 'yaml-size'],
    ['an alias bomb', bomb, 'yaml-anchor'],
    ['100,000 open brackets', '['.repeat(100_000), 'yaml-depth'],
    ['100,000 nested lists', '- '.repeat(100_000), 'yaml-depth'],
    [
      'deep block maps',
      Array.from({ length: 800 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
      'yaml-depth',
    ],
  ];
  for (const [name, text, code] of rows) {
    test(name, () => {
      const { problems } = read(text);
      assert.ok(
        problems.some((problem) => problem.code === code),
        problems[0]?.code,
      );
      assert.ok(problems.length <= 50);
      assert.ok(problems.every(({ message }) => message.length < 300));
    });
  }

  test('1 MiB exactly is read', () => {
    assert.deepEqual(read('#'.repeat(1024 * 1024)), { root: null, problems: [] });
  });
});
