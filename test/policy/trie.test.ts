import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Hits } from '../../src/policy/hits.ts';
import { TrieBuilder } from '../../src/policy/trie-builder.ts';
import { pattern } from '../support/policy-specs.ts';

interface Sealed {
  /** Patterns that cover the host, in tiers, most specific first. */
  match(host: string): string[][];
  readonly byteLength: number;
}

function seal(texts: readonly string[]): Sealed {
  const builder = new TrieBuilder();
  const places = texts.map((text) => {
    const read = pattern(text);
    assert.ok(read.kind !== 'cidr');
    return builder.add(read);
  });
  const { trie, terminalOf } = builder.seal();
  const byTerminal = new Map(places.map((place, i) => [terminalOf(place), texts[i] as string]));
  assert.equal(byTerminal.size, trie.terminalCount);
  const hits = new Hits(trie.mostHits);
  return {
    byteLength: trie.byteLength,
    match(host) {
      trie.match(host, hits);
      const tiers: string[][] = [];
      for (let i = 0; i < hits.count; i++) {
        const text = byTerminal.get(hits.terminal(i)) as string;
        if (i > 0 && hits.tier(i) === hits.tier(i - 1)) tiers.at(-1)?.push(text);
        else tiers.push([text]);
      }
      return tiers.map((tier) => tier.sort());
    },
  };
}

const overlapping = [
  '*',
  '*.com',
  '.example.com',
  '*.example.com',
  'a.example.com',
  '.a.example.com',
  '*.*.example.com',
  'x.*.example.com',
  'x.a.example.com',
  'x.*.*.example.com',
  'x.y.*.example.com',
  'x.*.a.example.com',
  '*.y.*.example.com',
  'constructor.example.com',
  '__proto__',
];

/** Host → tiers. Exact, then fewer stars, then the longer suffix, fewer stars, `*.` before `.`. */
const expected: readonly (readonly [string, readonly (readonly string[])[]])[] = [
  ['com', [['*']]],
  ['example.com', [['.example.com'], ['*.com'], ['*']]],
  [
    'a.example.com',
    [['a.example.com'], ['.a.example.com'], ['*.example.com'], ['.example.com'], ['*.com'], ['*']],
  ],
  [
    'x.a.example.com',
    [
      ['x.a.example.com'],
      ['x.*.example.com'],
      ['.a.example.com'],
      ['*.*.example.com'],
      ['*.example.com'],
      ['.example.com'],
      ['*.com'],
      ['*'],
    ],
  ],
  [
    'x.y.a.example.com',
    [
      ['x.*.a.example.com', 'x.y.*.example.com'],
      ['x.*.*.example.com'],
      ['*.y.*.example.com'],
      ['.a.example.com'],
      ['*.*.example.com'],
      ['*.example.com'],
      ['.example.com'],
      ['*.com'],
      ['*'],
    ],
  ],
  [
    'constructor.example.com',
    [['constructor.example.com'], ['*.example.com'], ['.example.com'], ['*.com'], ['*']],
  ],
  ['tostring.example.com', [['*.example.com'], ['.example.com'], ['*.com'], ['*']]],
  ['__proto__', [['__proto__'], ['*']]],
  ['xcom', [['*']]],
  ['example.org', [['*']]],
];

describe('LabelTrie', () => {
  const trie = seal(overlapping);
  for (const [host, tiers] of expected) {
    it(host, () => assert.deepEqual(trie.match(host), tiers));
  }

  it('knows nothing when it is empty', () => assert.deepEqual(seal([]).match('a.com'), []));

  it('reaches nothing for what is no canonical name', () => {
    for (const host of ['', '.', '.com', 'a..com', 'com.', '.example.com', 'a.'.repeat(127)]) {
      assert.deepEqual(trie.match(host), [], host);
    }
    const all = seal(['a.example.com']);
    for (const host of [
      'A.example.com',
      'a.example.com\0',
      '\u0161.example.com',
      '*.example.com',
    ]) {
      assert.deepEqual(all.match(host), [], host);
    }
  });

  it('walks 127 labels', () => {
    const deep = `${'a.'.repeat(126)}b`;
    const all = seal([deep, `*.${'a.'.repeat(100)}b`, '*.b']);
    assert.deepEqual(all.match(deep), [[deep], [`*.${'a.'.repeat(100)}b`], ['*.b']]);
    assert.deepEqual(all.match(`${'a.'.repeat(125)}b`).length, 2);
  });

  it('keeps every star shape apart', () => {
    const labels = ['a', 'b', 'c', 'd', 'e'];
    const shapes = labels.flatMap((_, first) => {
      return labels.map((_, second) => {
        return labels.map((label, i) => (i === first || i === second ? '*' : label)).join('.');
      });
    });
    const texts = [...new Set(shapes)].map((text) => `x.${text}.example.com`);
    const tiers = seal(texts).match('x.a.b.c.d.e.example.com');
    assert.deepEqual(
      tiers.map((tier) => tier.length),
      [5, 10],
    );
    assert.deepEqual(seal(texts).match('x.a.b.z.d.e.example.com'), [
      ['x.a.b.*.d.e.example.com'],
      [
        'x.*.b.*.d.e.example.com',
        'x.a.*.*.d.e.example.com',
        'x.a.b.*.*.e.example.com',
        'x.a.b.*.d.*.example.com',
      ],
    ]);
  });

  it('finds each of 20,000 names and nothing beside them', () => {
    const texts = Array.from({ length: 20_000 }, (_, i) => `h${i}.s${i % 7}.example.com`);
    const trie = seal(texts);
    for (const text of texts) assert.deepEqual(trie.match(text), [[text]]);
    for (let i = 0; i < 1000; i++)
      assert.deepEqual(trie.match(`h${i}.s${(i + 1) % 7}.example.com`), []);
    assert.ok(trie.byteLength / texts.length < 60, `${trie.byteLength} bytes`);
  });
});
