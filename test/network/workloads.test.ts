import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TestAuthority } from '../support/certificates.ts';
import { until } from '../support/deadline.ts';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { linesLike, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import {
  canary,
  echo,
  type Origin,
  type Script,
  startTcpOrigin,
  startTlsOrigin,
} from '../support/origins.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { proxyAuthorization, RawClient, type RawResponse } from '../support/raw-client.ts';
import { keySet, TestKey } from '../support/token-issuer.ts';

await enterNamespace(import.meta.filename);

const address = '93.184.215.14';
const keysAddress = '93.184.215.15';
const inner = '10.0.0.5';
const now = (): number => Math.floor(Date.now() / 1000);

const authority = new TestAuthority();
const oldKey = new TestKey('2026-11', 'RS256');
const newKey = new TestKey('2026-12', 'ES256');
const meshKey = new TestKey('mesh-1', 'ES256');
const fileKey = new TestKey('file-1', 'EdDSA');
const nextFileKey = new TestKey('file-2', 'EdDSA');

/** What the server of keys gives for `/jwks`; tests change it. */
let published: readonly (TestKey | object)[] = [oldKey];
/** And for `/rotating`. */
let rotating: readonly TestKey[] = [oldKey];
const asked: string[] = [];

const answer = (body: string, head = 'HTTP/1.1 200 OK'): string =>
  `${head}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;

/** One answer for each path, by what is wrong with it. */
const answers: Readonly<Record<string, () => string | null>> = {
  '/jwks': () => answer(keySet(published)),
  '/rotating': () => answer(keySet(rotating)),
  '/redirect': () => answer('', 'HTTP/1.1 302 Found\r\nLocation: https://keys.test/jwks'),
  '/slow': () => null,
  '/huge': () => answer(`{"keys":[],"x":"${'x'.repeat(300_000)}"}`),
  '/private': () => answer(JSON.stringify({ keys: [oldKey.privateKey.export({ format: 'jwk' })] })),
  '/html': () => answer('<html>no keys here</html>'),
  '/missing': () => answer('', 'HTTP/1.1 404 Not Found'),
};

const serveKeys: Script = ({ socket }) => {
  socket.once('data', (chunk: Buffer) => {
    const where = /^GET (\S+) HTTP\/1\.1\r\n/.exec(chunk.toString('latin1'))?.[1] ?? '';
    asked.push(where);
    const text = answers[where]?.() ?? null;
    if (text !== null) socket.end(text);
  });
};

const jwksOf = (name: string): object => ({
  issuer: `https://${name}.test`,
  audience: ['sallyport'],
  algorithms: ['RS256', 'ES256'],
});

const issuers = {
  ci: { ...jwksOf('ci'), audience: ['sallyport', 'spare'], keys: 'https://keys.test/jwks' },
  mesh: { 'trust-domain': 'example.com', audience: 'sallyport', keys: { file: 'mesh.json' } },
  files: { ...jwksOf('files'), algorithms: ['EdDSA'], keys: { file: 'keys/files.json' } },
  rotating: { ...jwksOf('rotating'), keys: 'https://keys.test/rotating' },
  redirect: { ...jwksOf('redirect'), keys: 'https://keys.test/redirect' },
  slow: { ...jwksOf('slow'), keys: 'https://keys.test/slow' },
  huge: { ...jwksOf('huge'), keys: 'https://keys.test/huge' },
  private: { ...jwksOf('private'), keys: 'https://keys.test/private' },
  html: { ...jwksOf('html'), keys: 'https://keys.test/html' },
  missing: { ...jwksOf('missing'), keys: 'https://keys.test/missing' },
  stranger: { ...jwksOf('stranger'), keys: 'https://stranger.test/jwks' },
  'no-grant': { ...jwksOf('no-grant'), keys: 'https://inner.test/jwks' },
  granted: {
    ...jwksOf('granted'),
    keys: 'https://inner.test:8443/jwks',
    addresses: ['10.0.0.0/8'],
  },
  nowhere: { ...jwksOf('nowhere'), keys: 'https://nowhere.test/jwks' },
};

