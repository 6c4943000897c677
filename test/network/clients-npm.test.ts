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
} from '../support/client-lab.ts';
import { enterNamespace } from '../support/namespace.ts';
import { files } from '../support/web-origin.ts';

await enterNamespace(import.meta.filename);

const manifest = { name: 'left', version: '1.2.3', main: 'index.js' };

describe('npm', { skip: missingClient('npm', 'tar') }, () => {
  let lab: ClientLab;

  before(async () => {
    const content: Record<string, string | Uint8Array> = {};
    lab = await ClientLab.start({ sites: { 'npm.test': files(content) }, allow: ['npm.test'] });
    writePackage(path.join(lab.home, 'package'));
    const tarball = pack(lab.home);
    content['/left'] = packument(tarball, 'npm.test');
    content['/left/-/left-1.2.3.tgz'] = tarball;
    content['/stray'] = packument(tarball, forbiddenHost).replaceAll('left', 'stray');
  });
  after(() => lab.stop());

  /** In an empty project with an empty cache, and without retries. */
  const npm = (registry: string, ...args: string[]): Promise<ClientRun> => {
    const cwd = project(lab.home);
    const settings = [`--registry=https://${registry}/`, '--fetch-retries=0', '--no-audit'];
    const env = { NPM_CONFIG_CACHE: path.join(cwd, 'cache'), NPM_CONFIG_UPDATE_NOTIFIER: 'false' };
    return lab.run('npm', [...args, ...settings], { cwd, env });
  };

  test('installs a package', async () => {
    const result = await npm('npm.test', 'install', 'left');
    assertAllowed(result, { agent: 'demo', scheme: 'https', host: 'npm.test', method: 'CONNECT' });
    const installed = path.join(lab.home, 'project/node_modules/left/index.js');
    assert.equal(fs.readFileSync(installed, 'utf8'), 'module.exports = 1;\n');
  });

  test('says why a registry is refused', async () => {
    const result = await npm(forbiddenHost, 'install', 'left');
    assertBlocked(result, `npm error 403 403 ${refusalSentence} - GET https://evil.test/left`);
  });

  test('says why the host of a tarball is refused, though the registry is allowed', async () => {
    const result = await npm('npm.test', 'install', 'stray');
    assertBlocked(result, `403 ${refusalSentence} - GET https://evil.test/stray/-/stray-1.2.3.tgz`);
    onlyLineOf(result, { event: 'open', host: 'npm.test' });
  });

  test('cannot publish to a registry that is not allowed', async () => {
    const token = `--//${forbiddenHost}/:_authToken=secret`;
    const result = await npm(forbiddenHost, 'publish', '../package', token);
    assertBlocked(result, `npm error 403 403 ${refusalSentence} - PUT https://evil.test/left`);
  });

  test('says what is missing if the credential is wrong', async () => {
    const proxy = `--https-proxy=${lab.proxyUrl('wrong')}`;
    const result = await npm('npm.test', 'view', 'left', proxy);
    assert.equal(result.status, 1, describeRun(result));
    const said = 'npm error 407 a valid proxy credential is required - GET https://npm.test/left';
    assert.ok(result.stderr.includes(said), describeRun(result));
    onlyLineOf(result, { event: 'block', reason: 'bad_credentials' });
  });
});

/** A package to install and to publish. */
function writePackage(directory: string): void {
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, 'package.json'), JSON.stringify(manifest));
  fs.writeFileSync(path.join(directory, 'index.js'), 'module.exports = 1;\n');
}

/** The tarball of the folder `package`, as the registry has it. */
function pack(directory: string): Buffer {
  const run = spawnSync('tar', ['-czf', '-', 'package'], { cwd: directory });
  assert.equal(run.status, 0, run.stderr.toString());
  return run.stdout;
}

/** What a registry says of a package: one version, and where its tarball is. */
function packument(tarball: Buffer, host: string): string {
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const dist = { tarball: `https://${host}/left/-/left-1.2.3.tgz`, integrity };
  const versions = { '1.2.3': { ...manifest, dist } };
  return JSON.stringify({ name: 'left', 'dist-tags': { latest: '1.2.3' }, versions });
}

/** An empty project of its own for each run. */
function project(home: string): string {
  const directory = path.join(home, 'project');
  fs.rmSync(directory, { recursive: true, force: true });
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, 'package.json'), '{"name":"project","version":"1.0.0"}');
  return directory;
}
