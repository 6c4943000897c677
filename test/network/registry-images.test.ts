import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { describeRun, missingClient } from '../support/client-lab.ts';
import { enterNamespace } from '../support/namespace.ts';
import { type OciHosts, ociSites } from '../support/oci-registry.ts';
import { RegistryLab, type RegistryRun } from '../support/registry-lab.ts';

await enterNamespace(import.meta.filename);

const registries: readonly (readonly [group: string, name: string, hosts: OciHosts])[] = [
  [
    'registry/docker-hub-read',
    'docker.io/library/tools',
    {
      registry: 'registry-1.docker.io',
      tokens: 'auth.docker.io',
      blobs: 'production.cloudfront.docker.com',
      service: 'registry.docker.io',
    },
  ],
  [
    'registry/ghcr-read',
    'ghcr.io/acme/tools',
    {
      registry: 'ghcr.io',
      tokens: 'ghcr.io',
      blobs: 'pkg-containers.githubusercontent.com',
      service: 'ghcr.io',
    },
  ],
];

for (const [group, name, hosts] of registries) {
  const slash = name.indexOf('/');
  const [site, repository] = [name.slice(0, slash), name.slice(slash + 1)];
  const forbidden = 'Requesting bearer token: invalid status code from registry 403 (Forbidden)';
  const methodRefused = /403.*(?:method_not_allowed|is not allowed on)/;

  describe(group, { skip: missingClient('skopeo') }, () => {
    let lab: RegistryLab;

    before(async () => {
      lab = await RegistryLab.start(group, () => ociSites(hosts, repository));
    });
    after(() => lab.stop());

    const skopeo = (...args: string[]): Promise<RegistryRun> => {
      const env = { XDG_RUNTIME_DIR: lab.home };
      return lab.run('skopeo', ['--insecure-policy', ...args], { env });
    };

    test('pulls an image', async () => {
      const run = await skopeo('copy', `docker://${name}:1`, 'dir:image');
      lab.assertFetched(run, [
        `GET ${hosts.registry}/v2/`,
        `GET ${hosts.tokens}/token`,
        `GET ${hosts.registry}/v2/${repository}/manifests/1`,
      ]);
      const blobs = run.reached.filter(({ host }) => host === hosts.blobs);
      assert.equal(blobs.length, 2, describeRun(run));
      assert.ok(fs.existsSync(path.join(lab.home, 'image/manifest.json')));
    });

    test('lists tags', async () => {
      const run = await skopeo('list-tags', `docker://${name}`);
      lab.assertFetched(run, [`GET ${hosts.registry}/v2/${repository}/tags/list`]);
    });

    test('pushes no tag', async () => {
      const run = await skopeo('copy', 'dir:image', `docker://${name}:2`);
      assert.notEqual(run.status, 0, describeRun(run));
      const at = `/v2/${repository}/manifests/2`;
      const refused = { host: hosts.registry, method: 'PUT', path: at };
      lab.assertRefused(run, { ...refused, reason: 'method_not_allowed' }, methodRefused);
    });

    test('uploads no layer', async () => {
      const run = await skopeo('copy', 'dir:image', `docker://${name}-new:1`);
      assert.notEqual(run.status, 0, describeRun(run));
      const at = `/v2/${repository}-new/blobs/uploads/`;
      const refused = { host: hosts.registry, method: 'POST', path: at };
      lab.assertRefused(run, { ...refused, reason: 'method_not_allowed' }, methodRefused);
    });

    test('deletes nothing', async () => {
      const run = await skopeo('delete', `docker://${name}:1`);
      assert.notEqual(run.status, 0, describeRun(run));
      const refused = { host: hosts.registry, method: 'DELETE', reason: 'method_not_allowed' };
      lab.assertRefused(run, refused, methodRefused);
    });

    test('asks for tokens as nobody, whatever the client says', {
      skip: missingClient('curl'),
    }, async () => {
      const scope = `repository:${repository}:pull,push`;
      const url = `https://${hosts.tokens}/token?service=${hosts.service}&scope=${scope}`;
      const run = await lab.run('curl', ['-fsS', '-u', 'me:secret', url]);
      lab.assertFetched(run, [`GET ${hosts.tokens}/token`]);
      assert.deepEqual(
        run.reached.map(({ headers }) => headers.authorization),
        [undefined],
      );
    });

    test('gets no token for somebody: no login, no push', async () => {
      const refused = {
        host: hosts.tokens,
        method: 'GET',
        path: '/token',
        reason: 'path_not_allowed',
      };
      const login = await skopeo('login', '--username', 'me', '--password', 'secret', site);
      assert.notEqual(login.status, 0, describeRun(login));
      lab.assertRefused(login, refused, forbidden);
      const credentials = ['--dest-creds', 'me:secret'];
      const push = await skopeo('copy', ...credentials, 'dir:image', `docker://${name}:2`);
      assert.notEqual(push.status, 0, describeRun(push));
      lab.assertRefused(push, refused, forbidden);
    });
  });
}