const main = { sub: 'repo:example/app:ref:refs/heads/main' };
const rule = (issuer: string, claims: object = main): object => ({ issuer, claims });

function allowlist(over: { issuers?: object; workloads?: readonly object[] } = {}): object {
  return {
    issuers: over.issuers ?? issuers,
    agents: {
      deployer: {
        owner: 'owner@example.com',
        purpose: 'to be tested',
        credentials: {
          issued: false,
          workloads: over.workloads ?? [
            { ...rule('ci'), task: 'run_id', 'requested-by': 'actor' },
            ...Object.keys(issuers)
              .filter((name) => !['ci', 'mesh'].includes(name))
              .map((name) => rule(name)),
          ],
        },
        allow: ['tcp://good.test:22', 'http://plain.test'],
      },
      service: {
        owner: 'owner@example.com',
        purpose: 'to be tested',
        credentials: { workloads: [rule('mesh', { sub: 'spiffe://example.com/ns/*/sa/service' })] },
        allow: ['tcp://good.test:22', 'http://plain.test'],
      },
    },
  };
}

let proxy: ProxyProcess;
let dns: DnsServer;
let origins: Origin[];
let traps: Origin[];
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-trust-'));

before(async () => {
  dns = await startDnsServer({
    address: dnsAddress,
    port: 53,
    zone: {
      '*': { a: [address] },
      'keys.test': { a: [keysAddress] },
      'stranger.test': { a: [keysAddress] },
      'inner.test': { a: [inner] },
      'nowhere.test': { rcode: 'NXDOMAIN' },
    },
  });
  const certificate = authority.issue(['keys.test', 'inner.test']);
  origins = await Promise.all([
    startTcpOrigin({ address, port: 22 }, echo),
    startTcpOrigin({ address, port: 80 }, ({ socket }) => {
      socket.once('data', () => socket.end(answer('ok')));
    }),
    startTlsOrigin({ address: keysAddress, port: 443 }, certificate, serveKeys),
    startTlsOrigin({ address: inner, port: 8443 }, certificate, serveKeys),
  ]);
  traps = await Promise.all([canary(inner, 443), canary(address, 443)]);
  const trust = path.join(directory, 'roots.pem');
  fs.writeFileSync(trust, authority.cert);
  proxy = await ProxyProcess.start({
    allowlists: {
      'agents.yaml': allowlist(),
      'mesh.json': keySet([meshKey.jwk({ use: 'jwt-svid' })]),
      'keys/files.json': keySet([fileKey]),
    },
    settings: { trust: [trust] },
  });
  await until(
    () => proxy.stderr.includes(`"issuer":"ci","keys":1`),
    () => `the keys are not there\n${proxy.stderr}`,
  );
});

after(async () => {
  await proxy[Symbol.asyncDispose]();
  await Promise.all([...origins, ...traps].map((origin) => origin.close()));
  await dns.close();
  fs.rmSync(directory, { recursive: true });
});

const claimsOf = (issuer: string, more: object = {}): object => ({
  iss: `https://${issuer}.test`,
  aud: 'sallyport',
  iat: now(),
  exp: now() + 600,
  ...main,
  ...more,
});

const spiffe = (more: object = {}): object => ({
  aud: ['sallyport'],
  exp: now() + 600,
  sub: 'spiffe://example.com/ns/prod/sa/service',
  ...more,
});

async function connect(fields: string): Promise<RawResponse> {
  const client = await RawClient.connect({ port: proxy.port });
  const response = await client.tunnel('good.test:22', fields);
  client.close();
  return response;
}

async function get(fields: string): Promise<RawResponse> {
  const client = await RawClient.connect({ port: proxy.port });
  client.write(`GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n${fields}\r\n`);
  const response = await client.readResponse();
  client.close();
  return response;
}

async function openTunnel(fields: string): Promise<{ client: RawClient; id: string }> {
  const seen = linesLike(proxy.lines(), { event: 'open' }).length;
  const client = await RawClient.connect({ port: proxy.port });
  const response = await client.tunnel('good.test:22', fields);
  assert.equal(response.status, 200, response.reason);
  const line = linesLike(proxy.lines(), { event: 'open' })[seen];
  return { client, id: line?.id ?? '' };
}

