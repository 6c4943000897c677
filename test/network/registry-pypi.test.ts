import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { describeRun, missingClient } from '../support/client-lab.ts';
import { linesLike } from '../support/egress-lines.ts';
import { enterNamespace } from '../support/namespace.ts';
import { makeWheel, pypiSites, wheelName } from '../support/pypi-index.ts';
import { RegistryLab, type RegistryRun } from '../support/registry-lab.ts';

await enterNamespace(import.meta.filename);

describe('registry/pypi-read', { skip: missingClient('python3', 'pip3') }, () => {
  let lab: RegistryLab;

  before(async () => {
    lab = await RegistryLab.start('registry/pypi-read', (directory) => {
      return pypiSites(makeWheel(directory));
    });
  });
  after(() => lab.stop());

  const pip = (...args: string[]): Promise<RegistryRun> => {
    const env = { PIP_CONFIG_FILE: '/dev/null', PIP_DISABLE_PIP_VERSION_CHECK: '1' };
    return lab.run('python3', ['-m', 'pip', ...args], { env });
  };

  test('pip installs a package', async () => {
    const run = await pip('install', '--no-cache-dir', '--target', 'lib', 'demo-package');
    lab.assertFetched(run, [
      'GET pypi.org/simple/demo-package/',
      `GET files.pythonhosted.org/packages/aa/bb/${wheelName}`,
    ]);
    const installed = path.join(lab.home, 'lib/demo_package.py');
    assert.equal(fs.readFileSync(installed, 'utf8'), 'answer = 42\n');
  });

  test('pip search, a POST, is refused', async () => {
    const run = await pip('search', 'demo');
    assert.notEqual(run.status, 0, describeRun(run));
    const refused = { method: 'POST', path: '/pypi', reason: 'method_not_allowed' };
    lab.assertRefused(run, refused, '403');
  });

  describe('twine', { skip: missingClient('twine') }, () => {
    const upload = (...args: string[]): Promise<RegistryRun> => {
      // What it says is broken into lines of that many columns.
      const env = { COLUMNS: '200', TWINE_USERNAME: '__token__', TWINE_PASSWORD: 'secret' };
      const file = path.join(lab.directory, wheelName);
      return lab.run('twine', ['upload', '--non-interactive', ...args, file], { env });
    };

    test('uploads nothing to the host for uploads', async () => {
      const run = await upload();
      assert.notEqual(run.status, 0, describeRun(run));
      const said = 'Tunnel connection failed: 403 upload.pypi.org is on a deny list';
      assert.ok(run.stderr.includes(said), describeRun(run));
      const [line] = linesLike(run.lines, { event: 'block', host: 'upload.pypi.org' });
      assert.equal(line?.reason, 'denied');
      assert.deepEqual(run.reached, []);
    });

    test('uploads nothing to the host of the index', async () => {
      const run = await upload('--repository-url', 'https://pypi.org/legacy/');
      assert.notEqual(run.status, 0, describeRun(run));
      const refused = { method: 'POST', path: '/legacy/', reason: 'method_not_allowed' };
      lab.assertRefused(run, refused, 'is not allowed on pypi.org for agent demo');
      assert.deepEqual(run.reached, []);
    });
  });
});
