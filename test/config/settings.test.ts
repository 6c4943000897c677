import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadSettings, type Settings, type SettingsFlags } from '../../src/config/settings.ts';
import { type Setting, settingsTable } from '../../src/config/settings-table.ts';

type Env = Readonly<Record<string, string>>;

const load = (flags: SettingsFlags, env: Env, file = ''): ReturnType<typeof loadSettings> =>
  loadSettings(flags, env, (path) => {
    assert.equal(path, 'x.yaml');
    return new TextEncoder().encode(file);
  });

function settings(flags: SettingsFlags, env: Env, file?: string): Settings {
  const loaded = load(file === undefined ? flags : { config: 'x.yaml', ...flags }, env, file);
  assert.ok('settings' in loaded, JSON.stringify(loaded));
  return loaded.settings;
}

function problems(flags: SettingsFlags, env: Env, file?: string): string[] {
  const loaded = load(file === undefined ? flags : { config: 'x.yaml', ...flags }, env, file);
  assert.ok('problems' in loaded);
  return loaded.problems.map(
    ({ file: at, line, column, code }) => `${at}:${line}:${column} ${code}`,
  );
}

const plain = (host: string, port: number) => ({
  at: { host, port },
  tls: null,
  agent: null,
  proxyProtocol: [],
});

test('defaults are those of the contract', () => {
  assert.deepEqual(settings({}, {}), {
    listen: [plain('127.0.0.1', 3128)],
    allowlists: './allowlists',
    certs: './certs',
    log: './logs/egress.jsonl',
    admin: { host: '127.0.0.1', port: 3129 },
    workers: 1,
    trust: [],
    limits: {
      connections: 10_000,
      headTimeout: 10_000,
      helloTimeout: 10_000,
      connectTimeout: 10_000,
      idleTimeout: 900_000,
      drainTimeout: 30_000,
    },
    resolver: { servers: [], timeout: 5000, cache: 10_000 },
  });
});

test('the example of the contract is read whole', () => {
  const file = `
listen:
  - 127.0.0.1:3128
  - {address: 0.0.0.0:3130, tls: {cert: certs/proxy.crt, key: certs/proxy.key, client-ca: certs/ca.crt}}
allowlists: ./other
certs: ./keys
log: "-"
admin: "[::1]:0"
workers: auto
trust: [a.pem, b.pem]
limits: {connections: 5, head-timeout: 1s, hello-timeout: 2s, connect-timeout: 3s, idle-timeout: 4m, drain-timeout: 500ms}
resolver: {servers: [192.0.2.53, "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:53"], timeout: 1s, cache: 0}
`;
  const tls = {
    cert: 'certs/proxy.crt',
    key: 'certs/proxy.key',
    clientCa: 'certs/ca.crt',
    required: false,
    crl: null,
  };
  assert.deepEqual(settings({}, {}, file), {
    listen: [plain('127.0.0.1', 3128), { ...plain('0.0.0.0', 3130), tls }],
    allowlists: './other',
    certs: './keys',
    log: '-',
    admin: { host: '::1', port: 0 },
    workers: 'auto',
    trust: ['a.pem', 'b.pem'],
    limits: {
      connections: 5,
      headTimeout: 1000,
      helloTimeout: 2000,
      connectTimeout: 3000,
      idleTimeout: 240_000,
      drainTimeout: 500,
    },
    resolver: {
      servers: ['192.0.2.53', '192.0.2.53:5353', '2001:db8::53', '[2001:db8::53]:53'],
      timeout: 1000,
      cache: 0,
    },
  });
});

