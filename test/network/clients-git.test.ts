import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  assertAllowed,
  assertBlocked,
  ClientLab,
  type ClientRun,
  describeRun,
  missingClient,
  onlyLineOf,
} from '../support/client-lab.ts';
import { gitSite, makeRepository } from '../support/git-site.ts';
import { enterNamespace } from '../support/namespace.ts';

await enterNamespace(import.meta.filename);

describe('git over https', { skip: missingClient('git') }, () => {
  let lab: ClientLab;
  let root: string;

  before(async () => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-git-'));
    makeRepository(root, 'tools.git', 'README', 'the file of the repository\n');
    lab = await ClientLab.start({ sites: { 'git.test': gitSite(root) }, allow: ['git.test'] });
  });
  after(async () => {
    await lab.stop();
    fs.rmSync(root, { recursive: true });
  });

  const git = (...args: string[]): Promise<ClientRun> =>
    lab.run('git', args, { env: { GIT_TERMINAL_PROMPT: '0', GIT_CONFIG_NOSYSTEM: '1' } });
  const allowed = { agent: 'demo', scheme: 'https', host: 'git.test', method: 'CONNECT' };

  test('lists the branches of a remote', async () => {
    const result = await git('ls-remote', 'https://git.test/tools.git');
    assertAllowed(result, allowed);
    assert.match(result.stdout, /^[0-9a-f]{40}\trefs\/heads\/main$/m);
  });

  test('clones, commits, pushes and fetches', async () => {
    assertAllowed(await git('clone', '-q', 'https://git.test/tools.git', 'one'), allowed);
    assertAllowed(await git('clone', '-q', 'https://git.test/tools.git', 'two'), allowed);
    const one = path.join(lab.home, 'one');
    assert.equal(fs.readFileSync(path.join(one, 'README'), 'utf8'), 'the file of the repository\n');
    const author = ['-c', 'user.name=Test', '-c', 'user.email=test@example.com'];
    const commit = await git('-C', one, ...author, 'commit', '-q', '--allow-empty', '-m', 'second');
    assert.equal(commit.status, 0, describeRun(commit));
    assertAllowed(await git('-C', one, 'push', '-q', 'origin', 'main'), allowed);
    const two = path.join(lab.home, 'two');
    assertAllowed(await git('-C', two, 'fetch', 'origin'), allowed);
    const subject = await git('-C', two, 'log', '-1', '--format=%s', 'origin/main');
    assert.equal(subject.stdout, 'second\n');
  });

  test('says 403 for a host that is not allowed', async () => {
    const result = await git('clone', 'https://evil.test/tools.git', 'three');
    const said =
      "fatal: unable to access 'https://evil.test/tools.git/': CONNECT tunnel failed, response 403";
    assertBlocked(result, said, 128);
  });

  test('says 407 for a wrong credential', async () => {
    const proxy = `http.proxy=${lab.proxyUrl('wrong')}`;
    const result = await git('-c', proxy, 'ls-remote', 'https://git.test/tools.git');
    assert.equal(result.status, 128, describeRun(result));
    assert.ok(result.stderr.includes('CONNECT tunnel failed, response 407'), describeRun(result));
    assert.ok(result.lines.some((line) => line.reason === 'bad_credentials'));
    assert.ok(result.lines.every((line) => line.event === 'block' || line.event === 'close'));
  });

  test('fetches through the proxy of its own settings', async () => {
    const proxy = `http.proxy=${lab.proxyUrl()}`;
    const result = await git('-c', proxy, 'ls-remote', 'https://git.test/tools.git');
    assertAllowed(result, allowed);
    onlyLineOf(result, { event: 'open', host: 'git.test' });
  });
});