async function cut(id: string): Promise<string | undefined> {
  return (await waitForLine(proxy.logFile, { event: 'close', id })).end;
}

describe('a token of another issuer', () => {
  const proofs: readonly [string, () => string, string][] = [
    ['of a CI service', () => oldKey.token(claimsOf('ci')), 'deployer'],
    [
      'with one of several audiences',
      () => oldKey.token(claimsOf('ci', { aud: ['x', 'spare'] })),
      'deployer',
    ],
    ['of a mesh, without iss', () => meshKey.token(spiffe()), 'service'],
    ['of a mesh, with any iss', () => meshKey.token(spiffe({ iss: 'spire' })), 'service'],
    ['by a key from a file', () => fileKey.token(claimsOf('files')), 'deployer'],
    [
      'by keys from a private address that is granted',
      () => oldKey.token(claimsOf('granted')),
      'deployer',
    ],
  ];
  for (const [what, make, agent] of proofs) {
    for (const [entry, send] of Object.entries({ CONNECT: connect, 'absolute-form': get })) {
      for (const [scheme, user] of [
        ['Basic', agent],
        ['Bearer', undefined],
      ] as const) {
        test(`${what}: ${scheme} at ${entry}`, async () => {
          const response = await send(proxyAuthorization(make(), user));
          assert.equal(response.status, 200, `${response.reason}\n${proxy.stderr}`);
        });
      }
    }
  }

  test('of nearly 8 KiB', async () => {
    const token = oldKey.token(claimsOf('ci', { more: 'x'.repeat(5600) }));
    assert.ok(token.length > 7900 && token.length < 8192, String(token.length));
    assert.equal((await connect(proxyAuthorization(token))).status, 200);
    assert.equal((await get(proxyAuthorization(token))).status, 200);
  });

  test('by a key that is new is refused until the key is there, which is soon', async () => {
    const token = proxyAuthorization(newKey.token(claimsOf('rotating')), 'deployer');
    assert.equal(
      (await connect(proxyAuthorization(oldKey.token(claimsOf('rotating'))))).status,
      200,
    );
    rotating = [oldKey, newKey];
    assert.equal((await connect(token)).status, 407);
    await until(
      async () => (await connect(token)).status === 200,
      () => `the new key is not taken\n${proxy.stderr}`,
    );
    assert.equal(asked.filter((where) => where === '/rotating').length, 2);
  });

  test('names itself, its task and who asked for it in the log', async () => {
    const jti = 'f5a2c1d0-0000-4000-8000-000000000001';
    const claims = claimsOf('ci', { jti, run_id: '4711', actor: 'erika' });
    const { client, id } = await openTunnel(proxyAuthorization(oldKey.token(claims)));
    client.close();
    const line = await waitForLine(proxy.logFile, { event: 'open', id });
    assert.deepEqual(
      [line.agent, line.token, line.task, line.requested_by],
      ['deployer', `jwt:${jti}`, '4711', 'erika'],
    );
  });
});

