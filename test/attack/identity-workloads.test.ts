/** Tokens of other issuers in every state at every way in; the traps of RFC 8725 among them. */
import assert from 'node:assert/strict';
import { createHmac, sign } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { changed, IdentityStage, issuerKeys, type Row, token } from '../support/identity-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { proxyAuthorization as as } from '../support/raw-client.ts';
import { encode, TestKey } from '../support/token-issuer.ts';

await enterNamespace(import.meta.filename);

let stage: IdentityStage;
before(async () => {
  stage = await IdentityStage.start();
});
after(async () => await stage[Symbol.asyncDispose]());

const { rsa, ec, ed, mesh } = issuerKeys;
const now = Math.floor(Date.now() / 1000);
const ours = {
  iss: 'https://ci.test',
  aud: 'sallyport',
  sub: 'repo:example/app:main',
  jti: 'job-7',
  iat: now,
  nbf: now,
  exp: now + 600,
  run_id: 'R-1',
  actor: 'ann',
};
const svid = {
  aud: ['sallyport'],
  sub: 'spiffe://example.com/ns/prod/sa/service',
  exp: now + 600,
};
const id = /^jwt:job-7$/;
const byDigest = /^jwt:[0-9a-f]{12}$/;
const bad = { reason: 'bad_credentials' };
const good = { agent: 'deployer', token: id };
const text = JSON.stringify;

/** As a Bearer. */
const shown = (claims: object | string, header: object | string = {}, key = rsa) =>
  as(key.token(claims, header));
const without = (name: keyof typeof ours) => {
  const { [name]: _, ...rest } = ours;
  return rest;
};
/** Signed with the key as if it were a secret. */
const symmetric = (secret: string | Buffer, algorithm = 'HS256') => {
  const signed = `${encode(text({ alg: algorithm, kid: rsa.kid, typ: 'JWT' }))}.${encode(text(ours))}`;
  const digest = algorithm.replace('HS', 'sha');
  return as(`${signed}.${createHmac(digest, secret).update(signed).digest('base64url')}`);
};
const unsigned = (algorithm: string, signature = '') =>
  as(`${encode(text({ alg: algorithm, typ: 'JWT' }))}.${encode(text(ours))}.${signature}`);
/** Good in all but the algorithm, which the issuer may not use. */
const byOurKey = (algorithm: string, digest: string, options: object = {}) => {
  const signed = `${encode(text({ alg: algorithm, kid: rsa.kid }))}.${encode(text(ours))}`;
  const signature = sign(digest, Buffer.from(signed), { key: rsa.privateKey, ...options });
  return as(`${signed}.${signature.toString('base64url')}`);
};
const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const foreign = { rsa: new TestKey(rsa.kid, 'RS256'), ec: new TestKey(ec.kid, 'ES256') };

