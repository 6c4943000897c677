import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCidr, parseIp } from '../../src/core/ip.ts';
import { type AgentSpec, buildPolicy, type PolicySpec } from '../../src/policy/build.ts';
import {
  type Decision,
  type DecisionRequest,
  decide,
  HTTP,
  HTTPS,
  TCP,
} from '../../src/policy/decide.ts';
import {
  agent,
  bearer,
  denial,
  entry,
  group,
  pattern,
  policySpec,
} from '../support/policy-specs.ts';

const forever = Number.POSITIVE_INFINITY;
const now = 1000;

function ask(host: string, fields: Partial<DecisionRequest> = {}): DecisionRequest {
  const base = { host, ip: parseIp(host), port: 443, scheme: 'connect', scope: undefined } as const;
  return { ...base, method: undefined, path: undefined, ...fields };
}

/** The decision on agent `a` with these lists. */
function judge(
  own: Partial<AgentSpec>,
  request: DecisionRequest,
  others: Partial<PolicySpec> = {},
): Decision {
  const policy = buildPolicy(policySpec({ agents: [agent('a', own)], ...others }));
  const compiled = policy.agents.get('a');
  assert.ok(compiled);
  return decide(policy, compiled, request, now);
}

/** Verdict, reason, line of the entry. */
function brief(decision: Decision): string {
  return `${decision.verdict} ${decision.reason} ${decision.entry?.line ?? '-'}`;
}

describe('what an allow carries', () => {
  it('has the values of the entry', () => {
    const own = entry('a.com', { until: now + 1, upload: 50, line: 3 });
    const decision = judge({ allow: [own] }, ask('a.com'));
    assert.deepEqual(
      { ...decision, entry: decision.entry?.at },
      {
        verdict: 'allow',
        reason: null,
        report: false,
        schemes: HTTPS,
        entry: 'test.yaml:3',
        addresses: [],
        upload: 50,
        until: now + 1,
        inspect: false,
        failed: null,
        tools: null,
      },
    );
  });

  it('adds up entries of equal pattern, and only those whose conditions hold', () => {
    const ranges = ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'].map((text) => parseCidr(text)!);
    const allow = [
      entry('a.com', { line: 1, addresses: ranges.slice(0, 2), until: now + 9, upload: 5 }),
      entry('a.com', { line: 2, scheme: 'tcp', addresses: ranges.slice(1), until: now + 5 }),
      entry('a.com', { line: 3, ports: [8443], scheme: 'http', until: now + 1 }),
      entry('*.com', { line: 4, scheme: 'http', addresses: ranges }),
    ];
    const decision = judge({ allow }, ask('a.com'));
    assert.equal(brief(decision), 'allow null 1');
    assert.equal(decision.schemes, HTTPS | TCP);
    assert.equal(decision.until, now + 5);
    assert.equal(decision.upload, 5);
    assert.deepEqual(
      decision.addresses.map(({ text }) => text),
      ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'],
    );
    const posted = judge(
      {
        allow: [
          entry('a.com', { scheme: 'http', methods: ['GET'], addresses: ranges, until: now + 1 }),
          entry('a.com', { scheme: 'http', methods: ['POST'], line: 2 }),
        ],
      },
      ask('a.com', { scheme: 'http', method: 'POST', path: '/' }),
    );
    assert.equal(brief(posted), 'allow null 2');
    assert.deepEqual([posted.addresses, posted.until], [[], forever]);
  });
});

