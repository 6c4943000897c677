import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { loadAuthority } from '../../src/tls/authority.ts';
import { missingClient, searchPath } from '../support/client-lab.ts';
import { runCommand } from '../support/command.ts';
import { until } from '../support/deadline.ts';
import { waitForLine } from '../support/egress-lines.ts';
import { InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

let stage: InspectionStage;
let live: RawClient;
before(async () => {
  stage = await InspectionStage.start();
  live = await stage.open('api.test');
});
after(async () => {
  live.close();
  await stage[Symbol.asyncDispose]();
});

const url = 'https://api.test/public/a';
const body = 'GET /public/a HTTP/1.1';

/** Programs that get `url` and know the roots of one file only. */
const clients: readonly (readonly [name: string, run: (roots: string) => readonly string[]])[] = [
  ['curl', (roots) => ['curl', '-sS', '--cacert', roots, url]],
  ['wget', (roots) => ['wget', '-q', '-O', '-', '--tries=1', `--ca-certificate=${roots}`, url]],
  [
    'python3',
    () => [
      'python3',
      '-c',
      'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())',
      url,
    ],
  ],
  [
    'node',
    () => [
      process.execPath,
      '-e',
      'fetch(process.argv[1]).then((r) => r.text()).then(console.log)',
      url,
    ],
  ],
];

/** What the client printed; null if it ended with an error. */
function get(argv: readonly string[], roots: string): Promise<string | null> {
  const [program = '', ...args] = argv;
  const env = {
    PATH: searchPath,
    HOME: stage.proxy.directory,
    https_proxy: stage.proxyUrl,
    HTTPS_PROXY: stage.proxyUrl,
    NODE_USE_ENV_PROXY: '1',
    NODE_EXTRA_CA_CERTS: roots,
    SSL_CERT_FILE: roots,
    SSL_CERT_DIR: '/nowhere',
  };
  return new Promise((resolve) => {
    execFile(program, args, { env, timeout: 60_000 }, (error, stdout) => {
      resolve(error === null ? stdout.trim() : null);
    });
  });
}

function file(name: string, pem: string): string {
  const at = path.join(stage.proxy.directory, name);
  fs.writeFileSync(at, pem);
  return at;
}

async function ca(...argv: string[]): Promise<void> {
  const told = stage.proxy.stderr.length;
  const done = await runCommand(['ca', ...argv], { SALLYPORT_CERTS: stage.certs });
  assert.equal(done.status, 0, done.stderr);
  await until(
    () => stage.proxy.stderr.slice(told).includes('with another authority from now on'),
    () => stage.proxy.stderr.slice(told),
  );
}

async function caPem(): Promise<string> {
  const client = await RawClient.connect({ port: stage.proxy.port });
  client.write('GET /ca.pem HTTP/1.1\r\nHost: x\r\n\r\n');
  const { body: pem } = await client.readResponse();
  client.close();
  return pem.toString();
}

function assertAnswers(
  roots: () => readonly (readonly [who: string, pem: string, expected: string | null])[],
): void {
  for (const [name, command] of clients) {
    test(name, { skip: missingClient(name === 'node' ? 'sh' : name) }, async () => {
      for (const [who, pem, expected] of roots()) {
        const at = file(`${name}-roots.pem`, pem);
        assert.equal(await get(command(at), at), expected, `${name} that trusts ${who}`);
      }
    });
  }
}

const newRoot = (): string => loadAuthority(stage.certs)?.certificate.toString() ?? '';

describe('before a rotation the authority is taken by', () => {
  assertAnswers(() => [['the old one', stage.authority, body]]);
});

describe('during the overlap, with the proxy running, it does not matter which one is trusted by', () => {
  before(async () => await ca('rotate'));
  assertAnswers(() => [
    ['the old one', stage.authority, body],
    ['the new one', newRoot(), body],
    ['both', fs.readFileSync(path.join(stage.certs, 'ca.crt'), 'latin1'), body],
  ]);

  test('openssl, which sees the cross certificate in the chain', {
    skip: missingClient('openssl'),
  }, async () => {
    const { username, password } = new URL(stage.proxyUrl);
    const roots = file('openssl-roots.pem', stage.authority);
    const said = await get(
      [
        'sh',
        '-c',
        `openssl s_client -proxy 127.0.0.1:${stage.proxy.port} -proxy_user ${username} -proxy_pass pass:${password} -connect api.test:443 -servername api.test -verify_hostname api.test -no-CApath -no-CAstore -CAfile ${roots} -verify_return_error -showcerts </dev/null`,
      ],
      roots,
    );
    assert.match(said ?? '', /Verify return code: 0 \(ok\)/u);
    assert.equal(said?.match(/BEGIN CERTIFICATE/gu)?.length, 2);
  });

  test('/ca.pem has both', async () => {
    assert.equal(await caPem(), loadAuthority(stage.certs)?.pem);
    assert.equal((await caPem()).match(/BEGIN CERTIFICATE/gu)?.length, 2);
  });

  test('what was open before goes on', async () => {
    live.write('GET /public/a HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const answer = await live.readResponse();
    assert.equal(answer.body.toString(), body);
  });
});

describe('when the overlap was ended, only the new one is taken by', () => {
  before(async () => await ca('rotate', '--finish'));
  assertAnswers(() => [
    ['the new one', newRoot(), body],
    ['the old one', stage.authority, null],
  ]);

  test('the egress log and the operators hear of those that know only the old one', async () => {
    await waitForLine(stage.proxy.logFile, { event: 'close', host: 'api.test', end: 'not_tls' });
    assert.match(stage.proxy.stderr, /"host":"api\.test","entry":"demo\.yaml:.*does not trust/u);
    assert.equal(await caPem(), newRoot());
  });
});

test('files that cannot be used change nothing, and that is said once', async () => {
  const at = path.join(stage.certs, 'ca.crt');
  const good = fs.readFileSync(at);
  const said = () => stage.proxy.stderr.split('"level":"error"').length - 1;
  const earlier = said();
  fs.writeFileSync(at, 'nothing of use');
  await until(
    () => said() > earlier,
    () => stage.proxy.stderr,
  );
  assert.match(stage.proxy.stderr, /with the authority of before: [^\n]*ca\.crt is not a certif/u);
  const client = await stage.open('hooks.test', { ca: await caPem() });
  client.close();
  // Two looks later.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.equal(said(), earlier + 1);
  fs.writeFileSync(at, good);
});

test('an authority with limits serves what is within, and says what is not', async () => {
  await ca('rotate', '--permit', 'api.test');
  const inside = await stage.open('api.test', { ca: newRoot() });
  inside.close();
  await assert.rejects(stage.open('hooks.test', { ca: newRoot() }));
  const line = await waitForLine(stage.proxy.logFile, {
    event: 'close',
    host: 'hooks.test',
    end: 'not_tls',
  });
  assert.equal(line.verdict, 'block');
  await until(
    () =>
      /"host":"hooks\.test","entry":"demo\.yaml:\d+".*may sign for api\.test alone/u.test(
        stage.proxy.stderr,
      ),
    () => stage.proxy.stderr,
  );
});
