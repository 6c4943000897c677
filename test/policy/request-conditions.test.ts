import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { buildPolicy, type EntrySpec } from '../../src/policy/build.ts';
import { type Decision, type DecisionRequest, decide } from '../../src/policy/decide.ts';
import type { RequestContent } from '../../src/policy/request-content.ts';
import type { ToolRules } from '../../src/policy/tools.ts';
import { agent, bearer, entry, group, policySpec } from '../support/policy-specs.ts';

const only = (...allow: string[]): ToolRules => ({ allow, deny: [], log: [] });
const json: RequestContent = {
  header: (name) => ({ 'x-team': 'blue', 'content-type': 'application/json' })[name],
  lines: (name) => Number(['x-team', 'content-type'].includes(name)),
  hasBody: true,
};
const whole = {
  methods: ['POST'],
  paths: ['/a'],
  query: [{ key: 'k', values: ['v'] }],
  headers: { require: [{ name: 'x-team', values: ['blue'] }], strip: [] },
  contentTypes: ['application/json'],
  tools: only('search'),
};
const right: DecisionRequest = {
  host: 'a.com',
  ip: null,
  port: 443,
  scheme: 'https',
  method: 'POST',
  path: '/a?k=v',
  content: json,
  tools: ['search'],
  scope: undefined,
  inspects: true,
};

function judge(
  allow: readonly EntrySpec[],
  fields: Partial<DecisionRequest> = {},
  mode: 'enforce' | 'report' = 'enforce',
): Decision {
  const grant = { group: 'g', until: Number.POSITIVE_INFINITY };
  const groups = [group('g', { allow: [entry('a.com', { line: 50, tools: only('grouped') })] })];
  const spec = agent('a', { allow, mode, groups: fields.scope === undefined ? [] : [grant] });
  const policy = buildPolicy(policySpec({ groups, agents: [spec] }));
  const compiled = policy.agents.get('a');
  assert.ok(compiled);
  return decide(policy, compiled, { ...right, ...fields }, 0);
}

/** What each condition says to a request that fails it alone, in the order of detail. */
const failures: readonly (readonly [Partial<DecisionRequest>, string, string])[] = [
  [{ method: 'GET' }, 'method_not_allowed', 'method'],
  [{ path: '/b?k=v' }, 'path_not_allowed', 'path'],
  [{ path: '/a?k=w' }, 'path_not_allowed', 'query'],
  [{ content: { ...json, header: () => undefined } }, 'header_not_allowed', 'header'],
  [{ content: { ...json, lines: () => 2 } }, 'content_type_not_allowed', 'content-type'],
  [{ tools: ['search', 'delete'] }, 'tool_not_allowed', 'tool'],
];