/** [what, lists of the agent, request, expected]. */
const plain: readonly (readonly [string, Partial<AgentSpec>, DecisionRequest, string])[] = [
  ['an empty list', {}, ask('a.com'), 'block host_not_allowed -'],
  ['another host', { allow: [entry('b.com')] }, ask('a.com'), 'block host_not_allowed -'],
  [
    'another port',
    { allow: [entry('a.com')] },
    ask('a.com', { port: 80 }),
    'block port_not_allowed 1',
  ],
  [
    'another scheme',
    { allow: [entry('a.com')] },
    ask('a.com', { scheme: 'http' }),
    'block scheme_not_allowed 1',
  ],
  [
    'the nearest entry: port before scheme',
    { allow: [entry('a.com', { ports: [80] }), entry('*.com', { line: 2 })] },
    ask('a.com', { scheme: 'http' }),
    'block scheme_not_allowed 2',
  ],
  [
    'the end itself',
    { allow: [entry('a.com', { until: now })] },
    ask('a.com'),
    'block entry_expired 1',
  ],
  [
    'an expired entry leaves the wider one to speak',
    { allow: [entry('a.com', { until: now }), entry('*.com', { line: 2 })] },
    ask('a.com'),
    'allow null 2',
  ],
  [
    'the earlier of equal entries',
    { allow: [entry('a.com', { line: 7 }), entry('a.com', { line: 8 })] },
    ask('a.com'),
    'allow null 7',
  ],
  [
    'a deny entry goes before a more specific allow',
    { allow: [entry('x.a.com')], deny: [denial('.com', { line: 2 })] },
    ask('x.a.com'),
    'block denied 2',
  ],
  [
    'the most specific of deny entries',
    { deny: [denial('.com'), denial('a.com', { line: 2 })] },
    ask('a.com'),
    'block denied 2',
  ],
  [
    'a deny entry with a scheme blocks every CONNECT to its port',
    { allow: [entry('a.com')], deny: [denial('a.com', { scheme: 'http', ports: [443] })] },
    ask('a.com'),
    'block denied 1',
  ],
  [
    'and no other port',
    { allow: [entry('a.com')], deny: [denial('a.com', { scheme: 'http', ports: [80] })] },
    ask('a.com'),
    'allow null 1',
  ],
  [
    'a denied tcp covers plain HTTP',
    {
      allow: [entry('a.com', { scheme: 'http', ports: [80] })],
      deny: [denial('a.com', { scheme: 'tcp', line: 2 })],
    },
    ask('a.com', { scheme: 'http', port: 80 }),
    'block denied 2',
  ],
  [
    'a denied https does not',
    {
      allow: [entry('a.com', { scheme: 'http', ports: [80] })],
      deny: [denial('a.com', { scheme: 'https' })],
    },
    ask('a.com', { scheme: 'http', port: 80 }),
    'allow null 1',
  ],
  [
    'tcp admits https',
    { allow: [entry('a.com', { scheme: 'tcp' })] },
    ask('a.com', { scheme: 'https' }),
    'allow null 1',
  ],
  [
    'tcp is a tunnel, and plain HTTP is none',
    { allow: [entry('a.com', { scheme: 'tcp', ports: [80] })] },
    ask('a.com', { scheme: 'http', port: 80 }),
    'block scheme_not_allowed 1',
  ],
  ['a star and an address', { allow: [entry('*')] }, ask('1.2.3.4'), 'block host_not_allowed -'],
  [
    'a network and a name',
    { allow: [entry('0.0.0.0/0')] },
    ask('a.com'),
    'block host_not_allowed -',
  ],
  [
    'the longest prefix',
    { allow: [entry('10.0.0.0/8'), entry('10.1.0.0/16', { line: 2 })] },
    ask('10.1.0.1'),
    'allow null 2',
  ],
  ['a mapped address', { allow: [entry('10.0.0.0/8')] }, ask('::ffff:10.0.0.1'), 'allow null 1'],
  ['IPv4 and ::/0', { allow: [entry('::/0')] }, ask('::ffff:10.0.0.1'), 'block host_not_allowed -'],
  [
    'a time that is not a number',
    { allow: [entry('a.com', { until: Number.NaN })] },
    ask('a.com'),
    'block entry_expired 1',
  ],
];

describe('which entry speaks', () => {
  for (const [what, lists, request, expected] of plain) {
    it(what, () => assert.equal(brief(judge(lists, request)), expected));
  }
});

