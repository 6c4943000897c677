import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Installation } from '../support/command.ts';

const now = Date.UTC(2026, 10, 22, 12);
const lists = `groups:
  docs:
    allow:
      - docs.example.com
agents:
  demo:
    owner: ann@example.com
    purpose: a test
    allow:
      - group: docs
      - registry.npm.example
      - "*.wild.example"
      - http://deb.example.org
      - tcp://git.example.com:22
      - 10.0.0.0/8
      - 127.0.0.0/8:3128
      - {host: old.example.com, until: 2026-01-01T00:00:00Z}
      - {host: read.example.com, scheme: http, methods: [GET], paths: ["/pub/**"]}
      - {host: api.example.com, methods: [GET], note: OPS-1}
      - 2001:db8::1
    deny:
      - evil.wild.example
  watcher: {owner: ops@example.com, purpose: p, mode: report, allow: [registry.npm.example]}
`;

function installation(text = lists): Installation {
  const made = new Installation();
  made.allow('a.yaml', text);
  return made;
}

interface Printed {
  verdict: string;
  reason: string | null;
  scheme: string | null;
  host: string | null;
  port: number | null;
  entry?: string;
  near: { entry: string; host: string; why: string }[];
}

/** verdict, reason, scheme, host, port, entry */
type Row = readonly [
  string,
  readonly string[],
  string,
  string | null,
  string | null,
  string | null,
  number | null,
  string | undefined,
];

const rows: readonly Row[] = [
  ['registry.npm.example', [], 'allow', null, 'https', 'registry.npm.example', 443, 'a.yaml:11'],
  [
    'registry.npm.example.:443',
    [],
    'allow',
    null,
    'https',
    'registry.npm.example',
    443,
    'a.yaml:11',
  ],
  ['REGISTRY.npm.example', [], 'allow', null, 'https', 'registry.npm.example', 443, 'a.yaml:11'],
  ['docs.example.com', [], 'allow', null, 'https', 'docs.example.com', 443, 'a.yaml:4'],
  ['https://docs.example.com/a?b', [], 'allow', null, 'https', 'docs.example.com', 443, 'a.yaml:4'],
  ['wss://docs.example.com/a', [], 'allow', null, 'https', 'docs.example.com', 443, 'a.yaml:4'],
  ['deb.example.org:80', [], 'allow', null, 'http', 'deb.example.org', 80, 'a.yaml:13'],
  ['http://deb.example.org', [], 'allow', null, 'http', 'deb.example.org', 80, 'a.yaml:13'],
  ['git.example.com:22', [], 'allow', null, 'tcp', 'git.example.com', 22, 'a.yaml:14'],
  ['tcp://git.example.com:22', [], 'allow', null, 'tcp', 'git.example.com', 22, 'a.yaml:14'],
  ['10.1.2.3', [], 'allow', null, 'https', '10.1.2.3', 443, 'a.yaml:15'],
  ['2001:DB8::1', [], 'allow', null, 'https', '2001:db8::1', 443, 'a.yaml:20'],
  ['[2001:db8::1]:443', [], 'allow', null, 'https', '2001:db8::1', 443, 'a.yaml:20'],
  ['evil.example', [], 'block', 'host_not_allowed', 'https', 'evil.example', 443, undefined],
  [
    'docs.example.com:22',
    [],
    'block',
    'port_not_allowed',
    'https',
    'docs.example.com',
    22,
    'a.yaml:4',
  ],
  ['https://git.example.com:22', [], 'allow', null, 'https', 'git.example.com', 22, 'a.yaml:14'],
  [
    'http://git.example.com:22/',
    [],
    'block',
    'scheme_not_allowed',
    'http',
    'git.example.com',
    22,
    'a.yaml:14',
  ],
  ['evil.wild.example', [], 'block', 'denied', 'https', 'evil.wild.example', 443, 'a.yaml:22'],
  ['old.example.com', [], 'block', 'entry_expired', 'https', 'old.example.com', 443, 'a.yaml:17'],
  [
    'old.example.com',
    ['--at', '2025-12-31T23:59:59Z'],
    'allow',
    null,
    'https',
    'old.example.com',
    443,
    'a.yaml:17',
  ],
  ['http://read.example.com/pub/x', [], 'allow', null, 'http', 'read.example.com', 80, 'a.yaml:18'],
  [
    'http://read.example.com/pub/x',
    ['--method', 'POST'],
    'block',
    'method_not_allowed',
    'http',
    'read.example.com',
    80,
    'a.yaml:18',
  ],
  [
    'http://read.example.com/private',
    [],
    'block',
    'path_not_allowed',
    'http',
    'read.example.com',
    80,
    'a.yaml:18',
  ],
  ['127.0.0.1:3128', [], 'block', 'loop', 'https', '127.0.0.1', 3128, undefined],
  ['127.0.0.2:3128', [], 'allow', null, 'https', '127.0.0.2', 3128, 'a.yaml:16'],
  ['ex ample.com', [], 'block', 'bad_target', null, null, null, undefined],
  ['user@example.com', [], 'block', 'bad_target', null, null, null, undefined],
  ['example.com:0443', [], 'block', 'bad_target', null, null, null, undefined],
  ['127.1:443', [], 'block', 'bad_target', null, null, null, undefined],
  ['ftp://example.com/', [], 'block', 'bad_target', null, null, null, undefined],
  ['tcp://example.com', [], 'block', 'bad_target', null, null, null, undefined],
  ['http://example.com/a#b', [], 'block', 'bad_target', null, null, null, undefined],
];

