import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { buildPolicy, type PolicySpec } from '../../src/policy/build.ts';
import { unconditional } from '../../src/policy/entry-conditions.ts';
import type { Entry } from '../../src/policy/policy.ts';
import { agent, denial, entry, group, policySpec } from '../support/policy-specs.ts';

const forever = Number.POSITIVE_INFINITY;
const digest = 'ab'.repeat(32);

function firstEntry(spec: Partial<PolicySpec>): Entry {
  const found = [...buildPolicy(policySpec(spec)).agents.values()][0]?.allow[0];
  assert.ok(found);
  return found;
}

function credentials(fields: object): { credentials: ReturnType<typeof agent>['credentials'] } {
  return { credentials: { ...agent('x').credentials, ...fields } };
}

describe('buildPolicy', () => {
  it('compiles an entry', () => {
    const compiled = firstEntry({
      agents: [
        agent('a', {
          allow: [
            entry('*.example.com', {
              scheme: 'http',
              ports: [8080, 80, 80],
              until: 5,
              methods: ['GET'],
              paths: ['/a/**'],
              upload: 7,
              note: 'OPS-1',
              file: 'x/y.yaml',
              line: 12,
            }),
          ],
        }),
      ],
    });
    assert.deepEqual(compiled, {
      action: 'allow',
      pattern: '*.example.com',
      scheme: 'http',
      ports: [80, 8080],
      addresses: [],
      until: 5,
      conditional: true,
      ...unconditional,
      methods: ['GET'],
      paths: ['/a/**'],
      upload: 7,
      note: 'OPS-1',
      file: 'x/y.yaml',
      line: 12,
      at: 'x/y.yaml:12',
      group: undefined,
    });
    assert.ok(Object.isFrozen(compiled) && Object.isFrozen(compiled.ports));
  });

  it('lets an address entry grant itself, and only that', () => {
    const granted = (host: string) => {
      const { addresses } = firstEntry({ agents: [agent('a', { allow: [entry(host)] })] });
      return addresses.map(({ text }) => text);
    };
    assert.deepEqual(granted('10.3.0.0/16'), ['10.3.0.0/16']);
    assert.deepEqual(granted('::ffff:10.3.0.0/112'), ['10.3.0.0/16']);
    assert.deepEqual(granted('10.1.2.3'), ['10.1.2.3/32']);
    assert.deepEqual(granted('example.com'), []);
    const { pattern } = entry('10.3.1.0/24');
    assert.ok(pattern.kind === 'cidr');
    const narrowed = entry('10.3.0.0/16', { addresses: [pattern.cidr] });
    assert.deepEqual(firstEntry({ agents: [agent('a', { allow: [narrowed] })] }).addresses, [
      pattern.cidr,
    ]);
  });

  it('numbers agents by id and keeps groups in the order of the agent', () => {
    const policy = buildPolicy(
      policySpec({
        groups: [group('g/one'), group('constructor'), group('__proto__')],
        agents: [
          agent('b'),
          agent('__proto__', {
            groups: [
              { group: 'constructor', until: 9 },
              { group: 'g/one', until: forever },
              { group: 'constructor', until: 3 },
            ],
          }),
          agent('a'),
        ],
      }),
    );
    const agents = [...policy.agents.values()];
    assert.deepEqual(
      agents.map(({ id, index }) => `${id} ${index}`),
      ['__proto__ 0', 'a 1', 'b 2'],
    );
    assert.deepEqual(
      policy.agents.get('__proto__')?.groups.map(({ group: { name }, until }) => [name, until]),
      [
        ['constructor', 9],
        ['g/one', forever],
      ],
    );
    assert.equal(policy.agents.get('constructor'), undefined);
    assert.deepEqual([...policy.groups.keys()], ['g/one', 'constructor', '__proto__']);
  });

  it('says which group an entry belongs to', () => {
    const policy = buildPolicy(
      policySpec({
        groups: [group('g', { allow: [entry('a.com')], deny: [denial('b.com')] })],
        agents: [agent('a', { allow: [entry('a.com')] })],
        deny: [denial('c.com')],
      }),
    );
    assert.equal(policy.groups.get('g')?.allow[0]?.group, 'g');
    assert.equal(policy.groups.get('g')?.deny[0]?.group, 'g');
    assert.equal(policy.agents.get('a')?.allow[0]?.group, undefined);
    assert.equal(policy.deny[0]?.group, undefined);
    assert.equal(policy.deny[0]?.action, 'deny');
    assert.equal(policy.digest, '0123456789ab');
  });

  it('maps tokens and sources to agents', () => {
    const policy = buildPolicy(
      policySpec({
        agents: [
          agent('a', credentials({ tokens: [digest] })),
          agent('b', credentials({ sourcesAlone: true })),
        ],
      }),
    );
    assert.equal(policy.tokens.get(digest)?.id, 'a');
    assert.equal(policy.tokens.size, 1);
    assert.deepEqual(
      policy.sourceAgents.map(({ id }) => id),
      ['b'],
    );
  });

  it('keeps the index of a big policy small', () => {
    const agents = Array.from({ length: 100 }, (_, i) => {
      const names = Array.from({ length: 200 }, (_, j) =>
        entry(`host-${j}.agent-${i}.example.com`),
      );
      return agent(`agent-${i}`, { allow: [...names, entry(`10.${i}.0.0/16`)] });
    });
    const { byteLength } = buildPolicy(policySpec({ agents })).matcher;
    assert.ok(byteLength > 0 && byteLength / (100 * 201) < 100, `${byteLength} bytes`);
  });

  const mistakes: readonly (readonly [string, Partial<PolicySpec>, RegExp])[] = [
    ['an agent twice', { agents: [agent('a'), agent('b'), agent('a')] }, /agent a is there twice/],
    ['a group twice', { groups: [group('g'), group('g')] }, /group g is there twice/],
    [
      'an unknown group',
      { agents: [agent('a', { groups: [{ group: 'toString', until: forever }] })] },
      /no group: toString/,
    ],
    [
      'a token of two agents',
      { agents: ['a', 'b'].map((id) => agent(id, credentials({ tokens: [digest] }))) },
      /a and b share one of tokens/,
    ],
    [
      'an allow entry for every port',
      { agents: [agent('a', { allow: [entry('a.com', { ports: undefined })] })] },
      /test\.yaml:1: an allow entry/,
    ],
    [
      'an allow entry for every scheme',
      { groups: [group('g', { allow: [entry('a.com', { scheme: undefined })] })] },
      /test\.yaml:1: an allow entry/,
    ],
    [
      'a path pattern that does not parse',
      { agents: [agent('a', { allow: [entry('a.com', { paths: ['a'] })] })] },
      /begins with a slash/,
    ],
  ];
  for (const [name, spec, message] of mistakes) {
    it(`throws for ${name}`, () => {
      assert.throws(() => buildPolicy(policySpec(spec)), { name: 'TypeError', message });
    });
  }
});
