import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { admitsTool, type ToolRules, toolList } from '../../src/policy/tools.ts';
import { naiveTool } from '../support/naive-policy.ts';

const rules = (fields: Partial<ToolRules>): ToolRules => {
  return { allow: undefined, deny: [], log: [], ...fields };
};

/** [rules, name of a tool, may it be called?] */
const cases: readonly (readonly [Partial<ToolRules>, string, boolean])[] = [
  [{ allow: ['search'] }, 'search', true],
  [{ allow: ['search'] }, 'Search', false],
  [{ allow: ['search'] }, 'search ', false],
  [{ allow: ['search'] }, 'search2', false],
  [{ allow: ['read_*'] }, 'read_', true],
  [{ allow: ['read_*'] }, 'read_file', true],
  [{ allow: ['read_*'] }, 'read', false],
  [{ allow: ['read_*'] }, 'x.read_file', false],
  [{ allow: ['*'] }, '', true],
  [{ allow: ['a*a'] }, 'a', false],
  [{ allow: ['a*b*c'] }, 'abxbc', true],
  [{ allow: ['a*b*c'] }, 'acb', false],
  [{ allow: ['a.c'] }, 'abc', false],
  [{ allow: ['*'], deny: ['delete_*'] }, 'delete_repo', false],
  [{ allow: ['delete_repo'], deny: ['delete_*'] }, 'delete_repo', false],
  [{ deny: ['delete_*'] }, 'search', true],
  [{ deny: ['delete_*'] }, 'delete_repo', false],
  [{ log: ['path'] }, 'anything', true],
];

describe('a tool', () => {
  for (const [fields, name, expected] of cases) {
    it(`${JSON.stringify(fields)} ${JSON.stringify(name)}: ${expected}`, () => {
      assert.equal(admitsTool(rules(fields), name), expected);
    });
  }

  it('is admitted by one of several rules, and by none of none', () => {
    const [read, write] = [rules({ allow: ['read'] }), rules({ allow: ['write'], deny: ['read'] })];
    assert.ok(admitsTool([read, write], 'read') && admitsTool([read, write], 'write'));
    assert.ok(!admitsTool([read, write], 'other'));
    assert.ok(!admitsTool([], 'read'));
  });

  it('is found as a naive matcher finds it', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 8 });
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 7 });
    const list = fc.array(pattern, { maxLength: 2 });
    const some = fc.record({ allow: fc.option(list, { nil: undefined }), deny: list, log: list });
    let admitted = 0;
    fc.assert(
      fc.property(some, text, (one, name) => {
        assert.equal(admitsTool(one, name), naiveTool(one, name));
        if (admitsTool(one, name)) admitted++;
      }),
      { numRuns: 3000 },
    );
    assert.ok(admitted > 100, `${admitted} admitted`);
  });

  it('is shown by the patterns that name it', () => {
    assert.equal(toolList(rules({ allow: ['a', 'b*'], deny: ['bc'] })), 'a, b* but not bc');
    assert.equal(toolList(rules({ deny: ['x', 'y'] })), 'all but not x, y');
  });
});