describe('refused, with the same answer to the client', () => {
  const stranger = new TestKey('2026-11', 'RS256');
  const wrong: readonly [what: string, token: () => string, reason: string][] = [
    ['expired', () => oldKey.token(claimsOf('ci', { exp: now() - 1 })), 'credential_expired'],
    ['not yet', () => oldKey.token(claimsOf('ci', { nbf: now() + 300 })), 'bad_credentials'],
    ['another audience', () => oldKey.token(claimsOf('ci', { aud: 'x' })), 'bad_credentials'],
    ['another key', () => stranger.token(claimsOf('ci')), 'bad_credentials'],
    ['another branch', () => oldKey.token(claimsOf('ci', { sub: 'x' })), 'bad_credentials'],
    [
      'a key that is in the header',
      () => stranger.token(claimsOf('ci'), { jwk: stranger.jwk(), kid: 'x' }),
      'bad_credentials',
    ],
    [
      'a place of keys that is in the header',
      () =>
        stranger.token(claimsOf('ci'), {
          jku: 'https://jku.test/jwks',
          x5u: 'https://x5u.test/certs',
        }),
      'bad_credentials',
    ],
    ['keys behind a redirect', () => oldKey.token(claimsOf('redirect')), 'bad_credentials'],
    ['keys that never come', () => oldKey.token(claimsOf('slow')), 'bad_credentials'],
    ['too many bytes of keys', () => oldKey.token(claimsOf('huge')), 'bad_credentials'],
    ['private keys', () => oldKey.token(claimsOf('private')), 'bad_credentials'],
    ['no keys', () => oldKey.token(claimsOf('html')), 'bad_credentials'],
    ['a wrong certificate', () => oldKey.token(claimsOf('stranger')), 'bad_credentials'],
    ['a private address', () => oldKey.token(claimsOf('no-grant')), 'bad_credentials'],
    ['an issuer that is not named', () => oldKey.token(claimsOf('other')), 'bad_credentials'],
  ];
  for (const [what, make, reason] of wrong) {
    for (const [entry, send] of Object.entries({ CONNECT: connect, 'absolute-form': get })) {
      test(`${what} at ${entry}`, async () => {
        const seen = linesLike(proxy.lines(), { reason }).length;
        const basic = await send(proxyAuthorization(make(), 'deployer'));
        const bearer = await send(proxyAuthorization(make()));
        assert.deepEqual([basic.status, bearer.status], [407, 407]);
        assert.equal(linesLike(proxy.lines(), { reason }).length, seen + 2);
      });
    }
  }

  test('the agent that is named must be the one of the claims', async () => {
    const response = await connect(proxyAuthorization(oldKey.token(claimsOf('ci')), 'service'));
    assert.equal(response.status, 407);
  });

  test('nothing that a token names was ever asked for', () => {
    assert.ok(!dns.queries.some(({ name }) => /^(?:jku|x5u)/.test(name)));
    assert.deepEqual(
      traps.map(({ connections }) => connections.length),
      [0, 0],
    );
    assert.ok(!asked.includes(''));
  });
});

