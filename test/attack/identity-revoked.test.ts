/** What was ended before its time: every kind of proof at every way in, and beside it what must go on. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TestAuthority } from '../support/certificates.ts';
import {
  IdentityStage,
  issuerKeys,
  narrowed,
  type Row,
  token,
  workerId,
} from '../support/identity-stage.ts';
import { byPort, byTls, tlsFiles, writeTlsFiles } from '../support/identity-ways.ts';
import { enterNamespace } from '../support/namespace.ts';
import { tokenDigest } from '../support/proxy-process.ts';
import { proxyAuthorization as as } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const authority = new TestAuthority();
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-revoked-'));
const [lost, kept] = [0, 1].map(() => authority.issue([], { uris: [workerId] }));
const job = (jti: string) =>
  issuerKeys.rsa.token({
    iss: 'https://ci.test',
    aud: 'sallyport',
    sub: 'repo:example/app:x',
    jti,
    iat: Math.floor(Date.now() / 1000),
    exp: Math.floor(Date.now() / 1000) + 600,
  });

let stage: IdentityStage;
/** Issued before anything was revoked. */
const old = { alice: '', other: '', bob: '', colon: '' };

before(async () => {
  writeTlsFiles(directory, authority);
  stage = await IdentityStage.start([
    '127.0.0.1:0',
    { address: '127.0.0.1:0', tls: tlsFiles(directory) },
    { address: '127.0.0.1:0', agent: 'odd2' },
  ]);
  for (const id of ['alice', 'bob'] as const) old[id] = await stage.issue([id]);
  old.other = await stage.issue(['alice']);
  old.colon = await stage.issue(['odd0']);
  const id = JSON.parse(Buffer.from(old.alice.split('.')[1] ?? '', 'base64url').toString()) as {
    j: string;
  };
  await stage.command('revoke', id.j, '--why', 'lost');
  await stage.command('revoke', tokenDigest(token('alice')).slice(0, 19));
  await stage.command('revoke', 'jwt:job-1');
  await stage.command('revoke', 'bob');
  await stage.command(
    'revoke',
    `cert:${new X509Certificate(lost?.cert ?? '').serialNumber.toLowerCase()}`,
  );
  await stage.command('quarantine', 'odd0', '--why', 'asked odd things');
  await stage.command('quarantine', 'odd2');
});
after(async () => {
  await stage[Symbol.asyncDispose]();
  fs.rmSync(directory, { recursive: true });
});

const revoked = { reason: 'credential_revoked' };
const stopped = { reason: 'agent_quarantined' };
const bad = { reason: 'bad_credentials' };
const ulid = /^[0-9A-HJKMNP-TV-Z]{26}$/;
const byDigest = /^sha256:[0-9a-f]{12}$/;
const byCertificate = /^cert:[0-9a-f]+$/;

const rows: readonly Row[] = [
  {
    what: 'an issued credential',
    fields: async () => as(old.alice, 'alice'),
    ...revoked,
    agent: 'alice',
    token: ulid,
  },
  {
    what: 'an issued credential, Bearer',
    fields: async () => as(old.alice),
    ...revoked,
    agent: 'alice',
    token: ulid,
  },
  {
    what: 'one narrowed from it',
    fields: async () => as(narrowed(old.alice, { o: ['both'] }), 'alice'),
    ...revoked,
    agent: 'alice',
    token: ulid,
  },
  {
    what: 'another one of the agent goes on',
    fields: async () => as(old.other, 'alice'),
    agent: 'alice',
    token: ulid,
  },
  {
    what: 'a static token',
    fields: as(token('alice'), 'alice'),
    ...revoked,
    agent: 'alice',
    token: byDigest,
  },
  {
    what: 'a forged one under the id of a revoked one is only forged',
    fields: async () => as(old.alice.replace(/.{4}$/, 'AAAA'), 'alice'),
    ...bad,
    agent: 'alice',
  },
  {
    what: 'what was issued to the agent until then',
    fields: async () => as(old.bob, 'bob'),
    ...revoked,
    agent: 'bob',
    token: ulid,
  },
  {
    what: 'what is issued to the agent after that',
    fields: async () => as(await stage.issue(['bob']), 'bob'),
    agent: 'bob',
    token: ulid,
  },
  {
    what: 'the static token of that agent goes on, as nobody issued it',
    fields: as(token('bob'), 'bob'),
    agent: 'bob',
    token: byDigest,
  },
  {
    what: 'a token of another issuer',
    fields: as(job('job-1')),
    ...revoked,
    agent: 'deployer',
    token: /^jwt:job-1$/,
  },
  {
    what: 'another token of that issuer',
    fields: as(job('job-2')),
    agent: 'deployer',
    token: /^jwt:job-2$/,
  },
  {
    what: 'a certificate',
    way: byTls(1, authority, lost),
    fields: '',
    ...revoked,
    agent: 'worker',
    token: byCertificate,
  },
  {
    what: 'a certificate, with a good credential',
    way: byTls(1, authority, lost),
    fields: as(token('worker'), 'worker'),
    ...revoked,
    agent: 'worker',
    token: byDigest,
  },
  {
    what: 'another certificate of that name',
    way: byTls(1, authority, kept),
    fields: '',
    agent: 'worker',
    token: byCertificate,
  },
  {
    what: 'a quarantined agent, its static token',
    fields: as(token('colon:and:more'), 'odd0'),
    ...stopped,
    agent: 'odd0',
    token: byDigest,
  },
  {
    what: 'a quarantined agent, a credential from before',
    fields: async () => as(old.colon, 'odd0'),
    ...stopped,
    agent: 'odd0',
    token: ulid,
  },
  {
    what: 'a quarantined agent, a new credential',
    fields: async () => as(await stage.issue(['odd0']), 'odd0'),
    ...stopped,
    agent: 'odd0',
    token: ulid,
  },
  {
    what: 'a quarantined agent, by its listener',
    way: byPort(2),
    fields: '',
    ...stopped,
    agent: 'odd2',
    token: /^listener:/,
  },
  {
    what: 'a quarantined agent is not told to who has not proven to be it',
    fields: as('no-token-of-anybody', 'odd0'),
    ...bad,
    agent: 'odd0',
  },
  {
    what: 'nor to another agent',
    fields: as(token('worker'), 'odd0'),
    ...bad,
    agent: 'odd0',
  },
  {
    what: 'nor with an expired credential',
    fields: async () =>
      as(await stage.issue(['odd0', '--ttl', '1m'], Date.now() - 120_000), 'odd0'),
    reason: 'credential_expired',
    agent: 'odd0',
    token: ulid,
  },
];

describe('what was ended', () => {
  for (const row of rows) test(row.what, () => stage.checkRow(row));
});

test('what is lifted goes on', async () => {
  await stage.command('unquarantine', 'odd0');
  await stage.checkRow({
    what: 'lifted',
    fields: as(token('colon:and:more'), 'odd0'),
    agent: 'odd0',
    token: byDigest,
  });
});

test('nothing that was shown is in any log, metric or list', () => stage.checkSecrets());

test('the log is whole', async () => {
  const lines = await stage.proxy.stop();
  assert.ok(lines.some(({ event }) => event === 'revoke'));
});
