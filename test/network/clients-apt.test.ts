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
  refusalSentence,
} from '../support/client-lab.ts';
import { linesLike } from '../support/egress-lines.ts';
import { enterNamespace } from '../support/namespace.ts';
import { files } from '../support/web-origin.ts';

await enterNamespace(import.meta.filename);

const archive = 'demo-tool_1.0_all.deb';
const control = `Package: demo-tool
Version: 1.0
Architecture: all
Maintainer: Test <test@example.com>
Description: a package of the test
`;

describe('apt', { skip: missingClient('apt-get', 'dpkg-deb') }, () => {
  const repository: Record<string, string | Uint8Array> = {};
  let lab: ClientLab;

  before(async () => {
    lab = await ClientLab.start({
      sites: { 'deb.test': files(repository) },
      allow: ['http://deb.test', 'deb.test'],
    });
    Object.assign(repository, makeRepository(lab.home));
  });
  after(() => lab.stop());

  /** With its lists, its cache and its configuration in the lab's home: nothing of the system's. */
  const apt = (source: string, ...args: string[]): Promise<ClientRun> => {
    const root = path.join(lab.home, 'apt');
    for (const name of ['lists/partial', 'cache/archives/partial', 'parts']) {
      fs.mkdirSync(path.join(root, name), { recursive: true });
    }
    fs.writeFileSync(path.join(root, 'status'), '');
    fs.writeFileSync(path.join(root, 'sources.list'), `deb [trusted=yes] ${source} ./\n`);
    const settings = {
      'APT::Architecture': 'amd64',
      'APT::Sandbox::User': 'root',
      'Acquire::Retries': '0',
      'Acquire::https::CAInfo': lab.caFile,
      'Dir::Cache': path.join(root, 'cache'),
      'Dir::Etc::Parts': path.join(root, 'parts'),
      'Dir::Etc::SourceList': path.join(root, 'sources.list'),
      'Dir::Etc::SourceParts': path.join(root, 'parts'),
      'Dir::State::Lists': path.join(root, 'lists'),
      'Dir::State::Status': path.join(root, 'status'),
    };
    const file = path.join(root, 'apt.conf');
    const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
    fs.writeFileSync(file, lines.join(''));
    return lab.run('apt-get', args, { env: { APT_CONFIG: file } });
  };

  for (const scheme of ['http', 'https']) {
    test(`updates and downloads over ${scheme}`, async () => {
      const method = scheme === 'http' ? 'GET' : 'CONNECT';
      const allowed = { agent: 'demo', scheme, host: 'deb.test', method };
      const source = `${scheme}://deb.test/`;
      assertAllowed(await apt(source, 'update', '--error-on=any'), allowed);
      assertAllowed(await apt(source, 'download', 'demo-tool'), allowed);
      const file = path.join(lab.home, archive);
      assert.deepEqual(fs.readFileSync(file), repository[`/./${archive}`]);
      fs.rmSync(file);
    });
  }

  test('says why an archive is refused over http', async () => {
    const result = await apt(`http://${forbiddenHost}/`, 'update', '--error-on=any');
    assertBlocked(result, `Packages  403  ${refusalSentence}`, 100);
  });

  test('says why an archive is refused over https', async () => {
    const result = await apt(`https://${forbiddenHost}/`, 'update', '--error-on=any');
    assertBlocked(result, `Invalid response from proxy: HTTP/1.1 403 ${refusalSentence}`, 100);
  });

  test('says what is missing if the credential is wrong', async () => {
    const proxy = `Acquire::http::Proxy=${lab.proxyUrl('wrong')}`;
    const result = await apt('http://deb.test/', '-o', proxy, 'update', '--error-on=any');
    assert.equal(result.status, 100, describeRun(result));
    const output = result.stdout + result.stderr;
    assert.ok(output.includes('407  a valid proxy credential is required'), describeRun(result));
    assert.ok(linesLike(result.lines, { reason: 'bad_credentials' }).length > 0);
    assert.deepEqual(linesLike(result.lines, { event: 'open' }), []);
  });
});

/** A flat repository of one package, made by dpkg-deb: path → file. */
function makeRepository(home: string): Record<string, string | Uint8Array> {
  const directory = path.join(home, 'demo-tool');
  fs.mkdirSync(path.join(directory, 'DEBIAN'), { recursive: true });
  fs.writeFileSync(path.join(directory, 'DEBIAN/control'), control);
  const build = ['--build', '--root-owner-group', 'demo-tool', archive];
  const run = spawnSync('dpkg-deb', build, { cwd: home, encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
  const file = path.join(home, archive);
  const content = fs.readFileSync(file);
  fs.rmSync(file);
  const packages = `${control}Filename: ./${archive}\nSize: ${content.length}\nSHA256: ${sha256(content)}\n`;
  const release = `Date: ${new Date().toUTCString()}\nSHA256:\n ${sha256(packages)} ${packages.length} Packages\n`;
  return { '/./Release': release, '/./Packages': packages, [`/./${archive}`]: content };
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
