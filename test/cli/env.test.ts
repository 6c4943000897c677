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