describe('explain --json', () => {
  for (const [target, more, verdict, reason, scheme, host, port, entry] of rows) {
    test(`${target} ${more.join(' ')}`, async () => {
      using home = installation();
      const argv = ['explain', '--agent', 'demo', target, '--json', ...more];
      const { status, stdout } = await home.run(argv, now);
      const printed: Printed = JSON.parse(stdout);
      assert.deepEqual(
        [
          printed.verdict,
          printed.reason,
          printed.scheme,
          printed.host,
          printed.port,
          printed.entry,
        ],
        [verdict, reason, scheme, host, port, entry],
      );
      assert.equal(status, verdict === 'allow' ? 0 : 1);
      const keys = Object.keys(printed).filter((key) => key !== 'entry');
      assert.deepEqual(keys, [
        'verdict',
        'reason',
        'agent',
        'scheme',
        'host',
        'port',
        'group',
        'policy',
        'inspect',
        'near',
      ]);
    });
  }

  test('names group, policy and the nearest entries', async () => {
    using home = installation();
    const allowed = await home.run(
      ['explain', '--agent', 'demo', 'docs.example.com', '--json'],
      now,
    );
    assert.equal(JSON.parse(allowed.stdout).group, 'docs');
    assert.match(JSON.parse(allowed.stdout).policy, /^[0-9a-f]{12}$/u);
    const blocked = await home.run(
      ['explain', '--agent', 'demo', 'a.docs.example.com', '--json'],
      now,
    );
    const [near] = JSON.parse(blocked.stdout).near;
    assert.deepEqual([near.entry, near.host], ['a.yaml:4', 'docs.example.com']);
    assert.match(near.why, /\S/u);
  });

  test('an https entry with conditions needs inspection', async () => {
    using home = installation();
    const { stdout } = await home.run(
      ['explain', '--agent', 'demo', 'api.example.com', '--json'],
      now,
    );
    assert.equal(JSON.parse(stdout).inspect, true);
  });

  test('report mode allows with the reason', async () => {
    using home = installation();
    const { status, stdout } = await home.run(
      ['explain', '--agent', 'watcher', 'evil.example', '--json'],
      now,
    );
    const { verdict, reason } = JSON.parse(stdout);
    assert.deepEqual([status, verdict, reason], [0, 'allow', 'host_not_allowed']);
  });

  test('an unknown agent is a block, with the nearest name on standard error', async () => {
    using home = installation();
    const { status, stdout, stderr } = await home.run(
      ['explain', '--agent', 'dem', 'docs.example.com', '--json'],
      now,
    );
    const printed = JSON.parse(stdout);
    assert.deepEqual([status, printed.verdict, printed.reason], [1, 'block', 'bad_credentials']);
    assert.match(stderr, /no agent `dem`.*did you mean `demo`\?/u);
  });
});