describe('conditions of a request', () => {
  const entries = [entry('a.com', whole)];

  it('hold together', () => {
    assert.deepEqual([judge(entries).verdict, judge(entries).failed], ['allow', null]);
  });

  for (const [fields, reason, failed] of failures) {
    it(`${reason} (${failed})`, () => {
      const decision = judge(entries, fields);
      assert.deepEqual(
        [decision.verdict, decision.reason, decision.failed, decision.inspect, decision.tools],
        ['block', reason, failed, true, null],
      );
      const reported = judge(entries, fields, 'report');
      assert.deepEqual(
        [reported.verdict, reported.reason, reported.failed, reported.report, reported.tools],
        ['allow', reason, failed, true, null],
      );
    });
  }

  it('fail by the one that got furthest, whatever the order of entries', () => {
    const others = [entry('a.com', { line: 2, methods: ['PUT'] }), entry('a.com', whole)];
    for (const allow of [others, others.toReversed()]) {
      assert.equal(judge(allow, { tools: ['delete'] }).failed, 'tool');
      assert.equal(judge(allow, { path: '/a?x' }).failed, 'query');
    }
  });

  it('must hold on one entry, not on several together', () => {
    const split = [
      entry('a.com', { methods: ['POST'], query: [] }),
      entry('a.com', { line: 2, methods: ['GET'], query: [{ key: 'k', values: undefined }] }),
      entry('a.com', { line: 3, methods: ['PATCH'], tools: only('search') }),
      entry('a.com', { line: 4, methods: ['PATCH'], tools: only('delete') }),
    ];
    assert.equal(judge(split, { path: '/a' }).verdict, 'allow');
    assert.equal(judge(split, { method: 'GET' }).verdict, 'allow');
    assert.equal(judge(split).failed, 'query');
    assert.equal(judge(split, { method: 'PATCH', tools: ['delete'] }).entry?.line, 4);
    assert.equal(judge(split, { method: 'PATCH', tools: ['delete', 'search'] }).failed, 'tool');
  });

  it('are not asked about where the request is not known', () => {
    const open = { content: undefined, tools: undefined };
    assert.equal(judge(entries, open).verdict, 'allow');
    const tunnel = { ...open, scheme: 'connect', method: undefined, path: undefined } as const;
    assert.deepEqual(
      [judge(entries, tunnel).verdict, judge(entries, tunnel).inspect],
      ['allow', true],
    );
    assert.equal(judge(entries, { path: undefined }).failed, 'path');
    assert.equal(judge([entry('a.com', { query: [] })], { path: undefined }).failed, 'query');
  });

  const alone: readonly Partial<EntrySpec>[] = [
    { query: [] },
    { headers: { require: [], strip: ['cookie'] } },
    { contentTypes: ['application/json'] },
    { maxBody: 9 },
    { tools: only('search') },
    { inject: [bearer] },
  ];
  for (const fields of alone) {
    it(`${Object.keys(fields).join()} alone needs inspection`, () => {
      const request = { path: '/a', inspects: false } as const;
      const blocked = judge([entry('a.com', fields)], request, 'report');
      assert.deepEqual([blocked.verdict, blocked.inspect], ['block', true]);
      const opened = judge([entry('a.com', fields)], { path: '/a' });
      assert.deepEqual([opened.verdict, opened.inspect], ['allow', true]);
    });
  }
});

describe('the cap of a decision', () => {
  const tunnel = { scheme: 'connect', method: undefined, path: undefined } as const;
  for (const [upload, maxBody, ofRequest, ofTunnel] of [
    [undefined, 5, 5, Number.POSITIVE_INFINITY],
    [3, 5, 3, 3],
    [9, 5, 5, 9],
    [9, undefined, 9, 9],
  ] as const) {
    it(`upload ${upload}, max-body ${maxBody}: ${ofRequest} of a request, ${ofTunnel} of a tunnel`, () => {
      const allow = [entry('a.com', { upload, maxBody, methods: ['POST'] })];
      assert.equal(judge(allow).upload, ofRequest);
      assert.equal(judge(allow, tunnel).upload, ofTunnel);
      assert.equal(judge(allow, { method: 'GET' }, 'report').upload, ofRequest);
    });
  }
});

describe('the tools of a decision', () => {
  const search = entry('a.com', { tools: only('search') });
  const read = entry('a.com', { line: 2, tools: only('read') });

  it('are those of all entries that admit the request', () => {
    assert.deepEqual(judge([search, read], { tools: [] }).tools, [only('search'), only('read')]);
    assert.deepEqual(judge([search, read]).tools, [only('search')]);
    assert.deepEqual(judge([search, { ...read, methods: ['GET'] }], { tools: [] }).tools, [
      only('search'),
    ]);
  });

  it('are any where an entry that admits it names none', () => {
    const free = entry('a.com', { line: 3, methods: ['POST'] });
    assert.equal(judge([search, free], { tools: [] }).tools, null);
    assert.equal(judge([search, free], { tools: ['x'] }).verdict, 'allow');
    assert.equal(judge([free], { tools: [] }).tools, null);
  });

  it('are those within the scope', () => {
    const scope = [{ groups: ['g'], hosts: [] }];
    assert.deepEqual(judge([search], { tools: [], scope }).tools, [only('grouped')]);
  });
});
