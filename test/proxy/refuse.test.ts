import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Reason } from '../../src/core/reasons.ts';
import { buildPolicy } from '../../src/policy/build.ts';
import type { Condition } from '../../src/policy/conditions.ts';
import type { Exchange } from '../../src/proxy/exchange.ts';
import { refusal } from '../../src/proxy/refuse.ts';
import { agent, bearer, entry, policySpec } from '../support/policy-specs.ts';

const many = Array.from({ length: 20 }, (_, i) => `tool${i}`);
const asking = entry('api.test', {
  query: [{ key: 'page', values: ['HIDDEN'] }],
  headers: { require: [{ name: 'x-team', values: ['HIDDEN'] }], strip: [] },
  contentTypes: ['application/json', 'image/*'],
  tools: { allow: many, deny: ['tool7'], log: [] },
  inject: [bearer],
});
const policy = buildPolicy(policySpec({ agents: [agent('demo', { allow: [asking] })] }));
const demo = policy.agents.get('demo');
assert.ok(demo);

/** [reason, the condition that failed, status, sentence, a part of the hint] */
const cases: readonly (readonly [Reason, Condition | null, number, string, string])[] = [
  ['path_not_allowed', 'path', 403, 'this path of api.test is not allowed for agent demo', ''],
  [
    'path_not_allowed',
    'query',
    403,
    'this query of api.test is not allowed for agent demo',
    'Query keys there: page. ',
  ],
  [
    'header_not_allowed',
    'header',
    403,
    'api.test is not allowed for agent demo without the headers that its entry requires',
    'Headers that it must have: x-team. ',
  ],
  [
    'content_type_not_allowed',
    'content-type',
    403,
    'a body of this type is not allowed on api.test for agent demo',
    'Types of bodies there: application/json, image/*. ',
  ],
  [
    'tool_not_allowed',
    'tool',
    403,
    'a tool that the request calls is not allowed on api.test for agent demo',
    'Tools there: tool0, tool1, tool2, tool3, tool4, tool5, tool6, tool7 and 12 more but not tool7. ',
  ],
  [
    'secret_unavailable',
    null,
    503,
    'the secret that the proxy must add to requests to api.test cannot be had',
    'Try again in a few seconds.',
  ],
];

describe('a refusal of a request', () => {
  for (const [reason, failed, status, message, hint] of cases) {
    test(`${reason} (${failed})`, () => {
      const decision = { entry: demo.allow[0], failed, inspect: true };
      const identity = { agent: demo, scope: undefined };
      const asked = { host: 'api.test', port: 443, method: 'POST', id: 'X' };
      // Of an exchange a refusal asks for no more than this.
      const exchange = { ...asked, policy, agent: demo, identity, decision } as unknown as Exchange;
      const made = refusal(exchange, reason);
      const { error } = JSON.parse(made.body);
      assert.deepEqual([made.status, made.phrase, error.message], [status, message, message]);
      assert.ok(error.hint.includes(hint), error.hint);
      assert.doesNotMatch(JSON.stringify(made), /HIDDEN|TOKEN/);
    });
  }
});
