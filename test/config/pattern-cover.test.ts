import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { PatternIndex, reaches } from '../../src/config/pattern-cover.ts';
import { cidrContains } from '../../src/core/ip.ts';
import { type HostPattern, parsePattern } from '../../src/policy/pattern.ts';

function pattern(text: string): HostPattern {
  const parsed = parsePattern(text);
  assert.ok('kind' in parsed, text);
  return parsed;
}

const covering = (all: readonly string[], text: string): string[] => {
  const index = new PatternIndex<string>();
  for (const one of all) index.add(pattern(one), one);
  return [...index.covering(pattern(text))];
};

describe('what covers a pattern', () => {
  const all = [
    '*',
    'example.com',
    '*.example.com',
    '.example.com',
    'a.example.com',
    '*.a.example.com',
    '*.com.example',
    'a.*.example.com',
    '10.0.0.0/8',
    '10.1.0.0/16',
    '10.1.2.3',
    '2001:db8::/32',
    '2001:db8::1',
    '0.0.0.0/0',
    '::/0',
  ];
  const rows: readonly [string, readonly string[]][] = [
    ['example.com', ['example.com', '.example.com', '*']],
    ['*.example.com', ['*.example.com', '.example.com', '*']],
    ['.example.com', ['.example.com', '*']],
    ['a.example.com', ['a.example.com', '*.example.com', '.example.com', '*']],
    ['*.a.example.com', ['*.a.example.com', '*.example.com', '.example.com', '*']],
    ['a.*.example.com', ['a.*.example.com', '*.example.com', '.example.com', '*']],
    ['example.org', ['*']],
    ['*', ['*']],
    ['10.1.2.3', ['10.1.2.3', '10.1.0.0/16', '10.0.0.0/8', '0.0.0.0/0']],
    ['10.1.0.0/16', ['10.1.0.0/16', '10.0.0.0/8', '0.0.0.0/0']],
    ['11.0.0.1', ['0.0.0.0/0']],
    ['2001:db8::1', ['2001:db8::1', '2001:db8::/32', '::/0']],
    ['2001:db9::1', ['::/0']],
  ];
  for (const [text, expected] of rows) {
    test(text, () => assert.deepEqual(covering(all, text), expected));
  }

  // Short names over two labels, so that they meet often.
  const label = fc.constantFrom('a', 'b');
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
  const anyPattern = fc.oneof(
    fc.constant('*'),
    fc.tuple(fc.constantFrom('', '.', '*.'), name).map(([prefix, base]) => prefix + base),
    name.map((base) => `a.*.b.${base}`),
  );
  const hosts = ['a', 'b'].flatMap(function below(host: string): string[] {
    return host.length > 9 ? [host] : [host, ...below(`a.${host}`), ...below(`b.${host}`)];
  });

  function matches(text: string, host: string): boolean {
    const parsed = pattern(text);
    return parsed.kind === 'any' || reaches(parsed, host.split('.').toReversed(), false);
  }

  test('matches every host that the covered pattern matches', () => {
    fc.assert(
      fc.property(fc.array(anyPattern, { maxLength: 8 }), anyPattern, (others, text) => {
        for (const wider of covering(others, text)) {
          for (const host of hosts) {
            if (matches(text, host))
              assert.ok(matches(wider, host), `${wider} / ${text} / ${host}`);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  test('is found, stars inside a pattern aside', () => {
    const plain = anyPattern.filter((text) => !text.includes('.*.'));
    fc.assert(
      fc.property(plain, plain, (wider, text) => {
        const covers = hosts.every((host) => !matches(text, host) || matches(wider, host));
        // Hosts are four labels deep: a pattern at that depth has nothing below it in sight.
        if (text.split('.').length > 4) return;
        assert.equal(covering([wider], text).length > 0, covers, `${wider} / ${text}`);
      }),
      { numRuns: 500 },
    );
  });

  test('ranges, against the addresses', () => {
    const bits = fc.integer({ min: 0, max: 255 });
    const range = fc.tuple(bits, fc.integer({ min: 0, max: 8 })).map(([octet, length]) => {
      const network = length === 0 ? 0 : octet & (0xff << (8 - length)) & 0xff;
      return `10.0.0.${network}/${24 + length}`;
    });
    fc.assert(
      fc.property(range, range, (wider, text) => {
        const [outer, inner] = [pattern(wider), pattern(text)];
        assert.ok(outer.kind === 'cidr' && inner.kind === 'cidr');
        const covers =
          outer.cidr.prefix <= inner.cidr.prefix && cidrContains(outer.cidr, inner.cidr.ip);
        assert.equal(covering([wider], text).length === 1, covers);
      }),
    );
  });
});

test('a listed name with everything below it is reached by patterns that meet it', () => {
  const rows: readonly [string, string, boolean, boolean][] = [
    ['dns.google', 'dns.google', false, true],
    ['x.dns.google', 'dns.google', false, false],
    ['x.dns.google', 'dns.google', true, true],
    ['google', 'dns.google', true, false],
    ['*.google', 'dns.google', false, true],
    ['*.dns.google', 'dns.google', false, false],
    ['*.dns.google', 'dns.google', true, true],
    ['.dns.google', 'dns.google', false, true],
    ['dns.*.example.com', 'dns.eu.example.com', false, true],
    ['10.0.0.1', 'dns.google', true, false],
  ];
  for (const [text, host, andBelow, expected] of rows) {
    assert.equal(
      reaches(pattern(text), host.split('.').toReversed(), andBelow),
      expected,
      `${text} ${host} ${andBelow}`,
    );
  }
});
