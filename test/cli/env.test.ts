import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { loadCredentialKeys } from '../../src/identity/credential-keys.ts';
import { verifyCredential } from '../../src/identity/issued-credential.ts';
import { Installation } from '../support/command.ts';

const now = Date.UTC(2026, 10, 22, 12);

function installation(): Installation {
  const made = new Installation();
  made.allow(
    'demo.yaml',
    'agents:\n  demo: {owner: ann@example.com, purpose: a test, allow: [docs.python.org]}\n',
  );
  return made;
}

/** The value that a variable has once a shell has read the lines. */
function exported(lines: string, name: string): string {
  const script = `${lines}\nprintf %s "$${name}"`;
  return execFileSync('sh', ['-eu', '-c', script], { encoding: 'utf8', env: {} });
}

describe('env', () => {
  test('prints exports with a credential that holds', async () => {
    using home = installation();
    const result = await home.run(['env', 'demo', '--ttl', '1h'], now);
    assert.equal(result.status, 0, result.stderr);
    assert.match(
      result.stdout,
      /^# agent demo, credential [0-9A-Z]{26}, valid until 2026-11-22T13:00:00\.000Z\n/u,
    );
    const url = new URL(exported(result.stdout, 'https_proxy'));
    assert.deepEqual([url.protocol, url.username, url.host], ['http:', 'demo', '127.0.0.1:3128']);
    const keys = loadCredentialKeys(path.join(home.certs, 'credentials.key'));
    const claims = verifyCredential(keys, url.password, now)?.claims;
    assert.equal(claims?.agent, 'demo');
    assert.equal(claims?.expiresAt, now / 1000 + 3600);
    assert.equal(exported(result.stdout, 'NO_PROXY'), 'localhost,127.0.0.1,::1');
  });

  test('of the real program goes through eval', () => {
    using home = installation();
    const main = path.join(import.meta.dirname, '../../src/main.ts');
    const script = `eval "$("$1" "$2" env demo)"; printf '%s %s' "$HTTPS_PROXY" "$NODE_USE_ENV_PROXY"`;
    const printed = execFileSync('sh', ['-eu', '-c', script, 'sh', process.execPath, main], {
      encoding: 'utf8',
      env: { SALLYPORT_ALLOWLISTS: home.allowlists, SALLYPORT_CERTS: home.certs },
    });
    assert.match(printed, /^http:\/\/demo:sp1\.[\w.-]+@127\.0\.0\.1:3128 1$/u);
  });

  const places: readonly [string, readonly string[], Record<string, string>, string][] = [
    ['another port', [], { SALLYPORT_LISTEN: '127.0.0.1:4000' }, 'http://127.0.0.1:4000'],
    ['every IPv4 address', [], { SALLYPORT_LISTEN: '0.0.0.0:4000' }, 'http://127.0.0.1:4000'],
    ['every address', [], { SALLYPORT_LISTEN: '[::]:4000' }, 'http://127.0.0.1:4000'],
    ['IPv6 loopback', [], { SALLYPORT_LISTEN: '[::1]:4000' }, 'http://[::1]:4000'],
    ['--proxy', ['--proxy', 'proxy.internal:3128'], {}, 'http://proxy.internal:3128'],
    [
      '--proxy as a URL',
      ['--proxy', 'http://proxy.internal:3128/'],
      {},
      'http://proxy.internal:3128',
    ],
    [
      '--proxy with TLS',
      ['--proxy', 'https://[2001:db8::1]:3130'],
      {},
      'https://[2001:db8::1]:3130',
    ],
    [
      '--proxy beside port 0',
      ['--proxy', 'p:1'],
      { SALLYPORT_LISTEN: '127.0.0.1:0' },
      'http://p:1',
    ],
  ];
  for (const [what, argv, env, expected] of places) {
    test(`${what}: ${expected}`, async () => {
      using home = installation();
      const result = await home.run(['env', 'demo', ...argv], now, env);
      assert.equal(result.status, 0, result.stderr);
      const value = exported(result.stdout, 'HTTP_PROXY');
      assert.equal(value.replace(/demo:sp1\.[\w.-]+@/u, ''), expected);
    });
  }

  test('passes over listeners that would not take the credential', async () => {
    using home = installation();
    const config = path.join(home.root, 'sallyport.yaml');
    const tls = { cert: 'a.crt', key: 'a.key', 'client-ca': 'ca.crt' };
    const listen = (...more: readonly object[]) =>
      fs.writeFileSync(config, JSON.stringify({ listen: more }));
    const refusing = [
      { unix: './demo.sock', agent: 'demo' },
      { address: '127.0.0.1:4001', agent: 'other' },
      { address: '127.0.0.1:4002', tls: { ...tls, 'client-certificate': 'required' } },
    ];
    listen(...refusing, { address: '127.0.0.1:4003', tls }, { address: '127.0.0.1:4004' });
    const result = await home.run(['env', 'demo', '--config', config], now);
    assert.equal(result.status, 0, result.stderr);
    assert.equal(new URL(exported(result.stdout, 'HTTPS_PROXY')).host, '127.0.0.1:4003');
    assert.ok(!result.stdout.includes('CURL_HOME'), 'nothing is known of who signed a.crt');
    listen(...refusing);
    const none = await home.run(['env', 'demo', '--config', config], now);
    assert.equal(none.status, 2);
    assert.equal(none.stdout, '');
    assert.match(none.stderr, /no listener with a fixed address takes a credential of this agent/u);
  });

  const refused: readonly [string, readonly string[], Record<string, string>, number, RegExp][] = [
    ['a listener without a fixed port', [], { SALLYPORT_LISTEN: '127.0.0.1:0' }, 2, /--proxy/u],
    ['an address without a port', ['--proxy', 'proxy.internal'], {}, 2, /write HOST:PORT/u],
    ['a path', ['--proxy', 'http://p:1/x'], {}, 2, /write HOST:PORT/u],
    ['another scheme', ['--proxy', 'socks5://p:1'], {}, 2, /write HOST:PORT/u],
    ['a credential of its own', ['--proxy', 'http://a:b@p:1'], {}, 2, /write HOST:PORT/u],
    ['shell text', ['--proxy', "p';id;':1"], {}, 2, /write HOST:PORT/u],
  ];
  for (const [what, argv, env, status, message] of refused) {
    test(`refuses ${what}`, async () => {
      using home = installation();
      const result = await home.run(['env', 'demo', ...argv], now, env);
      assert.equal(result.status, status);
      assert.equal(result.stdout, '');
      assert.match(result.stderr, message);
      assert.equal(fs.existsSync(home.certs), false);
    });
  }

  test('an unknown agent prints nothing that a shell would run', async () => {
    using home = installation();
    const result = await home.run(['env', 'dmo'], now);
    assert.equal(result.status, 1);
    assert.equal(result.stdout, '');
    assert.match(result.stderr, /did you mean `demo`/u);
  });
});

