import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '../../src/core/ip.ts';
import {
  type AgentSpec,
  buildPolicy,
  type EntrySpec,
  type PolicySpec,
} from '../../src/policy/build.ts';
import type { ScopePart } from '../../src/policy/credential-scope.ts';
import { type Decision, type DecisionRequest, decide } from '../../src/policy/decide.ts';
import type { RequestContent } from '../../src/policy/request-content.ts';
import { HTTP, HTTPS, TCP } from '../../src/policy/scheme-bits.ts';
import { comparableTools, type NaiveDecision, naiveDecide } from '../support/naive-policy.ts';
import { agent, bearer, entry, group, pattern, policySpec } from '../support/policy-specs.ts';

/** Few values, so that entries overlap; some that are keys of every plain object. */
const label = fc.constantFrom('a', 'b', 'c', 'constructor', '__proto__');
const names = ['g', 'h', 'constructor', '__proto__'];
const agentIds = ['a', 'b', 'toString', '__proto__'];
const networks = ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.3', '::/0', '2001:db8::/32', '0.0.0.0/0'];
const addresses = ['10.1.2.3', '10.1.9.9', '10.9.9.9', '::ffff:10.1.2.3', '2001:db8::1', '::1'];
const schemes = ['https', 'http', 'tcp'] as const;
const now = 1000;

const dotted = (item: fc.Arbitrary<string>, minLength: number, maxLength: number) =>
  fc.array(item, { minLength, maxLength }).map((labels) => labels.join('.'));

const host = dotted(label, 1, 5);

/** Up to two inner stars, with two labels behind them. */
const namePattern = fc
  .tuple(
    fc.constantFrom('', '*.', '.'),
    fc.array(fc.oneof({ weight: 2, arbitrary: label }, fc.constant('*')), { maxLength: 3 }),
    dotted(label, 2, 2),
  )
  .map(([prefix, inner, tail]) => [prefix, inner, tail] as const)
  .filter(([prefix, inner]) => {
    const stars = inner.filter((item) => item === '*').length;
    return stars <= 2 && inner[0] !== '*' && !(prefix === '*.' && inner.length > 3);
  })
  .map(([prefix, inner, tail]) => prefix + [...inner, tail].join('.'));

const starsBelow = dotted(label, 2, 3).map((tail) => `*.*.${tail}`);
const shortSuffix = fc.tuple(fc.constantFrom('*.', '.', ''), label).map((parts) => parts.join(''));
const patternText = fc.oneof(
  { weight: 6, arbitrary: namePattern },
  starsBelow,
  shortSuffix,
  { weight: 2, arbitrary: fc.constantFrom(...networks) },
  fc.constant('*'),
);

const ports = fc.uniqueArray(fc.constantFrom(443, 80, 22), { minLength: 1 });
const until = fc.constantFrom(Number.POSITIVE_INFINITY, now - 1, now, now + 1, now + 2);
const paths = fc.constantFrom(['/a/**'], ['/a/*', '/b'], ['/**/c'], ['/a*c/**/b']);
const methods = fc.constantFrom(['GET'], ['GET', 'POST']);
const optional = <T>(value: fc.Arbitrary<T>) =>
  fc.option(value, { nil: undefined, freq: 2 }) as fc.Arbitrary<T | undefined>;

const headerRules = [
  { require: [{ name: 'x', values: ['1', '2'] }], strip: [] },
  { require: [{ name: 'x', values: undefined }], strip: [] },
  { require: [], strip: ['y'] },
];
const toolRules = [
  { allow: ['read*'], deny: [], log: [] },
  { allow: undefined, deny: ['*e'], log: [] },
];

/** Headers as a request has them: names → lines. */
const content: fc.Arbitrary<RequestContent> = fc
  .record({
    x: fc.subarray(['1', '2', '3']),
    type: fc.constantFrom([], ['text/plain'], ['IMAGE/png; a=b'], ['text/html', 'text/html']),
    hasBody: fc.boolean(),
  })
  .map(({ x, type, hasBody }) => {
    const lines: Record<string, readonly string[]> = { x, 'content-type': type };
    return {
      header: (name) => (lines[name]?.length ? lines[name].join(', ') : undefined),
      lines: (name) => lines[name]?.length ?? 0,
      hasBody,
    };
  });

