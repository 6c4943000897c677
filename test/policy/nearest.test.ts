import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseIp } from '../../src/core/ip.ts';
import { buildPolicy } from '../../src/policy/build.ts';
import type { DecisionRequest } from '../../src/policy/decide.ts';
import { nearest } from '../../src/policy/nearest.ts';
import type { RequestContent } from '../../src/policy/request-content.ts';
import { agent, denial, entry, group, policySpec } from '../support/policy-specs.ts';

const noon = Date.parse('2026-12-31T12:00:00Z');

const policy = buildPolicy(
  policySpec({
    groups: [
      group('registry/npm', { allow: [entry('registry.npmjs.org')] }),
      group('constructor', { allow: [entry('__proto__.example.net')] }),
    ],
    agents: [
      agent('a', {
        groups: [
          { group: 'registry/npm', until: Number.POSITIVE_INFINITY },
          { group: 'constructor', until: noon - 1 },
        ],
        allow: [
          entry('*.example.com'),
          entry('docs.example.org', { ports: [443, 8443] }),
          entry('old.example.org', { until: noon }),
          entry('plain.example.org', { scheme: 'http', ports: [80], methods: ['GET'] }),
          entry('paths.example.org', { scheme: 'http', ports: [80], paths: ['/a/**'] }),
          entry('asks.example.org', {
            scheme: 'http',
            ports: [80],
            headers: { require: [{ name: 'x-team', values: ['blue'] }], strip: [] },
            contentTypes: ['text/plain', 'image/*'],
          }),
          entry('inspected.example.org', { methods: ['GET'] }),
          entry('s3.*.cloud.example', {}),
          entry('10.3.0.0/16'),
          entry('many.example.org', { ports: Array.from({ length: 20 }, (_, i) => 9000 + i) }),
          entry('denied.example.org'),
        ],
        deny: [denial('denied.example.org')],
      }),
      agent('b', { allow: [entry('registry.npmjs.org')] }),
    ],
  }),
);

/** A request with a body and these headers. */
function body(headers: Readonly<Record<string, string>>): RequestContent {
  return {
    header: (name) => headers[name],
    lines: (name) => (headers[name] === undefined ? 0 : 1),
    hasBody: true,
  };
}

function near(host: string, fields: Partial<DecisionRequest> = {}, max = 1, id = 'a'): string[] {
  const compiled = policy.agents.get(id);
  assert.ok(compiled);
  const request: DecisionRequest = {
    host,
    ip: parseIp(host),
    port: 443,
    scheme: 'connect',
    method: undefined,
    path: undefined,
    scope: undefined,
    ...fields,
  };
  return nearest(policy, compiled, request, noon, max).map(({ entry, why }) => {
    return `${entry.pattern}: ${why}`;
  });
}

