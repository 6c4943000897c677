import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Reason } from '../../src/core/reasons.ts';
import {
  assertAllowed,
  assertBlocked,
  ClientLab,
  type ClientRun,
  credential,
  describeRun,
  missingClient,
  onlyLineOf,
  refusalSentence,
} from '../support/client-lab.ts';
import { linesLike, waitForLine } from '../support/egress-lines.ts';
import { enterNamespace } from '../support/namespace.ts';
import type { RefusalBody } from '../support/refusal.ts';
import { page } from '../support/web-origin.ts';

await enterNamespace(import.meta.filename);

const program = path.resolve(import.meta.dirname, '../../src/main.ts');
const text = 'the page of the origin';
let lab: ClientLab;

before(async () => {
  lab = await ClientLab.start({
    sites: { 'good.test': page(text), 'plain.test': page(text) },
    allow: ['good.test', 'http://plain.test', 'missing.test', 'tcp://good.test:22'],
  });
});
after(() => lab.stop());

const curl = (...args: string[]): Promise<ClientRun> => lab.run('curl', ['-sS', ...args]);

/** Without the variables, so that a test says by itself how curl takes the proxy. */
const bare = (...args: string[]): Promise<ClientRun> => {
  const env = { HTTP_PROXY: '', HTTPS_PROXY: '', http_proxy: '', https_proxy: '' };
  return lab.run('curl', ['-sS', '--proxy', `http://127.0.0.1:${lab.proxy.port}`, ...args], {
    env,
  });
};

describe('curl', { skip: missingClient('curl') }, () => {
  const basic = ['--proxy-user', `demo:${credential}`];
  const allowed: [how: string, run: () => Promise<ClientRun>, scheme: string, method: string][] = [
    ['https through a tunnel', () => curl('https://good.test/'), 'https', 'CONNECT'],
    ['plain HTTP', () => curl('http://plain.test/'), 'http', 'GET'],
    ['plain HTTP in a tunnel (-p)', () => curl('-p', 'http://plain.test/'), 'http', 'CONNECT'],
    [
      'a tunnel of HTTP/1.0 (--proxy1.0)',
      () => curl('--proxy1.0', lab.proxyUrl(), 'https://good.test/'),
      'https',
      'CONNECT',
    ],
    [
      'a credential by --proxy-user',
      () => bare(...basic, 'https://good.test/'),
      'https',
      'CONNECT',
    ],
    [
      'a credential asked for first (--proxy-anyauth)',
      () => bare(...basic, '--proxy-anyauth', 'https://good.test/'),
      'https',
      'CONNECT',
    ],
    [
      'a Bearer credential by --proxy-header',
      () =>
        bare('--proxy-header', `Proxy-Authorization: Bearer ${credential}`, 'https://good.test/'),
      'https',
      'CONNECT',
    ],
    [
      'an offer of HTTP/2 inside the tunnel',
      () => curl('--http2', 'https://good.test/'),
      'https',
      'CONNECT',
    ],
    [
      'TLS 1.2 inside the tunnel',
      () => curl('--tls-max', '1.2', 'https://good.test/'),
      'https',
      'CONNECT',
    ],
    ['an upload', () => curl('-T', program, 'https://good.test/'), 'https', 'CONNECT'],
    ['a plain upload', () => curl('-T', program, 'http://plain.test/'), 'http', 'PUT'],
    ['a plain form', () => curl('-d', 'a=b', 'http://plain.test/'), 'http', 'POST'],
  ];
  for (const [how, run, scheme, method] of allowed) {
    test(`is let through: ${how}`, async () => {
      const result = await run();
      const host = scheme === 'https' ? 'good.test' : 'plain.test';
      assertAllowed(result, { agent: 'demo', scheme, host, method });
      assert.equal(result.stdout, text);
    });
  }

  test('a plain request is in the log with its path but without its query', async () => {
    const result = await curl('http://plain.test/a/b?secret=1');
    const open = onlyLineOf(result, { event: 'open', host: 'plain.test' });
    assert.equal(open.path, '/a/b');
    assert.equal(lab.web.requests.at(-1)?.url, '/a/b?secret=1');
  });

  test('is told by the exports of `sallyport env` all that it needs', async () => {
    const script = 'exports=$("$@") && eval "$exports" && exec curl -sS https://good.test/';
    const config = path.join(lab.proxy.directory, 'sallyport.yaml');
    const address = `127.0.0.1:${lab.proxy.port}`;
    const command = [program, 'env', 'demo', '--config', config, '--proxy', address];
    const env = { HTTP_PROXY: undefined, HTTPS_PROXY: undefined, https_proxy: undefined };
    const result = await lab.run('sh', ['-c', script, 'sh', process.execPath, ...command], { env });
    assertAllowed(result, { agent: 'demo', host: 'good.test' });
    assert.equal(result.stdout, text);
  });

  test('shows with -v why a tunnel is refused', async () => {
    const result = await curl('-v', 'https://evil.test/');
    assertBlocked(result, `< HTTP/1.1 403 ${refusalSentence}`);
    assert.match(result.stderr, /^< Sallyport-Reason: host_not_allowed\r?$/m);
    assertTunnelFailed(result, 403);
  });

  test('prints the refusal of a plain request as its page', async () => {
    const result = await curl('http://evil.test/');
    assert.equal(result.status, 0);
    const { error } = JSON.parse(result.stdout) as { error: RefusalBody };
    assert.equal(error.message, refusalSentence);
    const { id } = onlyLineOf(result, { event: 'block', method: 'GET', host: 'evil.test' });
    assert.equal(error.id, id);
  });

  test('fails with -f on the refusal of a plain request', async () => {
    assertBlocked(await curl('-f', 'http://evil.test/'), 'error: 403', 22);
  });

  test("shows both headers of a tunnel with -I: ours and the origin's", async () => {
    const result = await curl('-I', 'https://good.test/');
    assert.equal(result.stdout.match(/^HTTP\/1\.1 200 /gm)?.length, 2, describeRun(result));
  });

  const unidentified: [how: string, args: string[], reason: Reason][] = [
    ['no credential', [], 'no_credentials'],
    ['a wrong credential', ['--proxy-user', 'demo:wrong'], 'bad_credentials'],
    ['an unknown agent', ['--proxy-user', `nobody:${credential}`], 'bad_credentials'],
    ['one asked for first', ['--proxy-user', 'demo:no', '--proxy-anyauth'], 'bad_credentials'],
    [
      'a wrong Bearer credential',
      ['--proxy-header', 'Proxy-Authorization: Bearer wrong'],
      'bad_credentials',
    ],
  ];
  for (const [how, args, reason] of unidentified) {
    test(`is sent away with 407 for ${how}`, async () => {
      const result = await bare('-v', ...args, 'https://good.test/');
      assertTunnelFailed(result, 407);
      assert.match(result.stderr, /^< HTTP\/1\.1 407 a valid proxy credential is required/m);
      assert.deepEqual(linesLike(result.lines, { event: 'open' }), []);
      onlyLineOf(result, { event: 'block', reason, status: 407 });
      const plain = await bare('-w', '%{http_code}', ...args, 'http://plain.test/');
      assert.match(plain.stdout, /407$/);
    });
  }

  const failed: [target: string, status: number, said: string, reason: string][] = [
    ['missing.test', 502, 'missing.test could not be resolved', 'dns_failure'],
    ['good.test:22', 502, 'good.test:22 refused the connection', 'connect_refused'],
  ];
  for (const [target, status, said, reason] of failed) {
    test(`shows with -v what is wrong with ${target}`, async () => {
      const result = await curl('-v', `https://${target}/`);
      assertTunnelFailed(result, status);
      assert.ok(result.stderr.includes(`< HTTP/1.1 ${status} ${said}`), describeRun(result));
      onlyLineOf(result, { event: 'open', verdict: 'allow', status, reason });
    });
  }

  test('cannot take a tunnel to one name for another', async () => {
    const reached = lab.web.requests.length;
    const result = await curl('--connect-to', 'evil.test:443:good.test:443', 'https://evil.test/');
    assert.equal(result.status, 35, describeRun(result));
    const close = await waitForLine(lab.proxy.logFile, { event: 'close', reason: 'sni_mismatch' });
    assert.deepEqual([close.verdict, close.host, close.sni], ['block', 'good.test', 'evil.test']);
    assert.equal(lab.web.requests.length, reached);
  });
});