describe('groups', () => {
  const groups = [
    group('g', { allow: [entry('a.com', { line: 1 })], deny: [denial('no.com', { line: 2 })] }),
    group('h', { allow: [entry('a.com', { line: 3 })] }),
    group('other', { allow: [entry('b.com', { line: 4 })] }),
  ];
  const grant = (name: string, until = forever) => ({ group: name, until });
  const own = { allow: [entry('a.com', { line: 9 }), entry('no.com', { line: 9 })] };
  const line = (references: AgentSpec['groups'], request: DecisionRequest) => {
    return brief(judge({ ...own, groups: references }, request, { groups }));
  };

  it('are named in the order of the agent, before its own entries', () => {
    assert.equal(line([grant('g'), grant('h')], ask('a.com')), 'allow null 1');
    assert.equal(line([grant('h'), grant('g')], ask('a.com')), 'allow null 3');
    assert.equal(line([], ask('a.com')), 'allow null 9');
    assert.equal(line([grant('g')], ask('b.com')), 'block host_not_allowed -');
  });

  it('end with their grant, but for what they deny', () => {
    const expired = [grant('g', now)];
    assert.equal(line(expired, ask('a.com')), 'allow null 9');
    assert.equal(line(expired, ask('no.com')), 'block denied 2');
    const alone = judge({ groups: expired }, ask('a.com'), { groups });
    assert.equal(brief(alone), 'block entry_expired 1');
    const living = judge({ groups: [grant('g', now + 5)] }, ask('a.com'), { groups });
    assert.equal(living.until, now + 5);
  });

  it('narrow a credential: only their allow entries count, and every deny entry', () => {
    const references = [grant('g'), grant('h')];
    assert.equal(
      line(references, ask('a.com', { scope: [{ groups: ['h'], hosts: [] }] })),
      'allow null 3',
    );
    assert.equal(
      line(references, ask('a.com', { scope: [{ groups: [], hosts: [] }] })),
      'block host_not_allowed -',
    );
    assert.equal(
      line(references, ask('b.com', { scope: [{ groups: ['other'], hosts: [] }] })),
      'block host_not_allowed -',
    );
    assert.equal(
      line(references, ask('no.com', { scope: [{ groups: ['h'], hosts: [] }] })),
      'block denied 2',
    );
    assert.equal(
      line(references, ask('a.com', { scope: [{ groups: ['undefined'], hosts: [] }] })),
      'block host_not_allowed -',
    );
  });

  it('do not speak for a narrowed credential where a specific entry outside says no', () => {
    // Were the agent's own entry left out, the group's wider one would open what the agent may not do.
    const wide = [
      group('g', { allow: [entry('*.com', { scheme: 'http', ports: [80], line: 1 })] }),
    ];
    const own = entry('a.com', { scheme: 'http', ports: [80], methods: ['GET'], line: 9 });
    const request = ask('a.com', { scheme: 'http', port: 80, method: 'POST', path: '/' });
    const scope = [{ groups: ['g'], hosts: [] }];
    for (const narrowed of [request, { ...request, scope }]) {
      const decision = judge({ groups: [grant('g')], allow: [own] }, narrowed, { groups: wide });
      assert.equal(brief(decision), 'block method_not_allowed 9');
    }
    const get = { ...request, method: 'GET', scope };
    const decision = judge({ groups: [grant('g')], allow: [own] }, get, { groups: wide });
    assert.equal(brief(decision), 'block host_not_allowed -');
  });

  it('give a narrowed credential their addresses, and the least upload of all that speak', () => {
    const range = parseCidr('10.0.0.0/8');
    assert.ok(range);
    const shared = [group('g', { allow: [entry('a.com', { upload: 20, line: 1 })] })];
    const own = entry('a.com', { upload: 10, addresses: [range], line: 9 });
    const decide = (scope: DecisionRequest['scope']): Decision =>
      judge({ groups: [grant('g')], allow: [own] }, ask('a.com', { scope }), { groups: shared });
    const whole = decide(undefined);
    assert.deepEqual([whole.upload, whole.addresses.length], [20, 1]);
    const narrow = decide([{ groups: ['g'], hosts: [] }]);
    assert.deepEqual(
      [brief(narrow), narrow.upload, narrow.addresses.length],
      ['allow null 1', 10, 0],
    );
  });

  it('stand beside a top level that denies for all', () => {
    const deny = [denial('a.com', { line: 5 })];
    const decision = judge({ groups: [grant('g')] }, ask('a.com'), { groups, deny });
    assert.equal(brief(decision), 'block denied 5');
  });
});

