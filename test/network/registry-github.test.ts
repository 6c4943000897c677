import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { describeRun, missingClient } from '../support/client-lab.ts';
import { makeRepository } from '../support/git-site.ts';
import { githubSites } from '../support/github-sites.ts';
import { enterNamespace } from '../support/namespace.ts';
import { RegistryLab, type RegistryRun } from '../support/registry-lab.ts';

await enterNamespace(import.meta.filename);

const remote = 'https://github.com/acme/tools.git';
const twice = `${remote}/info/refs?service=git-upload-pack&service=git-receive-pack`;
const api = 'https://api.github.com/repos/acme/tools';
const raw = 'https://raw.githubusercontent.com/acme/tools/main/README';

/** What git and curl tell of a refusal: they show the status alone. */
const said = 'The requested URL returned error: 403';

describe('code/github-fetch', { skip: missingClient('git', 'curl') }, () => {
  let lab: RegistryLab;

  before(async () => {
    lab = await RegistryLab.start('code/github-fetch', (directory) => {
      const owner = path.join(directory, 'acme');
      fs.mkdirSync(owner);
      makeRepository(owner, 'tools.git', 'README', 'the file of the repository\n');
      return githubSites(directory);
    });
  });
  after(() => lab.stop());

  const git = (...args: string[]): Promise<RegistryRun> =>
    lab.run('git', args, { env: { GIT_TERMINAL_PROMPT: '0', GIT_CONFIG_NOSYSTEM: '1' } });
  /** Follows redirects, and fails with the status in its message. */
  const curl = (...args: string[]): Promise<RegistryRun> => lab.run('curl', ['-fsSL', ...args]);

  test('git clones and fetches', async () => {
    const clone = await git('clone', '-q', remote, 'tools');
    lab.assertFetched(clone, [
      'GET github.com/acme/tools.git/info/refs',
      'POST github.com/acme/tools.git/git-upload-pack',
    ]);
    const file = path.join(lab.home, 'tools/README');
    assert.equal(fs.readFileSync(file, 'utf8'), 'the file of the repository\n');
    lab.assertFetched(await git('-C', 'tools', 'fetch', 'origin', 'main'), [
      'POST github.com/acme/tools.git/git-upload-pack',
    ]);
  });

  test('git with the first protocol as well, and shallow', async () => {
    const old = await git('-c', 'protocol.version=0', 'clone', '-q', '--depth', '1', remote, 'old');
    lab.assertFetched(old, ['POST github.com/acme/tools.git/git-upload-pack']);
  });

  test('git does not push', async () => {
    const author = ['-c', 'user.name=Test', '-c', 'user.email=test@example.com'];
    const commit = await git('-C', 'tools', ...author, 'commit', '-q', '--allow-empty', '-m', 'x');
    assert.equal(commit.status, 0, describeRun(commit));
    const push = await git('-C', 'tools', 'push', 'origin', 'main');
    const refused = {
      method: 'GET',
      path: '/acme/tools.git/info/refs',
      reason: 'path_not_allowed',
    };
    lab.assertRefused(push, refused, `unable to access '${remote}/': ${said}`);
    assert.deepEqual(push.reached, []);
  });

  // What a push consists of, without the question that comes first.
  test('nothing is received', async () => {
    const type = 'Content-Type: application/x-git-receive-pack-request';
    const run = await curl('-H', type, '--data-binary', '0000', `${remote}/git-receive-pack`);
    const refused = { method: 'POST', path: '/acme/tools.git/git-receive-pack' };
    lab.assertRefused(run, { ...refused, reason: 'path_not_allowed' }, said);
    assert.deepEqual(run.reached, []);
  });

  test('what is sent for a fetch is nothing else', async () => {
    const run = await curl('--data-binary', '0000', `${remote}/git-upload-pack`);
    const refused = { path: '/acme/tools.git/git-upload-pack', reason: 'content_type_not_allowed' };
    lab.assertRefused(run, refused, said);
    assert.deepEqual(run.reached, []);
  });

  test('a fetch carries no more than what the clone has already', async () => {
    fs.writeFileSync(path.join(lab.home, 'much'), Buffer.alloc(5_000_001));
    const type = 'Content-Type: application/x-git-upload-pack-request';
    const run = await curl('-H', type, '--data-binary', '@much', `${remote}/git-upload-pack`);
    const refused = { path: '/acme/tools.git/git-upload-pack', reason: 'upload_limit' };
    lab.assertRefused(run, refused, 'The requested URL returned error: 413');
    assert.deepEqual(run.reached, []);
  });

  for (const [url, text] of [
    ['https://github.com/acme/tools/archive/refs/heads/main.tar.gz', 'an archive'],
    ['https://github.com/acme/tools/releases/download/v1/tools.tgz', 'a file of a release'],
    [raw, 'a file'],
    [`${api}/releases?per_page=5`, '{"ok":true}'],
    [`${api}/contents/src/a%20b.ts?ref=main`, '{"ok":true}'],
  ] as const) {
    test(`curl gets ${url}`, async () => {
      const run = await curl(url);
      lab.assertFetched(run, []);
      assert.equal(run.stdout, text);
    });
  }

  for (const [name, reason, args, url] of [
    ['opens no issue', 'method_not_allowed', ['-d', '{}'], `${api}/issues`],
    ['reads no issues', 'path_not_allowed', [], `${api}/issues`],
    ['writes no file', 'method_not_allowed', ['-T', 'tools/README'], `${api}/contents/README`],
    ['makes no gist', 'method_not_allowed', ['-d', '{}'], 'https://api.github.com/gists'],
    ['asks no GraphQL', 'method_not_allowed', ['-d', '{}'], 'https://api.github.com/graphql'],
    ['is nobody', 'path_not_allowed', [], 'https://api.github.com/user'],
    ['logs nobody in', 'path_not_allowed', ['-d', ''], 'https://github.com/login/device/code'],
    ['finds no large files', 'path_not_allowed', ['-d', '{}'], `${remote}/info/lfs/objects/batch`],
    ['asks for no push', 'path_not_allowed', [], `${remote}/info/refs?service=git-receive-pack`],
    ['asks for nothing beside a fetch', 'path_not_allowed', [], twice],
    ['hides nothing in a query', 'path_not_allowed', [], `${raw}?data=secret`],
  ] as const) {
    test(`curl ${name}`, async () => {
      const run = await curl(...args, url);
      lab.assertRefused(run, { reason }, said);
      assert.deepEqual(run.reached, []);
    });
  }
});