describe('flags win over variables, variables over the file, the file over defaults', () => {
  const file = 'log: file.jsonl\nworkers: 2\nlisten: [127.0.0.1:1]\n';
  const env = { SALLYPORT_LOG: 'env.jsonl', SALLYPORT_LISTEN: '127.0.0.1:2, [::1]:3' };
  test('each by itself', () => {
    const all = settings({ log: 'flag.jsonl' }, env, file);
    assert.equal(all.log, 'flag.jsonl');
    assert.deepEqual(all.listen, [plain('127.0.0.1', 2), plain('::1', 3)]);
    assert.equal(all.workers, 2);
    assert.equal(all.allowlists, './allowlists');
  });
  test('a repeated flag makes a list', () => {
    const { listen } = settings({ listen: ['127.0.0.1:0', '127.0.0.1:0'] }, env);
    assert.deepEqual(listen, [plain('127.0.0.1', 0), plain('127.0.0.1', 0)]);
  });
  test('every variable has its effect', () => {
    const from = settings(
      {},
      {
        SALLYPORT_ALLOWLISTS: 'a',
        SALLYPORT_CERTS: 'c',
        SALLYPORT_LISTEN: 'localhost:1',
        SALLYPORT_LOG: '-',
        SALLYPORT_ADMIN: '127.0.0.1:2',
        SALLYPORT_WORKERS: '3',
      },
    );
    assert.deepEqual(
      [from.allowlists, from.certs, from.listen[0]?.at, from.log, from.admin.port, from.workers],
      ['a', 'c', { host: 'localhost', port: 1 }, '-', 2, 3],
    );
  });
  test('SALLYPORT_CONFIG names the file, and an empty variable is none', () => {
    const loaded = load({}, { SALLYPORT_CONFIG: 'x.yaml', SALLYPORT_LOG: '' }, file);
    assert.ok('settings' in loaded);
    assert.equal(loaded.settings.log, 'file.jsonl');
  });
});

test('listeners of every kind are read', () => {
  const file = `
listen:
  - {unix: /run/sallyport/demo.sock, mode: "0660", agent: demo}
  - {unix: ./any.sock, mode: 0640}
  - {address: "[::1]:3131", agent: demo, proxy-protocol: [10.0.0.0/24, "2001:db8::/32"]}
  - address: 0.0.0.0:3130
    tls: {cert: a, key: b, client-ca: c, client-certificate: required, client-crl: d}
`;
  const { listen } = settings({}, {}, file);
  assert.deepEqual(listen.slice(0, 2), [
    { ...plain('', 0), at: { path: '/run/sallyport/demo.sock', mode: 0o660 }, agent: 'demo' },
    { ...plain('', 0), at: { path: './any.sock', mode: 0o640 } },
  ]);
  assert.equal(listen[2]?.agent, 'demo');
  assert.deepEqual(
    listen[2]?.proxyProtocol.map((range) => range.text),
    ['10.0.0.0/24', '2001:db8::/32'],
  );
  const tls = { cert: 'a', key: 'b', clientCa: 'c', required: true, crl: 'd' };
  assert.deepEqual(listen[3], { ...plain('0.0.0.0', 3130), tls });
});