describe('hosts of a scope', () => {
  const allow = [entry('.a.com', { line: 1 }), entry('10.0.0.0/8', { line: 2 })];
  const deny = [denial('no.a.com', { line: 3 })];
  const part = (...texts: string[]) => ({ groups: [], hosts: texts.map(pattern) });
  const cases: readonly (readonly [string, DecisionRequest['scope'], string])[] = [
    ['x.a.com', [part('*.a.com')], 'allow null 1'],
    ['a.com', [part('*.a.com')], 'block host_not_allowed -'],
    ['x.a.com', [part('b.com', 'x.a.com')], 'allow null 1'],
    ['b.com', [part('b.com')], 'block host_not_allowed -'],
    ['no.a.com', [part('no.a.com')], 'block denied 3'],
    ['x.a.com', [part('x.a.com'), part('y.a.com')], 'block host_not_allowed -'],
    ['x.a.com', [part('x.a.com'), part('*.com')], 'allow null 1'],
    ['x.a.com', [part('*')], 'allow null 1'],
    ['10.1.1.1', [part('*')], 'block host_not_allowed -'],
    ['10.1.1.1', [part('10.1.0.0/16')], 'allow null 2'],
    ['::ffff:10.1.1.1', [part('10.1.0.0/16')], 'allow null 2'],
    ['10.2.1.1', [part('10.1.0.0/16')], 'block host_not_allowed -'],
    ['x.a.com', [{ groups: [], hosts: [] }], 'block host_not_allowed -'],
    ['x.a.com', [], 'allow null 1'],
  ];
  for (const [host, scope, expected] of cases) {
    const parts = (scope ?? []).map(({ hosts }) => hosts.map(({ text }) => text).join(' '));
    it(`${host} under ${JSON.stringify(parts)}: ${expected}`, () => {
      assert.equal(brief(judge({ allow, deny }, ask(host, { scope }))), expected);
    });
  }

  it('bound report mode, which opens no more than they cover', () => {
    const report = (host: string, scope: DecisionRequest['scope'], port = 443): string =>
      brief(judge({ allow, mode: 'report' }, ask(host, { scope, port })));
    assert.equal(report('b.com', undefined), 'allow host_not_allowed -');
    assert.equal(report('b.com', [part('*.com')]), 'allow host_not_allowed -');
    assert.equal(report('b.com', [part('c.com')]), 'block host_not_allowed -');
    assert.equal(report('b.com', [{ groups: ['g'], hosts: [] }]), 'block host_not_allowed -');
    assert.equal(report('x.a.com', [part('x.a.com')], 22), 'allow port_not_allowed 1');
    assert.equal(report('x.a.com', [part('y.a.com')], 22), 'block host_not_allowed -');
  });
});

describe('methods and paths', () => {
  const http = { scheme: 'http', ports: [80] } as const;
  const allow = [
    entry('a.com', { ...http, line: 1, methods: ['GET'], paths: ['/pub/**'] }),
    entry('a.com', { ...http, line: 2, methods: ['POST'], paths: ['/in'] }),
  ];
  const cases: readonly (readonly [string | undefined, string | undefined, string])[] = [
    ['GET', '/pub/x?y', 'allow null 1'],
    ['POST', '/in', 'allow null 2'],
    ['POST', '/pub/x', 'block path_not_allowed 2'],
    ['GET', '/in', 'block path_not_allowed 1'],
    ['GET', '/pub/../in', 'block path_not_allowed 1'],
    ['PUT', '/pub/x', 'block method_not_allowed 1'],
    ['get', '/pub/x', 'block method_not_allowed 1'],
    ['GET', undefined, 'block path_not_allowed 1'],
    ['GET', '*', 'block path_not_allowed 1'],
    [undefined, '/nowhere', 'block path_not_allowed 1'],
    [undefined, undefined, 'allow null 1'],
  ];
  for (const [method, path, expected] of cases) {
    it(`${method} ${path}`, () => {
      const request = ask('a.com', { scheme: 'http', port: 80, method, path });
      assert.equal(brief(judge({ allow }, request)), expected);
    });
  }

  it('leave a CONNECT to an http entry open', () => {
    const decision = judge({ allow }, ask('a.com', { port: 80 }));
    assert.equal(brief(decision), 'allow null 1');
    assert.equal(decision.schemes, HTTP);
  });

  it('do not fall back to a wider entry', () => {
    const wide = entry('*.com', { ...http, line: 3 });
    const request = ask('a.com', { scheme: 'http', port: 80, method: 'PUT', path: '/' });
    assert.equal(brief(judge({ allow: [...allow, wide] }, request)), 'block method_not_allowed 1');
  });
});

describe('entries that need inspection', () => {
  const withMethods = entry('a.com', { line: 1, methods: ['GET'] });
  const withPaths = entry('a.com', { line: 2, paths: ['/a'] });
  const withSecret = entry('a.com', { line: 3, inject: [bearer] });

  for (const [own, expected] of [
    [withMethods, 'block method_not_allowed 1'],
    [withPaths, 'block path_not_allowed 2'],
    [withSecret, 'block path_not_allowed 3'],
  ] as const) {
    it(`are never opened: ${expected}`, () => {
      for (const scheme of ['connect', 'https'] as const) {
        for (const mode of ['enforce', 'report'] as const) {
          const request = ask('a.com', { scheme, method: 'GET', path: '/a' });
          const decision = judge({ mode, allow: [own, entry('*.com', { line: 9 })] }, request);
          assert.equal(brief(decision), expected);
          assert.equal(decision.inspect, true);
          assert.equal(decision.schemes, 0);
        }
      }
    });
  }

  it('give way to an entry of equal pattern that needs none', () => {
    const free = entry('a.com', { line: 4 });
    const decision = judge({ allow: [withMethods, withPaths, free] }, ask('a.com'));
    assert.equal(brief(decision), 'allow null 4');
    assert.equal(decision.inspect, false);
    const tunnel = entry('a.com', { line: 5, scheme: 'http', methods: ['GET'] });
    assert.equal(judge({ allow: [withMethods, tunnel] }, ask('a.com')).schemes, HTTP);
  });

  it('are not meant by inject on plain HTTP', () => {
    const secret = entry('a.com', { scheme: 'http', inject: [bearer] });
    assert.equal(
      brief(judge({ allow: [secret] }, ask('a.com', { scheme: 'http' }))),
      'allow null 1',
    );
  });
});