const states: readonly Row[] = [
  {
    what: 'RS256, Bearer: good',
    fields: shown(ours),
    ...good,
    line: { task: 'R-1', requested_by: 'ann' },
  },
  { what: 'RS256, Basic: good', fields: as(rsa.token(ours), 'deployer'), ...good },
  { what: 'ES256: good', fields: shown(ours, {}, ec), ...good },
  { what: 'EdDSA: good', fields: shown(ours, {}, ed), ...good },
  { what: 'a SPIFFE id: good', fields: shown(svid, {}, mesh), agent: 'service', token: byDigest },
  {
    what: 'one of several audiences',
    fields: shown({ ...ours, aud: ['x', 'sallyport'] }),
    ...good,
  },
  {
    what: 'expired',
    fields: shown({ ...ours, exp: now - 1, iat: now - 600, nbf: now - 600 }),
    reason: 'credential_expired',
    agent: 'deployer',
    token: id,
  },
  {
    what: 'not yet',
    fields: shown({ ...ours, nbf: now + 300 }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'made in the future',
    fields: shown({ ...ours, iat: now + 300 }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'another audience',
    fields: shown({ ...ours, aud: 'elsewhere' }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'a longer audience',
    fields: shown({ ...ours, aud: 'sallyport.example' }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'a part of the audience',
    fields: shown({ ...ours, aud: 'sally' }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'an audience in upper case',
    fields: shown({ ...ours, aud: 'Sallyport' }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'an audience that is an object',
    fields: shown({ ...ours, aud: { sallyport: true } }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'an audience with a number',
    fields: shown({ ...ours, aud: [1, 'sallyport'] }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  { what: 'no audience', fields: shown(without('aud')), ...bad, agent: 'deployer', token: id },
  {
    what: 'another repository',
    fields: shown({ ...ours, sub: 'repo:example/apps:main' }),
    ...bad,
    token: id,
  },
  {
    what: 'a repository in front',
    fields: shown({ ...ours, sub: 'x:repo:example/app:main' }),
    ...bad,
    token: id,
  },
  {
    what: 'a line feed in the subject',
    fields: shown({ ...ours, sub: 'repo:example/app:main\nx' }),
    ...good,
  },
  {
    what: 'a subject that is a list',
    fields: shown({ ...ours, sub: ['repo:example/app:main'] }),
    ...bad,
  },
  { what: 'no subject', fields: shown(without('sub')), ...bad, token: id },
  {
    what: 'under the name of another agent',
    fields: as(rsa.token(ours), 'alice'),
    ...bad,
    agent: 'alice',
    token: id,
  },
  { what: 'under a name of nobody', fields: as(rsa.token(ours), 'mallory'), ...bad, token: id },
  { what: 'no end', fields: shown(without('exp')), ...bad, agent: 'deployer', token: id },
  {
    what: 'an end that is text',
    fields: shown({ ...ours, exp: String(now + 600) }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'an end beyond all times',
    fields: shown(text(ours).replace(`${now + 600}`, '1e300')),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'a negative end',
    fields: shown({ ...ours, exp: -1 }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
  {
    what: 'a beginning that is text',
    fields: shown({ ...ours, nbf: '0' }),
    ...bad,
    agent: 'deployer',
    token: id,
  },
];

const keys: readonly Row[] = [
  { what: 'a foreign key under our kid', fields: shown(ours, {}, foreign.rsa), ...bad },
  { what: 'a foreign EC key under our kid', fields: shown(ours, {}, foreign.ec), ...bad },
  { what: 'the key of another issuer', fields: shown(ours, {}, mesh), ...bad },
  {
    what: 'the key of another issuer under our kid',
    fields: shown(ours, { kid: ec.kid }, mesh),
    ...bad,
  },
  {
    what: 'our key for another trust domain',
    fields: shown({ ...svid, sub: 'spiffe://example.net/ns/prod/sa/service' }, {}, mesh),
    ...bad,
  },
  {
    what: 'the key of the pipeline for a SPIFFE id',
    fields: shown(svid, { kid: mesh.kid }, ec),
    ...bad,
  },
  { what: 'another of our keys under this kid', fields: shown(ours, { kid: rsa.kid }, ec), ...bad },
  { what: 'no kid, one key of its kind', fields: shown(ours, { kid: undefined }), ...good },
  { what: 'a kid of nobody', fields: shown(ours, { kid: 'rsa-2' }), ...bad },
  { what: 'an empty kid', fields: shown(ours, { kid: '' }), ...bad },
  { what: 'a kid that is a number', fields: shown(ours, { kid: 1 }), ...bad },
  { what: 'a kid that is a path', fields: shown(ours, { kid: '../../../../dev/null' }), ...bad },
  { what: 'a kid that is a URL', fields: shown(ours, { kid: 'https://evil.test/jwks' }), ...bad },
  { what: 'a kid that objects have', fields: shown(ours, { kid: '__proto__' }), ...bad },
  { what: 'a kid of 4 KiB', fields: shown(ours, { kid: 'x'.repeat(4096) }), ...bad },
  {
    what: 'its own key in jwk',
    fields: shown(ours, { jwk: foreign.rsa.jwk() }, foreign.rsa),
    ...bad,
  },
  {
    what: 'a place of keys in jku',
    fields: shown(ours, { jku: 'https://evil.test/jwks' }, foreign.rsa),
    ...bad,
  },
  {
    what: 'a place of certificates in x5u',
    fields: shown(ours, { x5u: 'https://evil.test/x' }, foreign.rsa),
    ...bad,
  },
  { what: 'no issuer', fields: shown(without('iss')), ...bad },
  {
    what: 'an issuer with a slash more',
    fields: shown({ ...ours, iss: 'https://ci.test/' }),
    ...bad,
  },
  { what: 'an issuer in upper case', fields: shown({ ...ours, iss: 'https://CI.test' }), ...bad },
  {
    what: 'an issuer that is a list',
    fields: shown({ ...ours, iss: ['https://ci.test'] }),
    ...bad,
  },
  {
    what: 'an issuer of nobody',
    fields: shown({ ...ours, iss: 'https://evil.test' }, {}, foreign.rsa),
    ...bad,
  },
];

const algorithms: readonly Row[] = [
  { what: 'none, without a signature', fields: unsigned('none'), ...bad },
  { what: 'none, with one', fields: unsigned('none', 'AAAA'), ...bad },
  { what: 'nOnE', fields: unsigned('nOnE'), ...bad },
  { what: 'an empty name', fields: unsigned('', 'AAAA'), ...bad },
  { what: 'no name', fields: shown(ours, text({ kid: rsa.kid, typ: 'JWT' })), ...bad },
  { what: 'HS256 by the public key as PEM', fields: symmetric(pem), ...bad },
  {
    what: 'HS256 by that PEM without its last line feed',
    fields: symmetric(pem.trimEnd()),
    ...bad,
  },
  { what: 'HS256 by that PEM behind a space', fields: symmetric(` ${pem}`), ...bad },
  { what: 'HS384 by the public key as PEM', fields: symmetric(pem, 'HS384'), ...bad },
  {
    what: 'HS256 by the public key as DER',
    fields: symmetric(rsa.publicKey.export({ type: 'spki', format: 'der' })),
    ...bad,
  },
  { what: 'HS256 by the JWK', fields: symmetric(text(rsa.jwk())), ...bad },
  { what: 'HS256 by nothing', fields: symmetric(''), ...bad },
  { what: 'RS256 by hand: good', fields: byOurKey('RS256', 'sha256'), ...good },
  {
    what: 'PS256, which the issuer may not use',
    fields: byOurKey('PS256', 'sha256', { padding: 6, saltLength: 32 }),
    ...bad,
  },
  {
    what: 'RS512, which the issuer may not use',
    fields: byOurKey('RS512', 'sha512'),
    ...bad,
  },
  { what: 'RS256 called ES256', fields: shown(ours, { alg: 'ES256' }), ...bad },
  { what: 'RS256 called RS512', fields: shown(ours, { alg: 'RS512' }), ...bad },
  { what: 'RS256 in lower case', fields: shown(ours, { alg: 'rs256' }), ...bad },
  { what: 'EdDSA called Ed25519', fields: shown(ours, { alg: 'Ed25519' }, ed), ...bad },
  { what: 'a list of algorithms', fields: shown(ours, { alg: ['RS256'] }), ...bad },
];

const part = (place: number, change: (text: string) => string) =>
  as(changed(rsa.token(ours), (parts) => (parts[place] = change(parts[place] ?? ''))));

const forms: readonly Row[] = [
  {
    what: 'other claims under its signature',
    fields: part(1, () => encode(text({ ...ours, actor: 'bob' }))),
    ...bad,
  },
  {
    what: 'another header under its signature',
    fields: part(0, () => encode(text({ alg: 'RS256' }))),
    ...bad,
  },
  { what: 'another signature', fields: part(2, () => rsa.token(svid).split('.')[2] ?? ''), ...bad },
  { what: 'no signature', fields: part(2, () => ''), ...bad },
  { what: 'a part more', fields: as(`${rsa.token(ours)}.x`), ...bad },
  { what: 'a dot more', fields: as(`${rsa.token(ours)}.`), ...bad },
  { what: 'a part less', fields: as(rsa.token(ours).split('.').slice(0, 2).join('.')), ...bad },
  { what: 'padding', fields: as(`${rsa.token(ours)}==`), ...bad },
  {
    what: 'Base64 of the other alphabet',
    fields: part(2, (old) => old.replaceAll('-', '+').replaceAll('_', '/')),
    ...bad,
  },
  {
    what: 'a claim twice',
    fields: shown(text(ours).replace('{', '{"sub":"repo:example/other:x",')),
    ...bad,
  },
  {
    what: 'a claim twice, once escaped',
    fields: shown(text(ours).replace('{', String.raw`{"s\u0075b":"x",`)),
    ...bad,
  },
  {
    what: 'a header member twice',
    fields: shown(ours, `{"alg":"none","alg":"RS256","kid":"${rsa.kid}"}`),
    ...bad,
  },
  { what: 'claims that are a list', fields: shown(text([ours])), ...bad },
  { what: 'claims that are no JSON', fields: shown(`${text(ours)}x`), ...bad },
  { what: 'claims behind a byte order mark', fields: shown(`\ufeff${text(ours)}`), ...bad },
  {
    what: 'claims 1,000 deep',
    fields: shown(text(ours).replace('{', `{"x":${'['.repeat(1000)}${']'.repeat(1000)},`)),
    ...bad,
  },
  { what: 'more than 8 KiB', fields: shown({ ...ours, x: 'x'.repeat(6200) }), ...bad },
  { what: 'crit', fields: shown(ours, { crit: ['exp'], exp: 1 }), ...bad },
  { what: 'b64', fields: shown(ours, { b64: false }), ...bad },
  { what: 'a type for something else', fields: shown(ours, { typ: 'dpop+jwt' }), ...bad },
  {
    what: '__proto__ among the claims',
    fields: shown(text(ours).replace('{', '{"__proto__":{"sub":"x"},')),
    agent: 'deployer',
    token: id,
  },
  { what: 'two of them', fields: shown(ours) + shown(ours), ...bad },
  { what: 'one beside a static token', fields: shown(ours) + as(token('alice'), 'alice'), ...bad },
];

for (const [title, rows] of [
  ['what a token says', states],
  ['who signed it', keys],
  ['how', algorithms],
  ['its form', forms],
] as const) {
  describe(title, () => {
    for (const row of rows) test(row.what, () => stage.checkRow(row));
  });
}

test('no token is in any log, metric or list', () => stage.checkSecrets());

test('the log is whole', async () => {
  const lines = await stage.proxy.stop();
  assert.ok(lines.length > 1000);
});
