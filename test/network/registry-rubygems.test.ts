import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { describeRun, missingClient } from '../support/client-lab.ts';
import { gemServer } from '../support/gem-server.ts';
import { enterNamespace } from '../support/namespace.ts';
import { RegistryLab, type RegistryRun } from '../support/registry-lab.ts';

await enterNamespace(import.meta.filename);

const host = 'rubygems.org';
const postRefused = `POST is not allowed on ${host} for agent demo`;
const pathRefused = `this path of ${host} is not allowed for agent demo`;

describe('registry/rubygems-read', { skip: missingClient('gem', 'ruby') }, () => {
  let lab: RegistryLab;

  before(async () => {
    lab = await RegistryLab.start('registry/rubygems-read', (directory) => {
      const server = gemServer(directory);
      return { [host]: server, [`index.${host}`]: server };
    });
  });
  after(() => lab.stop());

  const gem = (args: readonly string[], input = '', key?: string): Promise<RegistryRun> => {
    const env = { GEM_HOME: path.join(lab.home, 'gems'), GEM_HOST_API_KEY: key };
    return lab.run('gem', args, { env, input });
  };

  test('installs a gem', async () => {
    const run = await gem(['install', 'left', '--no-document']);
    lab.assertFetched(run, [
      `GET index.${host}/info/left`,
      `GET index.${host}/gems/left-1.2.3.gem`,
    ]);
    const file = path.join(lab.home, 'gems/gems/left-1.2.3/left.rb');
    assert.equal(fs.readFileSync(file, 'utf8'), 'LEFT = 1\n');
  });

  test('bundler installs what a Gemfile names', { skip: missingClient('bundle') }, async () => {
    const cwd = path.join(lab.home, 'project');
    fs.mkdirSync(cwd);
    fs.writeFileSync(path.join(cwd, 'Gemfile'), `source 'https://${host}'\ngem 'left'\n`);
    const env = { BUNDLE_PATH: 'bundle', BUNDLE_SILENCE_ROOT_WARNING: '1' };
    const run = await lab.run('bundle', ['install', '--retry', '0'], { cwd, env });
    lab.assertFetched(run, [`GET index.${host}/versions`]);
    const lock = fs.readFileSync(path.join(cwd, 'Gemfile.lock'), 'utf8');
    assert.match(lock, /^ {4}left \(1\.2\.3\)$/m);
  });

  test('finds a gem in the older index', async () => {
    const run = await gem(['search', 'left']);
    lab.assertFetched(run, [`GET ${host}/latest_specs.4.8.gz`]);
    assert.match(run.stdout, /^left \(1\.2\.3\)$/m);
  });

  test('pushes nothing', async () => {
    const run = await gem(['push', path.join(lab.directory, 'left-1.2.3.gem')], '', 'a-key');
    const refused = { method: 'POST', path: '/api/v1/gems', reason: 'method_not_allowed' };
    assert.notEqual(run.status, 0, describeRun(run));
    lab.assertRefused(run, refused, postRefused);
  });

  test('yanks nothing', async () => {
    const run = await gem(['yank', 'left', '-v', '1.2.3'], '', 'a-key');
    const refused = { method: 'DELETE', path: '/api/v1/gems/yank', reason: 'method_not_allowed' };
    lab.assertRefused(run, refused, `DELETE is not allowed on ${host} for agent demo`);
  });

  test('signs nobody in', async () => {
    const run = await gem(['signin'], `me@example.com\nsecret\n${'\n'.repeat(20)}`);
    assert.notEqual(run.status, 0, describeRun(run));
    // Some versions ask for the profile first, some for the key at once.
    lab.assertRefused(run, { host }, new RegExp(`${postRefused}|${pathRefused}`));
    assert.deepEqual(run.reached, []);
  });
});