describe('report mode', () => {
  const allow = [
    entry('a.com', { line: 1 }),
    entry('old.com', { line: 2, until: now, addresses: [parseCidr('10.0.0.0/8')!] }),
    entry('get.com', { line: 3, scheme: 'http', methods: ['GET'], paths: ['/a'], until: now + 1 }),
  ];
  const cases: readonly (readonly [DecisionRequest, string, number])[] = [
    [ask('a.com'), 'allow null 1', HTTPS],
    [ask('b.com'), 'allow host_not_allowed -', TCP],
    [ask('a.com', { port: 22 }), 'allow port_not_allowed 1', TCP],
    [ask('a.com', { scheme: 'http' }), 'allow scheme_not_allowed 1', TCP],
    [ask('old.com'), 'allow entry_expired 2', TCP],
    [
      ask('get.com', { scheme: 'http', method: 'PUT', path: '/a' }),
      'allow method_not_allowed 3',
      HTTP,
    ],
    [
      ask('get.com', { scheme: 'http', method: 'GET', path: '/b' }),
      'allow path_not_allowed 3',
      HTTP,
    ],
    [ask('no.com'), 'block denied 4', 0],
  ];
  for (const [request, expected, schemes] of cases) {
    it(`${request.host}: ${expected}`, () => {
      const lists = { mode: 'report', allow, deny: [denial('no.com', { line: 4 })] } as const;
      const decision = judge(lists, request);
      assert.equal(brief(decision), expected);
      assert.equal(decision.schemes, schemes);
      assert.equal(decision.report, decision.verdict === 'allow' && decision.reason !== null);
      assert.deepEqual(decision.addresses, []);
    });
  }
});

describe('agents', () => {
  it('of another policy may reach nothing, not even in report mode', () => {
    const spec = policySpec({ agents: [agent('a', { mode: 'report', allow: [entry('a.com')] })] });
    const [old, policy] = [buildPolicy(spec), buildPolicy(spec)];
    const stale = old.agents.get('a')!;
    assert.equal(brief(decide(old, stale, ask('a.com'), now)), 'allow null 1');
    assert.equal(brief(decide(policy, stale, ask('a.com'), now)), 'block host_not_allowed -');
  });

  it('find their own entry among thousands for one host', () => {
    const agents = Array.from({ length: 5000 }, (_, i) => {
      const allow = i % 2 === 0 ? [entry('a.com', { line: i + 1, ports: [443, 1000 + i] })] : [];
      return agent(`agent${i}`, {
        allow,
        deny: i % 10 === 4 ? [denial('a.com', { line: i + 1 })] : [],
      });
    });
    const policy = buildPolicy(policySpec({ agents }));
    for (let i = 0; i < 5000; i++) {
      const own = policy.agents.get(`agent${i}`)!;
      const decision = decide(policy, own, ask('a.com', { port: 1000 + i }), now);
      const wanted = i % 2 === 0 ? `allow null ${i + 1}` : 'block host_not_allowed -';
      assert.equal(brief(decision), i % 10 === 4 ? `block denied ${i + 1}` : wanted);
    }
  });

  it('with many groups find the one that has the host', () => {
    const groups = Array.from({ length: 500 }, (_, i) => {
      return group(`g${i}`, {
        allow: [entry(`h${i}.com`, { line: i + 1 }), entry('all.com', { line: i + 1 })],
      });
    });
    const references = groups.map(({ name }) => ({ group: name, until: forever })).reverse();
    const own = { groups: references };
    assert.equal(brief(judge(own, ask('h123.com'), { groups })), 'allow null 124');
    assert.equal(brief(judge(own, ask('all.com'), { groups })), 'allow null 500');
  });
});
