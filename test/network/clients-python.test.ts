import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  assertAllowed,
  assertBlocked,
  ClientLab,
  type ClientRun,
  describeRun,
  forbiddenHost,
  missingClient,
  onlyLineOf,
  refusalSentence,
  searchPath,
} from '../support/client-lab.ts';
import { linesLike } from '../support/egress-lines.ts';
import { enterNamespace } from '../support/namespace.ts';
import { indexPage, makeWheel, wheelName } from '../support/pypi-index.ts';
import { files, page } from '../support/web-origin.ts';

await enterNamespace(import.meta.filename);

const text = 'the page of the origin';
const tunnelFailed = `Tunnel connection failed: 403 ${refusalSentence}`;
const challenged = 'Tunnel connection failed: 407 a valid proxy credential is required';
let lab: ClientLab;

before(async () => {
  const index: Record<string, string> = {};
  const packages: Record<string, Uint8Array> = {};
  lab = await ClientLab.start({
    sites: {
      'pypi.test': files(index),
      'files.test': files(packages),
      'good.test': page(text),
      'plain.test': page(text),
    },
    allow: ['pypi.test', 'files.test', 'good.test', 'http://plain.test'],
  });
  if (missingClient('python3') !== false) return;
  const content = makeWheel(path.join(lab.home, 'wheel'));
  packages[`/${wheelName}`] = content;
  index['/simple/demo-package/'] = indexPage(`https://files.test/${wheelName}`, content);
  const stray = indexPage(`https://${forbiddenHost}/${wheelName}`, content);
  index['/simple/stray/'] = stray.replaceAll('demo_package', 'stray');
});
after(() => lab.stop());

describe('pip', { skip: missingClient('python3', 'pip3') }, () => {
  /** With one retry: only when it tries again pip says why a page of the index failed. */
  const download = (index: string, name: string, ...more: string[]): Promise<ClientRun> => {
    const from = ['--index-url', `https://${index}/simple/`, '--retries', '1', '--no-cache-dir'];
    const what = ['--no-deps', '--dest', 'downloads', ...more, name];
    const env = { PIP_CONFIG_FILE: '/dev/null', PIP_DISABLE_PIP_VERSION_CHECK: '1' };
    return lab.run('python3', ['-m', 'pip', 'download', ...from, ...what], { env });
  };

  test('downloads a wheel, from another host than its index', async () => {
    const result = await download('pypi.test', 'demo-package');
    for (const host of ['pypi.test', 'files.test']) {
      assertAllowed(result, { agent: 'demo', scheme: 'https', host, method: 'CONNECT' });
    }
    assert.ok(fs.existsSync(path.join(lab.home, 'downloads', wheelName)));
  });

  test('says why an index is refused', async () => {
    assertBlocked(await download(forbiddenHost, 'demo-package'), tunnelFailed);
  });

  test('says why the host of the files is refused, though the index is allowed', async () => {
    const result = await download('pypi.test', 'stray');
    assertBlocked(result, tunnelFailed);
    onlyLineOf(result, { event: 'open', host: 'pypi.test' });
  });

  test('says what is missing if the credential is wrong', async () => {
    const result = await download('pypi.test', 'demo-package', '--proxy', lab.proxyUrl('wrong'));
    assert.notEqual(result.status, 0, describeRun(result));
    assert.ok(result.stdout.concat(result.stderr).includes(challenged), describeRun(result));
    assert.ok(linesLike(result.lines, { reason: 'bad_credentials' }).length > 0);
  });
});

const urllib = `
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1]).read().decode())
`;
const requests = `
import sys, requests
response = requests.get(sys.argv[1])
print(response.text)
sys.exit(0 if response.ok else f'{response.status_code} {response.reason}')
`;
const clients: [name: string, script: string, missing: string | false][] = [
  ['urllib', urllib, missingClient('python3')],
  ['requests', requests, missingClient('python3') || missingModule('requests')],
];
for (const [name, script, skip] of clients) {
  describe(`Python's ${name}`, { skip }, () => {
    const get = (url: string, secret?: string): Promise<ClientRun> => {
      const proxy = lab.proxyUrl(secret);
      const env = { http_proxy: proxy, https_proxy: proxy };
      return lab.run('python3', ['-c', script, url], { env });
    };

    for (const [scheme, host, method] of [
      ['https', 'good.test', 'CONNECT'],
      ['http', 'plain.test', 'GET'],
    ] as const) {
      test(`gets a page over ${scheme}`, async () => {
        const result = await get(`${scheme}://${host}/`);
        assertAllowed(result, { agent: 'demo', scheme, host, method });
        assert.equal(result.stdout, `${text}\n`);
      });
    }

    test('says why a tunnel is refused', async () => {
      assertBlocked(await get('https://evil.test/'), tunnelFailed, 1);
    });

    test('says why a plain request is refused', async () => {
      const said = new RegExp(`(HTTP Error )?403:? ${refusalSentence}`);
      assertBlocked(await get('http://evil.test/'), said, 1);
    });

    test('says what is missing if the credential is wrong', async () => {
      const result = await get('https://good.test/', 'wrong');
      assert.ok(result.stderr.includes(challenged), describeRun(result));
      onlyLineOf(result, { event: 'block', reason: 'bad_credentials' });
    });
  });
}

/** For a `skip`: why this module cannot be imported. */
function missingModule(name: string): string | false {
  const run = spawnSync('python3', ['-c', `import ${name}`], { env: { PATH: searchPath } });
  return run.status !== 0 && `not installed: python3-${name} (.ci/run installs it)`;
}