describe('explain for a person', () => {
  const explain = async (target: string): Promise<string> => {
    using home = installation();
    return (await home.run(['explain', '--agent', 'demo', target], now)).stdout;
  };

  test('an allow shows the entry and its line', async () => {
    const text = await explain('docs.example.com');
    assert.match(text, /^ALLOW {2}demo → docs\.example\.com:443 \(CONNECT\)\n/u);
    assert.match(
      text,
      /\na\.yaml:4 {2}allow entry, in the group docs\n {4}- docs\.example\.com\n/u,
    );
    assert.match(text, /\npolicy [0-9a-f]{12}\n$/u);
  });

  const advice: readonly [string, RegExp][] = [
    ['evil.example', /\n {4}- evil\.example\n/u],
    ['evil.example:22', /\n {4}- tcp:\/\/evil\.example:22\n/u],
    ['http://evil.example:8080/x', /\n {4}- http:\/\/evil\.example:8080\n/u],
    ['evil.example:80', /\n {4}- http:\/\/evil\.example\n/u],
    ['https://evil.example:8443/', /\n {4}- evil\.example:8443\n/u],
    ['[2001:db8::2]:8443', /\n {4}- "\[2001:db8::2\]:8443" /u],
    ['2001:db8::2', /\n {4}- "2001:db8::2"\n/u],
    ['evil.example', /\nor ask ann@example\.com\.\n/u],
    ['evil.wild.example', /narrow or delete the deny entry at a\.yaml:22\./u],
    ['old.example.com', /write a later `until` at a\.yaml:17/u],
    ['http://read.example.com/x', /The entry allows methods GET and paths \/pub\/\*\*\./u],
    ['169.254.169.254:80', /no entry can grant it\./u],
    ['metadata.google.internal', /no entry can grant it\./u],
    ['user@x', /The target is malformed: a user name or password/u],
  ];
  for (const [target, expected] of advice) {
    test(`of ${target}`, async () => assert.match(await explain(target), expected));
  }

  test('what it tells to write makes it an allow', async () => {
    for (const [target] of advice.slice(0, 7)) {
      const snippet = /\n {4}- (.*?)(?: {4}#.*)?\n/u.exec(
        (await explain(target)).split('To allow it')[1] ?? '',
      )?.[1];
      assert.ok(snippet !== undefined, target);
      using home = installation(lists.replace('    deny:', `      - ${snippet}\n    deny:`));
      const { status, stdout, stderr } = await home.run(
        ['explain', '--agent', 'demo', target],
        now,
      );
      assert.equal(status, 0, `${target}: ${snippet}\n${stdout}${stderr}`);
    }
  });
});

describe('explain of requests', () => {
  const conditions = `agents:
  demo:
    owner: ann@example.com
    purpose: a test
    allow:
      - host: git.example.com
        scheme: http
        paths: ["/app.git/**"]
        query: {service: git-upload-pack}
      - host: mcp.example.com
        scheme: http
        headers: {require: {x-team: blue, x-any: "*"}, strip: [cookie]}
        content-types: [application/json]
        max-body: 1KB
        tools: {allow: [search, "read_*"], deny: [read_secrets], log: [path]}
        inject: [{basic: me, secret: {env: NOBODY_SEES_THIS}}]
        pass: [x-csrf-token]
        note: meant
      - {host: none.example.com, scheme: http, query: [], methods: [POST]}
`;
  const explain = async (...more: string[]) => {
    using home = installation(conditions);
    return await home.run(['explain', '--agent', 'demo', ...more], now);
  };

  const git = 'http://git.example.com/app.git/info/refs';
  const mcp = 'http://mcp.example.com/mcp';
  const cases: readonly (readonly [string, readonly string[], string | null, string?])[] = [
    [`${git}?service=git-upload-pack`, [], null],
    [
      `${git}?service=git-receive-pack`,
      [],
      'path_not_allowed',
      'query key service has a value that is not in git-upload-pack',
    ],
    [`${git}?x=1`, [], 'path_not_allowed', 'query key x is not in service'],
    [`${git}?service;x`, [], 'path_not_allowed', 'servers read its query in different ways'],
    [
      'http://git.example.com/?service=git-upload-pack',
      [],
      'path_not_allowed',
      'it covers only the paths /app.git/**',
    ],
    [mcp, [], null],
    [mcp, ['--tool', 'read_file'], null],
    [
      mcp,
      ['--tool', 'read_secrets'],
      'tool_not_allowed',
      'tool read_secrets is not among those that it allows (search, read_* but not read_secrets)',
    ],
    // A tool is called by POST, unless another method is named.
    ['http://none.example.com/', ['--tool', 'x'], null],
    [
      'http://none.example.com/',
      ['--tool', 'x', '--method', 'GET'],
      'method_not_allowed',
      'method GET is not in POST',
    ],
    [
      'http://none.example.com/?a',
      ['--method', 'POST'],
      'path_not_allowed',
      'query key a is not in it: there may be no query',
    ],
  ];
  for (const [target, more, reason, why] of cases) {
    test(`${target} ${more.join(' ')}: ${reason}`, async () => {
      const { status, stdout } = await explain(target, ...more, '--json');
      const printed: Printed = JSON.parse(stdout);
      assert.equal(printed.reason, reason);
      assert.equal(status, reason === null ? 0 : 1);
      assert.equal(printed.near[0]?.why, why);
    });
  }

  test('shows what the entry asks for and does, but not where the secret is', async () => {
    const { stdout } = await explain(mcp);
    const shown = stdout.split('\n').filter((line) => line.startsWith('    '));
    assert.deepEqual(shown.slice(1), [
      '    allows headers x-team: blue, x-any',
      '    allows bodies of application/json',
      '    allows bodies of at most 1000 bytes',
      '    allows tools search, read_* but not read_secrets',
      '    headers and bodies are judged when they are sent',
      '    takes away cookie',
      "    adds authorization; the client's own credentials go, but for x-csrf-token",
      '    note: meant',
    ]);
    assert.doesNotMatch(stdout, /NOBODY_SEES_THIS/u);
  });

  test('says that it is the query, and what may be in it', async () => {
    const { stdout } = await explain(`${git}?x`);
    assert.match(stdout, /git\.example\.com is allowed, but not with this query\./u);
    assert.match(stdout, /allows paths \/app\.git\/\*\* and query service=git-upload-pack\./u);
  });
});

