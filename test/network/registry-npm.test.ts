import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { describeRun, missingClient } from '../support/client-lab.ts';
import { linesLike } from '../support/egress-lines.ts';
import { enterNamespace } from '../support/namespace.ts';
import { type NpmPackage, npmRegistry } from '../support/npm-registry.ts';
import { assertOnlyRead, RegistryLab, type RegistryRun } from '../support/registry-lab.ts';

await enterNamespace(import.meta.filename);

const host = 'registry.npmjs.org';
const fetched = [
  `GET ${host}/left`,
  `GET ${host}/@side%2fright`,
  `GET ${host}/left/-/left-1.2.3.tgz`,
  `GET ${host}/@side/right/-/right-2.0.1.tgz`,
];

const noMethod = { reason: 'method_not_allowed', sentence: `PUT is not allowed on ${host}` };
const noPath = { reason: 'path_not_allowed', sentence: `this path of ${host} is not allowed` };
const noQuery = { reason: 'path_not_allowed', sentence: `this query of ${host} is not allowed` };

/** Commands with a token, and what is refused of each. */
const refused = [
  { args: ['publish', './new'], method: 'PUT', at: '/fresh', ...noMethod },
  { args: ['unpublish', 'left@1.2.3'], method: 'GET', at: '/left', ...noQuery },
  { args: ['deprecate', 'left@1.2.3', 'old'], method: 'GET', at: '/left', ...noQuery },
  {
    args: ['dist-tag', 'add', 'left@1.2.3', 'beta'],
    method: 'GET',
    at: '/-/package/left/dist-tags',
    ...noPath,
  },
  { args: ['token', 'list'], method: 'GET', at: '/-/npm/v1/tokens', ...noPath },
  { args: ['whoami'], method: 'GET', at: '/-/whoami', ...noPath },
  { args: ['search', 'left'], method: 'GET', at: '/-/v1/search', ...noPath },
];

describe('registry/npm-read', { skip: missingClient('npm', 'tar') }, () => {
  let lab: RegistryLab;

  before(async () => {
    lab = await RegistryLab.start('registry/npm-read', (directory) => {
      writePackage(path.join(directory, 'new'), 'fresh', '1.0.0');
      return { [host]: npmRegistry(host, makePackages(directory)) };
    });
  });
  after(() => lab.stop());

  /** In an empty project with an empty cache, and without retries. */
  const npm = (...args: string[]): Promise<RegistryRun> => {
    const cwd = project(lab);
    const env = { NPM_CONFIG_CACHE: path.join(cwd, 'cache'), NPM_CONFIG_UPDATE_NOTIFIER: 'false' };
    return lab.run('npm', [...args, '--fetch-retries=0'], { cwd, env });
  };

  test('installs a package and its scoped dependency', async () => {
    const run = await npm('install', 'left', '--no-audit');
    lab.assertFetched(run, fetched);
    const modules = path.join(lab.home, 'project/node_modules');
    for (const name of ['left', '@side/right']) {
      const text = fs.readFileSync(path.join(modules, name, 'index.js'), 'utf8');
      assert.equal(text, `module.exports = '${name}';\n`);
    }
  });

  test('an install does without the audit, which would list all dependencies', async () => {
    const run = await npm('install', 'left');
    assert.equal(run.status, 0, describeRun(run));
    assertOnlyRead(run);
    const blocked = linesLike(run.lines, { event: 'block' });
    assert.ok(blocked.length > 0, describeRun(run));
    for (const line of blocked) {
      assert.match(line.path ?? '', /^\/-\/npm\/v1\/security\//);
      assert.deepEqual([line.method, line.reason], ['POST', 'method_not_allowed']);
    }
  });

  test('shows what there is of a scoped package', async () => {
    lab.assertFetched(await npm('view', '@side/right'), [`GET ${host}/@side%2fright`]);
  });

  for (const { args, method, at, reason, sentence } of refused) {
    test(`refuses npm ${args.join(' ')}, and npm says so`, async () => {
      const run = await npm(...args, `--//${host}/:_authToken=secret`);
      assert.notEqual(run.status, 0, describeRun(run));
      const said = `403 ${sentence} for agent demo - ${method} https://${host}${at}`;
      lab.assertRefused(run, { method, path: at, reason }, said);
    });
  }

  // npm then asks for a name and a password, which there are none of here.
  test('refuses npm login', async () => {
    const run = await npm('login');
    assert.notEqual(run.status, 0, describeRun(run));
    const login = { method: 'POST', path: '/-/v1/login', reason: 'method_not_allowed' };
    lab.assertRefused(run, login, 'Log in on');
  });
});

function makePackages(directory: string): readonly NpmPackage[] {
  const dependencies = { '@side/right': '^2.0.0' };
  return [
    { ...pack(directory, 'left', '1.2.3'), dependencies },
    pack(directory, '@side/right', '2.0.1'),
  ];
}

function pack(directory: string, name: string, version: string): NpmPackage {
  const folder = path.join(directory, 'package');
  fs.rmSync(folder, { recursive: true, force: true });
  writePackage(folder, name, version);
  const run = spawnSync('tar', ['-czf', '-', 'package'], { cwd: directory });
  assert.equal(run.status, 0, run.stderr.toString());
  return { name, version, tarball: run.stdout };
}

function writePackage(folder: string, name: string, version: string): void {
  fs.mkdirSync(folder);
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, version }));
  fs.writeFileSync(path.join(folder, 'index.js'), `module.exports = '${name}';\n`);
}

/** An empty project of its own for each run, with a package to publish in it. */
function project(lab: RegistryLab): string {
  const directory = path.join(lab.home, 'project');
  fs.rmSync(directory, { recursive: true, force: true });
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, 'package.json'), '{"name":"project","version":"1.0.0"}');
  fs.cpSync(path.join(lab.directory, 'new'), path.join(directory, 'new'), { recursive: true });
  return directory;
}