const allowEntry = fc
  .record({
    host: patternText,
    scheme: fc.constantFrom(...schemes),
    ports,
    until,
    methods: optional(methods),
    paths: optional(paths),
    query: optional(
      fc.constantFrom([], [{ key: 'k', values: undefined }], [{ key: 'k', values: ['v'] }]),
    ),
    headers: optional(fc.constantFrom(...headerRules)),
    contentTypes: optional(fc.constantFrom(['text/plain'], ['image/*', 'text/html'])),
    maxBody: optional(fc.constantFrom(5, 15)),
    tools: optional(fc.constantFrom(...toolRules)),
    inject: optional(fc.constant([bearer])),
    upload: optional(fc.constantFrom(10, 20)),
    ranges: fc.subarray(networks.slice(0, 3), { maxLength: 2 }),
  })
  .map(({ host, ranges, scheme, ports, until, upload, ...others }) => {
    const conditions = scheme === 'tcp' ? {} : others;
    const granted = ranges.flatMap((text) => {
      const { pattern } = entry(text);
      return pattern.kind === 'cidr' ? [pattern.cidr] : [];
    });
    return entry(host, { scheme, addresses: granted, ports, until, upload, ...conditions });
  });

const denyEntry = fc
  .record({
    host: patternText,
    scheme: optional(fc.constantFrom(...schemes)),
    ports: optional(ports),
  })
  .map(({ host, ...rest }) => entry(host, rest));

const allowList = fc.array(allowEntry, { maxLength: 5 });
const denyList = fc.array(denyEntry, { maxLength: 1 });

const spec = fc
  .record({
    groups: fc.tuple(
      ...names.map((name) =>
        fc.record({ allow: allowList, deny: denyList }).map((lists) => group(name, lists)),
      ),
    ),
    agents: fc.tuple(...agentIds.map(agentOf)),
    deny: denyList,
  })
  .map((fields) => numbered(policySpec(fields)));

function agentOf(id: string): fc.Arbitrary<AgentSpec> {
  const references = fc.uniqueArray(fc.record({ group: fc.constantFrom(...names), until }), {
    selector: (reference) => reference.group,
  });
  const mode = fc.constantFrom('enforce', 'report');
  return fc
    .record({ mode, groups: references, allow: allowList, deny: denyList })
    .map((fields) => agent(id, fields));
}

/** Gives every entry its own line, so that decisions can be told apart. */
function numbered(plain: PolicySpec): PolicySpec {
  let line = 0;
  const lines = (list: readonly EntrySpec[]) => list.map((item) => ({ ...item, line: ++line }));
  const lists = <T extends { allow: readonly EntrySpec[]; deny: readonly EntrySpec[] }>(
    owner: T,
  ) => ({
    ...owner,
    allow: lines(owner.allow),
    deny: lines(owner.deny),
  });
  return {
    ...plain,
    groups: plain.groups.map(lists),
    agents: plain.agents.map(lists),
    deny: lines(plain.deny),
  };
}

const target = fc.oneof(
  { weight: 4, arbitrary: host.map((text) => ({ host: text, ip: null })) },
  fc.constantFrom(...addresses).map((text) => ({ host: text, ip: parseIp(text) })),
);

/** What a credential was narrowed to in one step. */
const part: fc.Arbitrary<ScopePart> = fc.record({
  groups: fc.subarray(names),
  hosts: fc.array(patternText.map(pattern), { maxLength: 2 }),
});

const request: fc.Arbitrary<DecisionRequest> = fc
  .record({
    target,
    port: fc.constantFrom(443, 80, 22, 8443),
    scheme: fc.constantFrom('connect' as const, ...schemes),
    method: optional(fc.constantFrom('GET', 'POST', 'constructor')),
    path: optional(
      fc.constantFrom(
        '/a/b',
        '/a/',
        '/b?/c',
        '/b?k=v',
        '/b?k=w&k',
        '/x/c',
        '/ac/b',
        '/a/../b',
        '/abc/b/b',
      ),
    ),
    scope: optional(fc.array(part, { minLength: 1, maxLength: 3 })),
    inspects: fc.boolean(),
    content: optional(content),
    tools: optional(fc.subarray(['read', 'reads', 'write'])),
  })
  .map(({ target, ...rest }) => ({ ...target, ...rest }));

