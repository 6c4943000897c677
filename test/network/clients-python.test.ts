import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
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
import { files, page } from '../support/web-origin.ts';

await enterNamespace(import.meta.filename);

const text = 'the page of the origin';
const wheel = 'demo_package-1.0-py3-none-any.whl';
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
  const content = makeWheel(lab.home);
  packages[`/${wheel}`] = content;
  index['/simple/demo-package/'] = indexPage('files.test', content);
  index['/simple/stray/'] = indexPage(forbiddenHost, content).replaceAll('demo_package', 'stray');
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
    assert.ok(fs.existsSync(path.join(lab.home, 'downloads', wheel)));
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

/** A wheel with one module, made by python itself: a zip file with its metadata. */
function makeWheel(home: string): Buffer {
  const directory = path.join(home, 'wheel');
  const info = path.join(directory, 'demo_package-1.0.dist-info');
  fs.mkdirSync(info, { recursive: true });
  fs.writeFileSync(path.join(directory, 'demo_package.py'), 'answer = 42\n');
  fs.writeFileSync(
    path.join(info, 'METADATA'),
    'Metadata-Version: 2.1\nName: demo-package\nVersion: 1.0\n',
  );
  fs.writeFileSync(
    path.join(info, 'WHEEL'),
    'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
  );
  fs.writeFileSync(path.join(info, 'RECORD'), '');
  const content = ['demo_package.py', path.basename(info)];
  const run = spawnSync('python3', ['-m', 'zipfile', '-c', wheel, ...content], { cwd: directory });
  assert.equal(run.status, 0, run.stderr.toString());
  return fs.readFileSync(path.join(directory, wheel));
}

/** PEP 503: a page with one link for each file. */
function indexPage(host: string, content: Uint8Array): string {
  const digest = createHash('sha256').update(content).digest('hex');
  return `<!DOCTYPE html><a href="https://${host}/${wheel}#sha256=${digest}">${wheel}</a>`;
}
