import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { inspectClientCertificate } from '../../src/identity/client-certificate.ts';
import { Installation } from '../support/command.ts';

const run = promisify(execFile);
const now = Date.now();
const spiffe = 'spiffe://example.com/agent/demo';

async function installation(): Promise<Installation> {
  const home = new Installation();
  home.allow(
    'demo.yaml',
    `agents:
  demo:
    owner: ann@example.com
    purpose: a test
    credentials: {issued: false, certificates: ["${spiffe}"]}
    allow: [docs.python.org]
`,
  );
  await home.run(['ca', 'init'], now);
  await home.run(['cert', 'server', '127.0.0.1'], now);
  return home;
}

const listener = (home: Installation) => path.join(home.certs, 'listeners', '127.0.0.1');

/** Runs a script in a shell that has taken the exports. */
async function inShell(exports: string, script: string, home: Installation): Promise<string> {
  const { PATH } = process.env;
  const { stdout } = await run('sh', ['-c', `${exports}\n${script}`], {
    env: { PATH, HOME: home.root },
    timeout: 30_000,
  });
  return stdout;
}

describe('env --certificate', () => {
  test('lets curl and git show it to a proxy', async () => {
    using home = await installation();
    const seen: string[] = [];
    const server = tls.createServer(
      {
        cert: fs.readFileSync(`${listener(home)}.crt`),
        key: fs.readFileSync(`${listener(home)}.key`),
        ca: fs.readFileSync(path.join(home.certs, 'ca.crt')),
        requestCert: true,
      },
      (socket) => {
        socket.once('data', (head) => {
          const facts = inspectClientCertificate(socket.getPeerX509Certificate()?.raw ?? head);
          const who = typeof facts === 'string' ? facts : facts.spiffe;
          seen.push(`${head.toString('latin1').split(' HTTP/', 1)[0]} ${who}`);
          socket.end('HTTP/1.1 403 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
        });
        socket.on('error', () => socket.destroy());
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    // The colon would begin a password in a name of curl's, the rest would end a word of the shell's.
    const out = path.join(home.root, "it's: here");
    const argv = ['env', 'demo', '--certificate', '--proxy', `127.0.0.1:${port}`, '--out', out];
    const result = await home.run(argv, now);
    assert.equal(result.status, 0, result.stderr);
    const script = `
      curl -sS -o /dev/null https://docs.example/ 2>&1
      curl -sS -o /dev/null http://docs.example/a 2>&1
      git ls-remote https://git.example/x.git 2>&1`;
    const said = await inShell(result.stdout, `${script} || true`, home);
    server.close();
    assert.deepEqual(
      seen,
      ['CONNECT docs.example:443', 'GET http://docs.example/a', 'CONNECT git.example:443'].map(
        (line) => `${line} ${spiffe}`,
      ),
      said,
    );
  });

  test('goes to the listener that asks for certificates, for 8 hours', async () => {
    using home = await installation();
    const config = path.join(home.root, 'sallyport.yaml');
    const files = `cert: ${listener(home)}.crt, key: ${listener(home)}.key`;
    fs.writeFileSync(
      config,
      `listen:\n  - 127.0.0.1:3128\n  - {address: 127.0.0.1:3129, tls: {${files}}}\n  - {address: 0.0.0.0:3130, tls: {${files}, client-ca: ${home.certs}/ca.crt}}\n`,
    );
    const result = await home.run(['env', 'demo', '--certificate', '--config', config], now);
    assert.equal(result.status, 0, result.stderr);
    const until = new Date(Math.floor(now / 1000) * 1000 + 8 * 3_600_000).toISOString();
    assert.ok(result.stdout.startsWith('# agent demo, certificate cert:'), result.stdout);
    assert.ok(result.stdout.includes(`, valid until ${until}\n`), result.stdout);
    const printed = await inShell(
      result.stdout,
      'echo "$HTTPS_PROXY $http_proxy $NO_PROXY $GIT_PROXY_SSL_CAINFO $NODE_EXTRA_CA_CERTS"; ls "$GIT_PROXY_SSL_CERT" "$GIT_PROXY_SSL_KEY" "$CURL_HOME/.curlrc"',
      home,
    );
    const [first, ...rest] = printed.trim().split('\n');
    const ca = path.join(home.certs, 'ca.crt');
    assert.equal(
      first,
      `https://127.0.0.1:3130 https://127.0.0.1:3130 localhost,127.0.0.1,::1 ${ca} ${ca}`,
    );
    const agents = path.join(home.certs, 'agents');
    assert.deepEqual(
      rest,
      ['demo.crt', 'demo.curl/.curlrc', 'demo.key'].map((file) => path.join(agents, file)),
    );
    assert.ok(!result.stdout.includes('PRIVATE'));
  });

  const refused: readonly [string, readonly string[], number, RegExp][] = [
    ['without such a listener', ['--certificate'], 2, /no listener asks for client certificates/u],
    ['a proxy without TLS', ['--certificate', '--proxy', 'http://p:1'], 2, /write https:\/\//u],
    ['a short time', ['--certificate', '--proxy', 'p:1', '--ttl', '1s'], 2, /60s is the least/u],
    ['--out for a credential', ['--out', 'x'], 2, /--out belongs to --certificate/u],
  ];
  for (const [what, argv, status, message] of refused) {
    test(`refuses ${what}`, async () => {
      using home = await installation();
      const result = await home.run(['env', 'demo', ...argv], now);
      assert.equal(result.status, status);
      assert.equal(result.stdout, '');
      assert.match(result.stderr, message);
      assert.equal(fs.existsSync(path.join(home.certs, 'agents')), false);
    });
  }

  test('of an unknown agent prints nothing that a shell would run', async () => {
    using home = await installation();
    const result = await home.run(['env', 'dmo', '--certificate', '--proxy', 'p:1'], now);
    assert.equal(result.status, 1);
    assert.equal(result.stdout, '');
    assert.match(result.stderr, /did you mean `demo`/u);
  });
});