function comparable(decision: Decision, { scope }: DecisionRequest): NaiveDecision {
  const bits = [
    [HTTPS, 'https'],
    [HTTP, 'http'],
    [TCP, 'tcp'],
  ] as const;
  return {
    verdict: decision.verdict,
    reason: decision.reason,
    report: decision.report,
    schemes: bits.filter(([bit]) => (decision.schemes & bit) !== 0).map(([, name]) => name),
    entry: decision.entry?.at ?? null,
    addresses: decision.addresses.map((cidr) => cidr.text).sort(),
    until: decision.until,
    inspect: decision.inspect,
    failed: decision.failed,
    tools: decision.tools && comparableTools(decision.tools),
    upload: scope === undefined || decision.verdict === 'block' ? decision.upload : null,
  };
}

describe('decide against the naive matcher', () => {
  it('agrees on every policy and target', () => {
    const reasons = new Map<string, number>();
    const agrees = fc.property(
      spec,
      fc.array(request, { minLength: 12, maxLength: 12 }),
      (plain, requests) => {
        const policy = buildPolicy(plain);
        for (const agentSpec of plain.agents) {
          const compiled = policy.agents.get(agentSpec.id);
          assert.ok(compiled);
          for (const one of requests) {
            const decision = decide(policy, compiled, one, now);
            assert.deepEqual(comparable(decision, one), naiveDecide(plain, agentSpec, one, now));
            const outcome = `${decision.verdict} ${decision.reason} ${decision.inspect}`;
            reasons.set(outcome, (reasons.get(outcome) ?? 0) + 1);
          }
        }
      },
    );
    // Some outcomes are rare: as often as it takes, but not for ever.
    fc.assert(agrees, { numRuns: 400 });
    for (let more = 0; more < 20 && unreached(reasons).length > 0; more++) {
      fc.assert(agrees, { numRuns: 400 });
    }
    assert.deepEqual(unreached(reasons), []);
  });
});

/** What one more narrowing must leave as it was, or smaller. */
function assertNarrower(narrow: Decision, wide: Decision): void {
  if (narrow.verdict === 'block') return;
  assert.equal(wide.verdict, 'allow');
  // Where anything may be in the tunnel, TLS may.
  if ((wide.schemes & TCP) === 0) assert.equal(narrow.schemes & ~wide.schemes, 0);
  assert.ok(narrow.upload <= wide.upload);
  const granted = new Set(wide.addresses.map(({ text }) => text));
  for (const { text } of narrow.addresses) assert.ok(granted.has(text));
}

describe('a scope', () => {
  it('only takes away, whatever is appended to it', () => {
    let taken = 0;
    let left = 0;
    fc.assert(
      fc.property(
        spec,
        fc.array(fc.tuple(request, part), { minLength: 12, maxLength: 12 }),
        (plain, pairs) => {
          const policy = buildPolicy(plain);
          for (const compiled of policy.agents.values()) {
            for (const [one, more] of pairs) {
              const scope = [...(one.scope ?? []), more];
              const wide = decide(policy, compiled, one, now);
              const narrow = decide(policy, compiled, { ...one, scope }, now);
              assertNarrower(narrow, wide);
              if (narrow.verdict === 'allow') left++;
              else if (wide.verdict === 'allow') taken++;
            }
          }
        },
      ),
      { numRuns: 400 },
    );
    assert.ok(taken > 100 && left > 100, `${taken} taken, ${left} left`);
  });
});

const conditions = ['method', 'path', 'header', 'content_type', 'tool'];

/** A fuzz test that never reaches an outcome says nothing about it: those that it still has to reach. */
function unreached(reasons: ReadonlyMap<string, number>): string[] {
  const blocks = ['denied', 'host', 'port', 'scheme', ...conditions].map((reason) => {
    return `block ${reason === 'denied' ? reason : `${reason}_not_allowed`} false`;
  });
  const reports = ['host', 'port', 'scheme', ...conditions].map((reason) => {
    return `allow ${reason}_not_allowed false`;
  });
  const others = ['allow null false', 'block entry_expired false', 'allow entry_expired false'];
  const inspected = ['block', 'allow'].flatMap((verdict) => {
    return conditions.map((reason) => `${verdict} ${reason}_not_allowed true`);
  });
  const wanted = [...blocks, ...reports, ...others, ...inspected, 'allow null true'];
  return wanted.filter((outcome) => !reasons.has(outcome));
}