describe('wget', { skip: missingClient('wget') }, () => {
  const wget = (...args: string[]): Promise<ClientRun> =>
    lab.run('wget', ['-nv', '-O', '-', '--ca-certificate', lab.caFile, '--tries=1', ...args]);

  for (const [scheme, host] of [
    ['https', 'good.test'],
    ['http', 'plain.test'],
  ] as const) {
    test(`gets a page over ${scheme}`, async () => {
      const result = await wget(`${scheme}://${host}/`);
      assertAllowed(result, { agent: 'demo', scheme, host });
      assert.equal(result.stdout, text);
    });
  }

  test('says why a tunnel is refused', async () => {
    const result = await wget('https://evil.test/');
    assertBlocked(result, `Proxy tunneling failed: ${refusalSentence}`, 4);
  });

  test('says why a plain request is refused', async () => {
    assertBlocked(await wget('http://evil.test/'), `ERROR 403: ${refusalSentence}`, 8);
  });

  test('says what is missing if the credential is wrong', async () => {
    const env = { https_proxy: lab.proxyUrl('wrong') };
    const args = ['-nv', '-O', '-', '--tries=1', 'https://good.test/'];
    const result = await lab.run('wget', args, { env });
    assert.ok(result.stderr.includes('a valid proxy credential is required'), describeRun(result));
    onlyLineOf(result, { event: 'block', reason: 'bad_credentials' });
  });
});

/** Since 8.0 or so curl ends with 7 where it ended with 56. */
function assertTunnelFailed(run: ClientRun, status: number): void {
  assert.ok(run.status === 56 || run.status === 7, describeRun(run));
  assert.ok(run.stderr.includes(`CONNECT tunnel failed, response ${status}`), describeRun(run));
}