describe('refused with a place', () => {
  const inFile: readonly [string, readonly string[]][] = [
    ['lisen: [127.0.0.1:1]', ['x.yaml:1:1 unknown-key']],
    ['limits:\n  head_timeout: 1s', ['x.yaml:2:3 unknown-key']],
    ['limits: 5', ['x.yaml:1:9 wrong-type']],
    ['limits: {connections: 0}', ['x.yaml:1:23 bad-value']],
    ['limits: {head-timeout: 10}', ['x.yaml:1:24 bad-duration']],
    ['listen: 127.0.0.1:3128', ['x.yaml:1:9 wrong-type']],
    ['listen: []', ['x.yaml:1:9 empty-list']],
    ['listen: [3128]', ['x.yaml:1:10 bad-setting']],
    ['listen: ["*:3128"]', ['x.yaml:1:10 bad-setting']],
    ['listen: [127.0.0.1]', ['x.yaml:1:10 bad-setting']],
    ['listen: [127.0.0.1:1, 127.0.0.1:1]', ['x.yaml:1:23 duplicate-value']],
    ['listen: [{tls: {cert: a, key: b}}]', ['x.yaml:1:10 missing-key']],
    ['listen: [{address: 127.0.0.1:1, tls: {cert: a}}]', ['x.yaml:1:38 missing-key']],
    [
      'listen: [{address: 127.0.0.1:1, tls: {cert: a, key: b, ca: c}}]',
      ['x.yaml:1:56 unknown-key'],
    ],
    ['listen: [{unix: /run/x.sock, address: 127.0.0.1:1}]', ['x.yaml:1:30 conflicting-keys']],
    ['listen: [{unix: /run/x.sock, tls: {}}]', ['x.yaml:1:30 conflicting-keys']],
    ['listen: [{unix: x.sock}]', ['x.yaml:1:17 bad-setting']],
    [`listen: [{unix: /${'x'.repeat(90)}}]`, ['x.yaml:1:17 bad-setting']],
    ['listen: [{unix: /run/x.sock, mode: 660}]', ['x.yaml:1:36 bad-setting']],
    ['listen: [{address: 127.0.0.1:1, mode: "0660"}]', ['x.yaml:1:33 conflicting-keys']],
    ['listen: [{unix: /run/x.sock}, {unix: /run/x.sock}]', ['x.yaml:1:31 duplicate-value']],
    ['listen: [{address: 127.0.0.1:1, agent: Demo}]', ['x.yaml:1:40 bad-setting']],
    ['listen: [{address: 127.0.0.1:1, proxy-protocol: []}]', ['x.yaml:1:49 empty-list']],
    ['listen: [{address: 127.0.0.1:1, proxy-protocol: [10.0.0.1/8]}]', ['x.yaml:1:50 bad-address']],
    [
      'listen: [{address: 127.0.0.1:1, tls: {cert: a, key: b, client-crl: c}}]',
      ['x.yaml:1:56 missing-key'],
    ],
    [
      'listen: [{address: 127.0.0.1:1, tls: {cert: a, key: b, client-certificate: required}}]',
      ['x.yaml:1:56 missing-key'],
    ],
    [
      'listen: [{address: 127.0.0.1:1, tls: {cert: a, key: b, client-ca: c, client-certificate: yes}}]',
      ['x.yaml:1:90 bad-value'],
    ],
    ['workers: 0', ['x.yaml:1:10 bad-value']],
    ['workers: many', ['x.yaml:1:10 bad-value']],
    ['resolver: {servers: [dns.example.com]}', ['x.yaml:1:22 bad-setting']],
    ['resolver: {cache: -1}', ['x.yaml:1:19 bad-value']],
    ['config: other.yaml', ['x.yaml:1:1 unknown-key']],
    ['limits.connections: 5', ['x.yaml:1:1 unknown-key']],
    ['[', ['x.yaml:1:2 yaml-syntax']],
    ['just text', ['x.yaml:1:1 wrong-type']],
    ['log: 5\nadmin: x', ['x.yaml:1:6 wrong-type', 'x.yaml:2:8 bad-setting']],
  ];
  for (const [file, expected] of inFile) {
    test(file, () => assert.deepEqual(problems({}, {}, file), expected));
  }

  test('a flag and a variable are named', () => {
    assert.deepEqual(problems({ workers: '1.5' }, { SALLYPORT_ADMIN: 'nowhere' }), [
      '--workers:1:1 bad-value',
      'SALLYPORT_ADMIN:1:1 bad-setting',
    ]);
  });

  test('a file that cannot be read', () => {
    const loaded = loadSettings({ config: '/nonexistent/x.yaml' }, {});
    assert.ok('problems' in loaded);
    assert.equal(loaded.problems[0]?.code, 'file-unreadable');
  });
});

test('every default is right as it stands, and every variable is named by its setting', () => {
  for (const [name, setting] of Object.entries<Setting<unknown>>(settingsTable)) {
    if (setting.variable !== undefined) {
      assert.equal(setting.variable, `SALLYPORT_${name.toUpperCase()}`);
      assert.equal(setting.flag, `--${name}`);
    }
    // Given as a file's text, the default changes nothing.
    const value = setting.list ? `[${setting.default}]` : `"${setting.default}"`;
    const text = /^\d+$/u.test(setting.default) ? setting.default : value;
    if (setting.list && setting.default === '') continue;
    const [outer = '', inner] = name.split('.');
    const file = inner === undefined ? `${outer}: ${text}` : `${outer}: {${inner}: ${text}}`;
    assert.deepEqual(settings({}, {}, file), settings({}, {}), name);
  }
});