describe('what operators hear', () => {
  const failures: readonly [issuer: string, why: RegExp][] = [
    ['redirect', /the answer is 302, and redirects are not followed/],
    ['huge', /more than 256 KiB/],
    ['private', /private or symmetric key/],
    ['html', /not a JWK Set/],
    ['missing', /the answer is 404/],
    ['stranger', /ERR_TLS_CERT_ALTNAME_INVALID/],
    ['no-grant', /10\.0\.0\.5 .*write the range under `addresses`/],
    ['nowhere', /does not resolve \(NXDOMAIN\)/],
  ];
  for (const [issuer, why] of failures) {
    test(`${issuer}: why its keys are not there, once`, () => {
      const lines = proxy.stderr
        .split('\n')
        .filter((line) => line.includes(`"issuer":"${issuer}"`) && line.includes('cannot be had'));
      assert.equal(lines.length, 1);
      assert.match(JSON.parse(lines[0] ?? '').why, why);
    });
  }

  test('why a token was refused', () => {
    assert.match(proxy.stderr, /"issuer":"ci","why":"its aud names none of the audiences/);
    assert.match(proxy.stderr, /"issuer":"ci","why":"no key of the issuer fits/);
  });

  test('how many keys there are', async () => {
    const { text } = await proxy.admin('/metrics');
    assert.match(text, /^sallyport_issuer_keys\{issuer="ci"\} 1$/m);
    assert.match(text, /^sallyport_issuer_keys\{issuer="redirect"\} 0$/m);
    assert.match(text, /^sallyport_issuer_refreshes_total\{.*issuer="mesh".*\} 1$/m);
  });
});

describe('what is open stands no longer than its token', () => {
  test('its end', async () => {
    const { id } = await openTunnel(
      proxyAuthorization(oldKey.token(claimsOf('ci', { exp: now() + 2 }))),
    );
    assert.equal(await cut(id), 'credential_expired');
  });

  test('a key is new, then the old one is gone', async () => {
    const before = await openTunnel(proxyAuthorization(oldKey.token(claimsOf('ci'))));
    const next = proxyAuthorization(newKey.token(claimsOf('ci')), 'deployer');
    published = [oldKey, newKey];
    // An unknown kid has been shown above, so that this minute's look may be over.
    await proxy.reload({
      'agents.yaml': allowlist({
        issuers: { ...issuers, ci: { ...issuers.ci, algorithms: ['ES256', 'RS256'] } },
      }),
    });
    await until(
      async () => (await connect(next)).status === 200,
      () => `the new key is not taken\n${proxy.stderr}`,
    );
    const after = await openTunnel(next);
    before.client.write('still there');
    await before.client.readUntil('still there');
    published = [newKey];
    await proxy.reload({ 'agents.yaml': allowlist() });
    assert.equal(await cut(before.id), 'credential_revoked');
    assert.equal((await connect(proxyAuthorization(oldKey.token(claimsOf('ci'))))).status, 407);
    after.client.write('still there');
    await after.client.readUntil('still there');
    after.client.close();
  });

  test('a key file changes', async () => {
    const old = proxyAuthorization(fileKey.token(claimsOf('files')));
    const { id } = await openTunnel(old);
    proxy.writeAllowlists({ 'keys/files.json': '{"keys": [' });
    await until(
      () => proxy.stderr.includes('"issuer":"files","why":"the key set is not usable'),
      () => proxy.stderr,
    );
    assert.equal((await connect(old)).status, 200);
    proxy.writeAllowlists({ 'keys/files.json': keySet([nextFileKey]) });
    assert.equal(await cut(id), 'credential_revoked');
    assert.equal((await connect(old)).status, 407);
    const next = proxyAuthorization(nextFileKey.token(claimsOf('files')));
    assert.equal((await connect(next)).status, 200);
  });

  test('its agent takes other claims', async () => {
    const { id } = await openTunnel(proxyAuthorization(newKey.token(claimsOf('ci'))));
    const workloads = [rule('ci', { ...main, actor: 'erika' })];
    await proxy.reload({ 'agents.yaml': allowlist({ workloads }) });
    assert.equal(await cut(id), 'policy_changed');
    const erika = newKey.token(claimsOf('ci', { actor: 'erika' }));
    assert.equal((await connect(proxyAuthorization(erika))).status, 200);
  });

  test('its issuer is gone', async () => {
    await proxy.reload({ 'agents.yaml': allowlist() });
    const { id } = await openTunnel(proxyAuthorization(newKey.token(claimsOf('ci'))));
    const { ci: _, ...rest } = issuers;
    const workloads = [rule('files')];
    await proxy.reload({ 'agents.yaml': allowlist({ issuers: rest, workloads }) });
    assert.equal(await cut(id), 'policy_changed');
  });
});

test('every worker has the keys', async () => {
  const trust = path.join(directory, 'roots.pem');
  await using several = await ProxyProcess.start({
    allowlists: {
      'agents.yaml': allowlist(),
      'mesh.json': keySet([meshKey.jwk({ use: 'jwt-svid' })]),
      'keys/files.json': keySet([fileKey]),
    },
    settings: { trust: [trust], workers: 2 },
  });
  const loaded = (name: string): number =>
    several.stderr.split(`"issuer":"${name}","keys":1`).length - 1;
  await until(
    () => loaded('ci') === 2 && loaded('mesh') === 2,
    () => several.stderr,
  );
  const fields = proxyAuthorization(meshKey.token(spiffe()));
  for (let i = 0; i < 20; i++) {
    const client = await RawClient.connect({ port: several.port });
    assert.equal((await client.tunnel('good.test:22', fields)).status, 200);
    client.close();
  }
  const { text } = await several.admin('/metrics');
  assert.match(text, /^sallyport_issuer_keys\{issuer="mesh"\} 1$/m);
  assert.match(text, /^sallyport_issuer_refreshes_total\{.*issuer="mesh".*\} 2$/m);
});

test('a file of trust that cannot be used stops the start', async () => {
  const trust = path.join(directory, 'none.pem');
  await assert.rejects(
    ProxyProcess.start({
      allowlists: { 'agents.yaml': allowlist() },
      settings: { trust: [trust] },
    }),
    (error: Error) => error.message.includes('none.pem') && error.message.includes('status 3'),
  );
});