describe('explain --only', () => {
  const cases: readonly (readonly [string, readonly string[], number, RegExp])[] = [
    ['docs.example.com', ['docs'], 0, /^ALLOW/u],
    ['docs.example.com', ['group:docs'], 0, /^ALLOW/u],
    ['a.wild.example', ['docs', '*.wild.example'], 0, /^ALLOW/u],
    [
      'registry.npm.example',
      ['docs'],
      1,
      /^BLOCK.*\n\nregistry\.npm\.example is on the allowlist of agent demo, but not in what the credential is narrowed to\.\n[\s\S]*The entry is a\.yaml:11; a credential that includes it/u,
    ],
    ['other.example', ['docs'], 1, /is not on the allowlist of agent demo\.\n[\s\S]*To allow it/u],
    ['evil.wild.example', ['*.wild.example'], 1, /A deny entry blocks/u],
    ['docs.example.com', ['dcos'], 1, /^$/u],
  ];
  for (const [target, only, status, text] of cases) {
    test(`${only.join(' ')}: ${target}, ${status}`, async () => {
      using home = installation();
      const argv = ['explain', '--agent', 'demo', target, '--only', ...only];
      const result = await home.run(argv, now);
      assert.equal(result.status, status, result.stderr);
      assert.match(result.stdout, text);
    });
  }
});

describe('explain refuses', () => {
  test('broken allowlists, with their problems', async () => {
    using home = installation('agents: {demo: {owner: a}}');
    const { status, stdout, stderr } = await home.run(['explain', '--agent', 'demo', 'x.example']);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /^a\.yaml:1:10 {2}missing-key {2}/u);
  });

  const wrongUsage: readonly (readonly string[])[] = [
    ['explain', 'example.com'],
    ['explain', '--agent', 'demo'],
    ['explain', '--agent', 'demo', 'a', 'b'],
    ['explain', '--agent', 'demo', 'a', '--at', 'tomorrow'],
    ['explain', '--agent', 'demo', 'a', '--method', 'get'],
    ['explain', '--agent', 'demo', 'a.example.com', '--tool', 'search'],
    ['explain', '--agent', 'demo', 'tcp://a.example.com:22', '--tool', 'search'],
  ];
  for (const argv of wrongUsage) {
    test(`\`${argv.join(' ')}\` as wrong usage`, async () => {
      using home = installation();
      const { status, stdout, stderr } = await home.run(argv);
      assert.deepEqual([status, stdout], [2, '']);
      assert.match(stderr, /^sallyport: /u);
    });
  }
});
