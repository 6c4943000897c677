import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parseAuthority } from '../../src/core/authority-form.ts';
import { canonicalHostname, endsInNumber } from '../../src/core/hostname.ts';
import { type Ip, parseIpv4, parseIpv6 } from '../../src/core/ip.ts';
import { buildPolicy, type EntrySpec, type PolicySpec } from '../../src/policy/build.ts';
import { type DecisionRequest, decide } from '../../src/policy/decide.ts';
import { isHostPattern, parsePattern } from '../../src/policy/pattern.ts';
import { naiveDecide } from '../support/naive-policy.ts';
import { agent, denial, entry, group, policySpec } from '../support/policy-specs.ts';

interface Rule {
  readonly host: string;
  readonly action?: 'deny';
  readonly ports?: '*' | readonly (number | string)[];
  readonly until?: number;
  readonly file: string;
  readonly line: number;
}

interface Case {
  readonly id: string;
  readonly section: string;
  readonly policy: string;
  readonly agent: string;
  readonly host?: string;
  readonly port?: number;
  readonly authority?: string;
  readonly now?: number;
  readonly expect:
    | 'allow'
    | 'deny-rule'
    | 'deny-default'
    | 'bad-host'
    | 'bad-port'
    | 'unknown-agent';
  readonly rule: string | null;
  readonly note?: string;
}

interface Vectors {
  readonly policies: Readonly<
    Record<
      string,
      {
        readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
        readonly agents: readonly {
          readonly id: string;
          readonly groups: readonly string[];
          readonly rules: readonly Rule[];
        }[];
      }
    >
  >;
  readonly patternOk: readonly string[];
  readonly patternErrors: readonly string[];
  readonly cases: readonly Case[];
}

const file = new URL('../cases/vectors.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vectors;

/** The vectors' ports, ranges and `*` among them, as numbers. */
function ports(rule: Rule): readonly number[] {
  const all = rule.ports === '*' ? ['1-65535'] : (rule.ports ?? []);
  return all.flatMap((item) => {
    const [first = 0, last = first] = String(item).split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** The vectors leave the scheme out: an allow rule is one entry for https and one for http. */
function allowed(rules: readonly Rule[]): EntrySpec[] {
  return rules
    .filter((rule) => rule.action === undefined)
    .flatMap((rule) => {
      const until = (rule.until ?? Number.POSITIVE_INFINITY) * 1000;
      const fields = { ports: ports(rule), until, file: rule.file, line: rule.line };
      return (['https', 'http'] as const).map((scheme) => entry(rule.host, { ...fields, scheme }));
    });
}

function denied(rules: readonly Rule[]): EntrySpec[] {
  return rules
    .filter((rule) => rule.action === 'deny')
    .map((rule) => {
      const fields = { file: rule.file, line: rule.line };
      return denial(
        rule.host,
        rule.ports === undefined ? fields : { ...fields, ports: ports(rule) },
      );
    });
}

function specOf(name: string): PolicySpec {
  const source = vectors.policies[name];
  assert.ok(source);
  return policySpec({
    groups: source.groups.map(({ name, rules }) => {
      return group(name, { allow: allowed(rules), deny: denied(rules) });
    }),
    agents: source.agents.map(({ id, groups, rules }) => {
      const references = groups.map((name) => ({ group: name, until: Number.POSITIVE_INFINITY }));
      return agent(id, { groups: references, allow: allowed(rules), deny: denied(rules) });
    }),
  });
}

const specs = new Map(Object.keys(vectors.policies).map((name) => [name, specOf(name)]));
const policies = new Map([...specs].map(([name, spec]) => [name, buildPolicy(spec)]));

/** Host and port already split, read by the same grammar; null is a bad host. */
function readHost(host: string): { readonly host: string; readonly ip: Ip | null } | null {
  const bare = host.endsWith('.') ? host.slice(0, -1) : host;
  const ip = /^\[[^\]]*\]$/.test(host) ? parseIpv6(host.slice(1, -1)) : parseIpv4(bare);
  if (ip !== null) return { host: ip.text, ip };
  const name = canonicalHostname(host);
  return name === null || endsInNumber(name) ? null : { host: name, ip: null };
}

function target(
  test: Case,
): { readonly host: string; readonly ip: Ip | null; port: number } | null {
  if (test.authority !== undefined) {
    const parsed = parseAuthority(test.authority);
    return typeof parsed === 'string' ? null : parsed;
  }
  const host = test.host ?? '';
  const read = readHost(host);
  const port = test.port ?? 0;
  return read === null || !Number.isInteger(port) || port < 1 || port > 65535
    ? null
    : { ...read, port };
}

const schemes = ['connect', 'https', 'http'] as const;

describe('vectors', () => {
  for (const test of vectors.cases) {
    it(`${test.id} ${test.section}: ${test.note ?? test.expect}`, () => {
      const parsed = target(test);
      if (test.expect === 'bad-host' || test.expect === 'bad-port') {
        assert.equal(parsed, null);
        return;
      }
      assert.ok(parsed);
      const policy = policies.get(test.policy);
      const spec = specs.get(test.policy);
      assert.ok(policy && spec);
      const compiled = policy.agents.get(test.agent);
      if (test.expect === 'unknown-agent') {
        assert.equal(compiled, undefined);
        return;
      }
      const plain = spec.agents.find((candidate) => candidate.id === test.agent);
      assert.ok(compiled && plain);
      for (const scheme of schemes) {
        const request: DecisionRequest = {
          ...parsed,
          scheme,
          method: undefined,
          path: undefined,
          scope: undefined,
        };
        const now = (test.now ?? 0) * 1000;
        const decision = decide(policy, compiled, request, now);
        const naive = naiveDecide(spec, plain, request, now);
        for (const [verdict, reason, at] of [
          [decision.verdict, decision.reason, decision.entry?.at ?? null],
          [naive.verdict, naive.reason, naive.entry],
        ]) {
          assert.equal(verdict, test.expect === 'allow' ? 'allow' : 'block', scheme);
          assert.equal(reason === 'denied', test.expect === 'deny-rule', scheme);
          if (test.expect !== 'deny-default') assert.equal(at, test.rule, scheme);
        }
      }
    });
  }
});

describe('patterns of the vectors', () => {
  for (const text of vectors.patternOk) {
    it(`accepts ${text}`, () => assert.ok(isHostPattern(parsePattern(text))));
  }
  for (const text of vectors.patternErrors) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.ok(!isHostPattern(parsePattern(text))));
  }
});
