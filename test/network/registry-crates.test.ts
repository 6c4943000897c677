import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { describeRun, missingClient } from '../support/client-lab.ts';
import { cratesSites, writeCrate } from '../support/crates-registry.ts';
import { linesLike } from '../support/egress-lines.ts';
import { enterNamespace } from '../support/namespace.ts';
import { assertOnlyRead, RegistryLab, type RegistryRun } from '../support/registry-lab.ts';

await enterNamespace(import.meta.filename);

/** Of rustup, which looks below the home directory otherwise; nothing to a cargo of the system. */
const { RUSTUP_HOME = path.join(os.homedir(), '.rustup') } = process.env;

/** Debian 12 has cargo 1.65, to which the sparse index is still unstable; later ones pass it over. */
const sparseIndex = { RUSTC_BOOTSTRAP: '1', CARGO_UNSTABLE_SPARSE_REGISTRY: 'true' };

describe('registry/crates-read', { skip: missingClient('cargo', 'tar') }, () => {
  let lab: RegistryLab;

  before(async () => {
    lab = await RegistryLab.start('registry/crates-read', cratesSites);
    writeCrate(path.join(lab.home, 'project'), 'project', '0.1.0', 'left = "1"');
  });
  after(() => lab.stop());

  const cargo = (...args: string[]): Promise<RegistryRun> => {
    const env = { ...sparseIndex, RUSTUP_HOME, CARGO_REGISTRY_TOKEN: 'a-token' };
    return lab.run('cargo', args, { cwd: path.join(lab.home, 'project'), env });
  };

  test('fetches a crate', async () => {
    const run = await cargo('fetch');
    lab.assertFetched(run, [
      'GET index.crates.io/config.json',
      'GET index.crates.io/le/ft/left',
      'GET static.crates.io/crates/left/1.2.3/download',
    ]);
    const lock = fs.readFileSync(path.join(lab.home, 'project/Cargo.lock'), 'utf8');
    assert.match(lock, /name = "left"\nversion = "1\.2\.3"/);
  });

  // All of these are at crates.io itself, which the group does not have.
  for (const args of [
    ['publish', '--no-verify', '--allow-dirty'],
    ['yank', '--vers', '1.2.3', 'left'],
    ['owner', '--add', 'me', 'left'],
    ['search', 'left'],
  ]) {
    test(`refuses cargo ${args.join(' ')}, and cargo says so`, async () => {
      const run = await cargo(...args);
      assert.notEqual(run.status, 0, describeRun(run));
      assert.match(run.stderr, /CONNECT tunnel failed, response 403/, describeRun(run));
      const [line] = linesLike(run.lines, { event: 'block', host: 'crates.io' });
      assert.equal(line?.reason, 'host_not_allowed', describeRun(run));
      assertOnlyRead(run);
      assert.ok(run.reached.every(({ host }) => host !== 'crates.io'));
    });
  }
});
