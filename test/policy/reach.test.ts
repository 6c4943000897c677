import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { buildPolicy } from '../../src/policy/build.ts';
import type { CredentialScope, ScopePart } from '../../src/policy/credential-scope.ts';
import { covers } from '../../src/policy/pattern-meet.ts';
import { reachableEntries, scopeTerms } from '../../src/policy/reach.ts';
import { agent, entry, group, pattern, policySpec } from '../support/policy-specs.ts';

const now = 1000;
const part = (groups: readonly string[], ...hosts: string[]): ScopePart => ({
  groups,
  hosts: hosts.map(pattern),
});
const policy = buildPolicy(
  policySpec({
    groups: [
      group('docs', { allow: [entry('docs.test'), entry('.site.test')] }),
      group('gone', { allow: [entry('gone.test')] }),
    ],
    agents: [
      agent('a', {
        groups: [
          { group: 'docs', until: now + 5 },
          { group: 'gone', until: now },
        ],
        allow: [entry('*.own.test', { until: now + 9 }), entry('old.test', { until: now })],
      }),
    ],
  }),
);

describe('reachableEntries', () => {
  const own = '*.own.test 1009';
  const cases: readonly (readonly [string, CredentialScope | undefined, readonly string[]])[] = [
    ['no scope', undefined, ['docs.test 1005', '.site.test 1005', own]],
    ['a group', [part(['docs'])], ['docs.test 1005', '.site.test 1005']],
    ['a group that has ended', [part(['gone'])], []],
    ['a host', [part([], 'a.own.test')], ['a.own.test 1009']],
    ['a wider host', [part([], '.own.test', '*.test')], ['docs.test 1005', '.site.test 1005', own]],
    [
      'a group or a host',
      [part(['docs'], 'x.own.test')],
      ['docs.test 1005', '.site.test 1005', 'x.own.test 1009'],
    ],
    ['a host of a group', [part(['docs']), part([], '*.site.test')], ['*.site.test 1005']],
    ['nothing in common', [part(['docs']), part([], 'a.own.test')], []],
  ];
  for (const [what, scope, expected] of cases) {
    it(what, () => {
      const compiled = policy.agents.get('a');
      assert.ok(compiled);
      const rows = reachableEntries(compiled, scope, now);
      assert.deepEqual(
        rows.map(({ host, until }) => `${host} ${until}`),
        expected,
      );
    });
  }
});

describe('scopeTerms', () => {
  it('says the same as the parts', () => {
    const groups = ['g', 'h'];
    const hosts = ['a.test', '*.test', '.b.test', '*'];
    const arbitrary = fc.record({
      groups: fc.subarray(groups),
      hosts: fc.subarray(hosts).map((texts) => texts.map(pattern)),
    });
    fc.assert(
      fc.property(fc.array(arbitrary, { maxLength: 4 }), (scope) => {
        const { terms, exact } = scopeTerms(scope);
        assert.ok(exact);
        for (const name of [...groups, undefined]) {
          for (const host of ['a.test', 'b.test', 'c.b.test', 'd.example']) {
            const expected = scope.every((one) => {
              const named = name !== undefined && one.groups.includes(name);
              return named || one.hosts.some((item) => covers(item, host, null));
            });
            const found = terms.some((term) => {
              if (term.group !== undefined && term.group !== name) return false;
              return term.host === undefined || covers(term.host, host, null);
            });
            assert.equal(found, expected);
          }
        }
      }),
    );
  });

  it('gives up where parts multiply, and is wider then', () => {
    const wide = Array.from({ length: 10 }, (_, i) => `.${i}x.*.*.a.test`);
    const deep = Array.from({ length: 10 }, (_, i) => `.${i}y.*.a.test`);
    const { terms, exact } = scopeTerms([part([], ...deep), part([], ...wide)]);
    assert.equal(exact, false);
    assert.equal(terms.length, 10);
  });
});