const cases: readonly (readonly [string, Partial<DecisionRequest>, string | undefined])[] = [
  [
    'example.com',
    {},
    '*.example.com: `*.example.com` does not cover the apex; write `.example.com`',
  ],
  [
    'x.docs.example.org',
    {},
    'docs.example.org: `docs.example.org` covers no names below it; write `*.docs.example.org`',
  ],
  ['docs.example.org', { port: 22 }, 'docs.example.org: port 22 is not in 443, 8443'],
  [
    'many.example.org',
    {},
    'many.example.org: port 443 is not in 9000, 9001, 9002, 9003, 9004, 9005, 9006, 9007, …',
  ],
  ['old.example.org', {}, 'old.example.org: expired 2026-12-31T12:00:00.000Z'],
  ['__proto__.example.net', {}, '__proto__.example.net: expired 2026-12-31T11:59:59.999Z'],
  ['docs.example.org', { scheme: 'http' }, 'docs.example.org: it allows https, not http'],
  [
    'plain.example.org',
    { scheme: 'http', port: 80, method: 'POST' },
    'plain.example.org: method POST is not in GET',
  ],
  [
    'paths.example.org',
    { scheme: 'http', port: 80, method: 'GET', path: '/b' },
    'paths.example.org: it covers only the paths /a/**',
  ],
  [
    'asks.example.org',
    { scheme: 'http', port: 80, method: 'PUT', path: '/', content: body({}) },
    'asks.example.org: it requires the headers x-team',
  ],
  [
    'asks.example.org',
    { scheme: 'http', port: 80, method: 'PUT', path: '/', content: body({ 'x-team': 'blue' }) },
    'asks.example.org: it takes only bodies of text/plain, image/*',
  ],
  [
    'inspected.example.org',
    {},
    'inspected.example.org: its conditions can only be checked by TLS inspection',
  ],
  [
    'denied.example.org',
    {},
    'denied.example.org: it covers the target, but a deny entry or a more specific entry decides',
  ],
  ['registry.npmjs.com', {}, 'registry.npmjs.org: it ends in `.org`: registry.npmjs.org'],
  ['registry.nmpjs.org', {}, 'registry.npmjs.org: 2 letters away: registry.npmjs.org'],
  ['registry.npmj.org', {}, 'registry.npmjs.org: 1 letter away: registry.npmjs.org'],
  ['x.exampel.com', {}, '*.example.com: 2 letters away: *.example.com'],
  [
    's3.a.b.cloud.example',
    {},
    's3.*.cloud.example: it covers other names of cloud.example; `*` is exactly one label',
  ],
  ['npmjs.org', {}, 'registry.npmjs.org: it covers other names of npmjs.org'],
  ['10.3.0.1', { port: 22 }, '10.3.0.0/16: port 22 is not in 443'],
  ['::ffff:10.3.0.1', { port: 22 }, '10.3.0.0/16: port 22 is not in 443'],
  ['192.0.2.1', {}, undefined],
  ['far.invalid', {}, undefined],
];

describe('nearest', () => {
  for (const [host, fields, expected] of cases) {
    it(`${host} ${JSON.stringify(fields)}`, () => assert.equal(near(host, fields)[0], expected));
  }

  it('names neighbours of an address', () => {
    const compiled = buildPolicy(
      policySpec({ agents: [agent('a', { allow: [entry('10.3.4.0/24'), entry('10.9.0.0/16')] })] }),
    );
    const only = compiled.agents.get('a');
    assert.ok(only);
    const request = {
      host: '10.3.5.1',
      ip: parseIp('10.3.5.1'),
      port: 443,
      scheme: 'connect',
      method: undefined,
      path: undefined,
      scope: undefined,
    } as const;
    const found = nearest(compiled, only, request, noon);
    assert.deepEqual(
      found.map(({ why }) => why),
      ['10.3.5.1 is not in 10.3.4.0/24'],
    );
  });

  it('gives at most `max`, each entry once', () => {
    const found = near('x.example.org', {}, 3);
    assert.equal(found.length, 3);
    assert.equal(new Set(found).size, 3);
    assert.deepEqual(near('x.example.org', {}, 0), []);
  });

  it('stays within the groups of a narrowed credential', () => {
    assert.deepEqual(near('example.com', { scope: [{ groups: ['registry/npm'], hosts: [] }] }), []);
    assert.equal(near('npmjs.org', { scope: [{ groups: ['registry/npm'], hosts: [] }] }).length, 1);
    assert.deepEqual(
      near('docs.example.org', { scope: [{ groups: ['registry/npm'], hosts: [] }], port: 22 }),
      [],
    );
  });

  it('shows nothing of other agents', () => {
    assert.deepEqual(near('example.com', {}, 3, 'b'), []);
  });

  it('looks at no more than 2,000 entries', () => {
    const many = Array.from({ length: 3000 }, (_, i) => entry(`h${i}.example.com`));
    const compiled = buildPolicy(policySpec({ agents: [agent('a', { allow: many })] }));
    const only = compiled.agents.get('a');
    assert.ok(only);
    const request = {
      host: 'x.h2500.example.com',
      ip: null,
      port: 443,
      scheme: 'connect',
      method: undefined,
      path: undefined,
      scope: undefined,
    } as const;
    const near = (host: string) => nearest(compiled, only, { ...request, host }, noon, 1)[0];
    assert.equal(near('x.h1999.example.com')?.entry.pattern, 'h1999.example.com');
    assert.notEqual(near('x.h2000.example.com')?.entry.pattern, 'h2000.example.com');
  });
});