describe('env, where hosts are inspected', () => {
  const inspected = `agents:
  demo: {owner: ann@example.com, purpose: a test, allow: [{host: api.test, methods: [GET]}]}
`;

  async function exports(home: Installation, ...argv: string[]): Promise<string> {
    home.allow('demo.yaml', inspected);
    assert.equal((await home.run(['ca', 'init'])).status, 0);
    const result = await home.run(['env', 'demo', ...argv]);
    assert.equal(result.status, 0, result.stderr);
    return result.stdout;
  }

  test('names the bundle or the authority, as tools read it', async () => {
    using home = new Installation();
    const lines = await exports(home);
    const own = path.join(home.certs, 'ca.crt');
    const bundle = path.join(home.certs, 'ca-bundle.pem');
    for (const name of [
      'SSL_CERT_FILE',
      'CURL_CA_BUNDLE',
      'GIT_SSL_CAINFO',
      'REQUESTS_CA_BUNDLE',
      'PIP_CERT',
      'CARGO_HTTP_CAINFO',
      'AWS_CA_BUNDLE',
      'npm_config_cafile',
    ]) {
      assert.equal(exported(lines, name), bundle, name);
    }
    for (const name of ['NODE_EXTRA_CA_CERTS', 'DENO_CERT']) {
      assert.equal(exported(lines, name), own, name);
    }
    const apt = exported(lines, 'APT_CONFIG');
    const info = `Acquire::https::CAInfo "${bundle}";\n`;
    assert.equal(fs.readFileSync(apt, 'utf8'), `${info}APT::Sandbox::User "root";\n`);
    for (const directory of [home.root, home.certs]) fs.chmodSync(directory, 0o711);
    await home.run(['env', 'demo']);
    assert.equal(fs.readFileSync(apt, 'utf8'), info);
    const pems = fs.readFileSync(bundle, 'latin1');
    assert.ok(pems.endsWith(fs.readFileSync(own, 'latin1')));
    assert.ok(!pems.includes('PRIVATE'));
  });

  test('during an overlap the bundle ends with both authorities, each once', async () => {
    using home = new Installation();
    await exports(home);
    await home.run(['ca', 'rotate']);
    await home.run(['env', 'demo']);
    const pems = fs.readFileSync(path.join(home.certs, 'ca-bundle.pem'), 'latin1');
    const own = fs.readFileSync(path.join(home.certs, 'ca.crt'), 'latin1');
    assert.ok(pems.endsWith(own));
    const all = pems.split('-----END CERTIFICATE-----').map((pem) => pem.trim());
    assert.equal(new Set(all).size, all.length);
  });

  test('tells Java of a store and of the proxy, and not of the credential', async () => {
    using home = new Installation();
    const options = exported(await exports(home), 'JAVA_TOOL_OPTIONS');
    assert.deepEqual(options.split(' '), [
      `-Djavax.net.ssl.trustStore=${path.join(home.certs, 'ca-trust.jks')}`,
      '-Djavax.net.ssl.trustStorePassword=changeit',
      '-Dhttp.proxyHost=127.0.0.1',
      '-Dhttp.proxyPort=3128',
      '-Dhttps.proxyHost=127.0.0.1',
      '-Dhttps.proxyPort=3128',
      '-Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]',
    ]);
  });

  test('tells Java of no proxy to which it would have to speak TLS', async () => {
    using home = new Installation();
    const lines = await exports(home, '--proxy', 'https://proxy.internal:3130');
    const options = exported(lines, 'JAVA_TOOL_OPTIONS');
    assert.match(options, /^-Djavax\.net\.ssl\.trustStore=\S+ -D\S+=changeit$/u);
  });

  test('says what is missing without an authority, and nothing where none is needed', async () => {
    using home = new Installation();
    home.allow('demo.yaml', inspected);
    const { stdout } = await home.run(['env', 'demo']);
    assert.match(stdout, /# Some entries of this agent need TLS inspection.*`sallyport ca init`/u);
    assert.doesNotMatch(stdout, /SSL_CERT_FILE|JAVA_TOOL_OPTIONS|APT_CONFIG/u);
    using other = installation();
    await other.run(['ca', 'init']);
    const plain = await other.run(['env', 'demo']);
    assert.doesNotMatch(plain.stdout, /SSL_CERT_FILE|JAVA_TOOL_OPTIONS|APT_CONFIG/u);
  });
});
