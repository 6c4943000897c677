import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  assertAllowed,
  ClientLab,
  type ClientRun,
  describeRun,
  missingClient,
  onlyLineOf,
} from '../support/client-lab.ts';
import { Installation } from '../support/command.ts';
import { gitSite, makeRepository } from '../support/git-site.ts';
import { enterNamespace } from '../support/namespace.ts';
import { page } from '../support/web-origin.ts';

await enterNamespace(import.meta.filename);

/** The one that `cert server` prints; nothing else is in this namespace. */
const port = 3130;
/** Of a listener that takes credentials, too. */
const openPort = 3131;
const spiffe = 'spiffe://example.com/agent/demo';
const text = 'the page of the origin';

let home: Installation;
let config: string;
let both: string;
let lab: ClientLab;

before(async () => {
  home = new Installation();
  home.allow(
    'demo.yaml',
    `agents:
  demo: {owner: a@example.com, purpose: p, credentials: {certificates: ["${spiffe}"]}, allow: [good.test]}
`,
  );
  makeRepository(home.root, 'tools.git', 'README', 'the file of the repository\n');
  await sallyport('ca', 'init');
  config = path.join(home.root, 'sallyport.yaml');
  fs.writeFileSync(config, await sallyport('cert', 'server', 'proxy.internal', '127.0.0.1'));
  const file = (name: string) => path.join(home.certs, name);
  const tls = {
    cert: file('listeners/proxy.internal.crt'),
    key: file('listeners/proxy.internal.key'),
    'client-ca': file('ca.crt'),
  };
  const listen = [
    { address: `127.0.0.1:${port}`, tls: { ...tls, 'client-certificate': 'required' } },
    { address: `127.0.0.1:${openPort}`, tls },
  ];
  both = path.join(home.root, 'both.yaml');
  fs.writeFileSync(both, JSON.stringify({ listen }));
  lab = await ClientLab.start({
    sites: { 'good.test': page(text), 'plain.test': page(text), 'git.test': gitSite(home.root) },
    allow: ['good.test', 'http://plain.test', 'git.test'],
    agent: { credentials: { certificates: [spiffe] } },
    settings: { listen, certs: home.certs },
  });
});

after(async () => {
  await lab.stop();
  home[Symbol.dispose]();
});

/** What a command prints. */
async function sallyport(...argv: string[]): Promise<string> {
  const { status, stdout, stderr } = await home.run(argv);
  assert.equal(status, 0, stderr);
  return stdout;
}

/** A line in a shell that knows no proxy but by what it is given. */
const shell = (line: string): Promise<ClientRun> =>
  lab.run('sh', ['-c', line], {
    env: {
      HTTP_PROXY: undefined,
      HTTPS_PROXY: undefined,
      http_proxy: undefined,
      https_proxy: undefined,
      GIT_TERMINAL_PROMPT: '0',
      GIT_CONFIG_NOSYSTEM: '1',
    },
  });

describe('an agent with a certificate of `cert issue`', { skip: missingClient('curl') }, () => {
  let line: string;
  let token: string;
  before(async () => {
    const printed = await sallyport('cert', 'issue', 'demo', '--config', config);
    line = printed.trim().split('\n').at(-1) ?? '';
    token = /^id +(\S+)$/m.exec(printed)?.[1] ?? '';
  });

  test('passes with the line that it prints', async () => {
    const run = await shell(`${line} -sS --cacert ${lab.caFile}`);
    assertAllowed(run, { agent: 'demo', host: 'good.test', method: 'CONNECT', token });
    assert.equal(run.stdout, text);
  });

  test('is nobody without the certificate', async () => {
    const bare = line.replace(/ --proxy-cert \S+ --proxy-key \S+/, '');
    assert.notEqual(bare, line);
    const run = await shell(`${bare} -sS --cacert ${lab.caFile}`);
    assert.notEqual(run.status, 0, describeRun(run));
    assert.equal(onlyLineOf(run, { event: 'block' }).reason, 'no_credentials');
  });

  test('has the serial number that a log line names', async () => {
    const { raw, serialNumber } = new X509Certificate(
      fs.readFileSync(path.join(home.certs, 'agents', 'demo.crt')),
    );
    assert.ok(raw.length < 1024, 'small enough for one packet');
    assert.equal(`cert:${serialNumber.toLowerCase()}`, token);
  });
});

describe('the exports of `env` for a listener of the same authority', {
  skip: missingClient('curl', 'git'),
}, () => {
  let exports: string;
  before(async () => {
    exports = await sallyport('env', 'demo', '--config', both);
    assert.match(exports, new RegExp(`https://demo:sp1[^']*:${openPort}'`));
  });

  const node = `'${process.execPath}' -e 'fetch("https://good.test/").then((answer) => answer.text()).then(console.log)'`;
  const cases: readonly [string, string, RegExp][] = [
    ['curl', 'curl -sS https://good.test/', /the page/],
    ['git', 'git ls-remote https://git.test/tools.git', /refs\/heads\/main/],
    // Node has one list of roots more than its own, for the proxy and for what is behind it.
    [
      'node',
      `cat "${'$'}NODE_EXTRA_CA_CERTS" "${'$'}TEST_CA" > all.pem; NODE_EXTRA_CA_CERTS=all.pem ${node}`,
      /the page/,
    ],
  ];
  for (const [what, command, shown] of cases) {
    test(`are enough for ${what}, with a credential`, async () => {
      const run = await shell(`${exports}\nTEST_CA='${lab.caFile}'\n${command}`);
      assertAllowed(run, { agent: 'demo', scheme: 'https' });
      assert.match(run.stdout, shown);
      for (const { token } of run.lines)
        assert.ok(token === undefined || !token.startsWith('cert:'));
    });
  }
});

describe('the exports of `env --certificate`', { skip: missingClient('curl', 'git') }, () => {
  let exports: string;
  before(async () => {
    exports = await sallyport('env', 'demo', '--certificate', '--config', config);
  });

  const cases: readonly [string, string, object, RegExp][] = [
    [
      'curl, in a tunnel',
      'curl -sS https://good.test/',
      { scheme: 'https', host: 'good.test' },
      /the page/,
    ],
    [
      'curl, plain',
      'curl -sS http://plain.test/',
      { scheme: 'http', host: 'plain.test' },
      /the page/,
    ],
    [
      'git',
      'git ls-remote https://git.test/tools.git',
      { scheme: 'https', host: 'git.test' },
      /refs\/heads\/main/,
    ],
  ];
  for (const [what, command, expected, shown] of cases) {
    test(`are enough for ${what}`, async () => {
      const run = await shell(`${exports}\n${command}`);
      assertAllowed(run, { agent: 'demo', ...expected });
      assert.match(run.stdout, shown);
    });
  }
});
