import assert from 'node:assert/strict';
import { createHmac, type KeyObject, sign } from 'node:crypto';
import { beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../../src/core/clock.ts';
import { parseIp } from '../../src/core/ip.ts';
import { AgentIdentifier } from '../../src/identity/identify.ts';
import { type Identity, type IdentityFailure, isFailure } from '../../src/identity/identity.ts';
import { parseSignedToken } from '../../src/identity/signed-token.ts';
import type { WorkloadProblem } from '../../src/identity/workload-token.ts';
import { type WorkloadAlgorithm, workloadAlgorithms } from '../../src/policy/issuer.ts';
import type { Policy } from '../../src/policy/policy.ts';
import { basic, from, policyOf, sha256 } from '../support/identity-policy.ts';
import { encode, keySet, type TestAlgorithm, TestKey } from '../support/token-issuer.ts';
import { issuer, KnownKeys, rule } from '../support/workload-policy.ts';

const start = Date.UTC(2026, 10, 22, 12);
const seconds = start / 1000;

const rsa = new TestKey('rsa', 'RS256');
const ec = new TestKey('ec', 'ES256');
const mesh = new TestKey('mesh', 'ES256');
const stranger = new TestKey('rsa', 'RS256');

const ci = issuer({ maxAge: 3_600_000 });
const spiffe = issuer({
  name: 'mesh',
  issuer: undefined,
  trustDomain: 'example.com',
  audience: ['sallyport', 'spare'],
});

const sketches = {
  deployer: {
    workloads: [
      rule({ sub: 'repo:example/app:ref:refs/heads/main' }, { task: 'run', requestedBy: 'actor' }),
    ],
  },
  reviewer: { workloads: [rule({ sub: 'repo:example/*:pull_request' })] },
  admin: { workloads: [rule({ sub: 'repo:example/app:**', groups: 'admins' })] },
  service: {
    workloads: [rule({ sub: 'spiffe://example.com/ns/*/sa/web' }, { issuer: 'mesh' })],
    tokens: ['ey.static.token'],
  },
};
const policy = policyOf(sketches, [ci, spiffe]);
const home = from(parseIp('192.0.2.1'));

let now = start;
const clock: Clock = { now: () => now, monotonic: () => now };
let keys: KnownKeys;
let refused: string[];
let identifier: AgentIdentifier;
beforeEach(() => {
  now = start;
  refused = [];
  keys = new KnownKeys().set(ci, [rsa, ec]).set(spiffe, [mesh]);
  identifier = new AgentIdentifier({
    keys: null,
    clock,
    workloadKeys: keys,
    workloadRefused: (name, problem) => refused.push(`${name} ${problem}`),
  });
});

const usual = {
  iss: 'https://ci.test',
  aud: 'sallyport',
  sub: 'repo:example/app:ref:refs/heads/main',
  jti: 'one',
  iat: seconds,
  exp: seconds + 600,
};
const claims = (more: object = {}): object => ({ ...usual, ...more });
const svid = (more: object = {}): object => ({
  aud: ['sallyport'],
  sub: 'spiffe://example.com/ns/prod/sa/web',
  exp: seconds + 600,
  ...more,
});

function identify(header: string, inForce: Policy = policy): Identity | IdentityFailure {
  return identifier.identify(inForce, header, home);
}

function bearer(token: string): Identity | IdentityFailure {
  return identify(`Bearer ${token}`);
}

/** `agent kind token`, or `reason agent token`. */
function outcome(result: Identity | IdentityFailure): string {
  return isFailure(result)
    ? `${result.reason} ${result.agent?.id} ${result.token}`
    : `${result.agent.id} ${result.kind} ${result.token}`;
}

/** A token whose signature is what `signature` gives for the text to sign. */
function signedBy(
  signature: (text: string) => Buffer,
  header: object = { alg: 'RS256', kid: 'rsa' },
  body: object = claims(),
): string {
  const text = `${encode(JSON.stringify(header))}.${encode(JSON.stringify(body))}`;
  return `${text}.${signature(text).toString('base64url')}`;
}

const none = 'bad_credentials undefined undefined';

describe('who it is', () => {
  const digestId = (token: string): string => `jwt:${sha256(token).slice(0, 12)}`;
  const plain = rsa.token(claims({ jti: undefined }));
  const hidden = rsa.token(claims({ jti: 'a\u202eb' }));
  const cases: readonly [what: string, header: string, expected: string][] = [
    ['Bearer', `Bearer ${rsa.token(claims())}`, 'deployer workload jwt:one'],
    ['Basic', basic('deployer', rsa.token(claims())), 'deployer workload jwt:one'],
    ['another algorithm', `Bearer ${ec.token(claims())}`, 'deployer workload jwt:one'],
    ['no jti', `Bearer ${plain}`, `deployer workload ${digestId(plain)}`],
    ['a jti that cannot be shown', `Bearer ${hidden}`, `deployer workload ${digestId(hidden)}`],
    [
      'no kid, one key that fits',
      `Bearer ${rsa.token(claims(), { kid: undefined })}`,
      'deployer workload jwt:one',
    ],
    ['typ JOSE', `Bearer ${rsa.token(claims(), { typ: 'jose' })}`, 'deployer workload jwt:one'],
    ['typ at+jwt', `Bearer ${rsa.token(claims(), { typ: 'AT+JWT' })}`, 'deployer workload jwt:one'],
    ['no typ', `Bearer ${rsa.token(claims(), { typ: undefined })}`, 'deployer workload jwt:one'],
    [
      'several audiences',
      `Bearer ${rsa.token(claims({ aud: ['x', 'sallyport'] }))}`,
      'deployer workload jwt:one',
    ],
    [
      'a clock a minute ahead',
      `Bearer ${rsa.token(claims({ iat: seconds + 60, nbf: seconds + 60 }))}`,
      'deployer workload jwt:one',
    ],
    [
      'fractions of seconds',
      `Bearer ${rsa.token(claims({ exp: seconds + 0.5 }))}`,
      'deployer workload jwt:one',
    ],
    [
      'a star in a rule',
      `Bearer ${rsa.token(claims({ sub: 'repo:example/x:pull_request' }))}`,
      'reviewer workload jwt:one',
    ],
    [
      'the one of two that is named',
      basic('admin', rsa.token(claims({ groups: ['dev', 'admins'] }))),
      'admin workload jwt:one',
    ],
    ['SPIFFE', `Bearer ${mesh.token(svid({ jti: 'two' }))}`, 'service workload jwt:two'],
    [
      'SPIFFE with an iss of its own',
      basic('service', mesh.token(svid({ jti: 'two', iss: 'spire' }))),
      'service workload jwt:two',
    ],

    [
      'expired',
      `Bearer ${rsa.token(claims({ exp: seconds }))}`,
      'credential_expired deployer jwt:one',
    ],
    [
      'another agent is named',
      basic('reviewer', rsa.token(claims())),
      'bad_credentials reviewer jwt:one',
    ],
    ['nobody is named', basic('mallory', rsa.token(claims())), 'bad_credentials undefined jwt:one'],
    [
      'two agents fit',
      `Bearer ${rsa.token(claims({ groups: 'admins' }))}`,
      'bad_credentials undefined jwt:one',
    ],
    [
      'no agent fits',
      `Bearer ${rsa.token(claims({ sub: 'repo:evil/app:ref:refs/heads/main' }))}`,
      'bad_credentials undefined jwt:one',
    ],
    ['a trust domain of the wrong key', `Bearer ${rsa.token(svid(), { kid: 'mesh' })}`, none],
    [
      'the agent of another issuer',
      `Bearer ${rsa.token(claims({ sub: 'spiffe://example.com/ns/prod/sa/web' }))}`,
      'bad_credentials undefined jwt:one',
    ],
  ];
  for (const [what, header, expected] of cases) {
    test(what, () => assert.equal(outcome(identify(header)), expected));
  }

  test('its end, its beginning, its task and who asked', () => {
    const identity = bearer(rsa.token(claims({ run: '4711', actor: 'erika' })));
    assert.ok(!isFailure(identity));
    const { issuedAt, expiresAt, task, requestedBy, scope } = identity;
    assert.deepEqual(
      { issuedAt, expiresAt, task, requestedBy, scope },
      {
        issuedAt: start,
        expiresAt: start + 600_000,
        task: '4711',
        requestedBy: 'erika',
        scope: undefined,
      },
    );
  });

  const made: readonly [string, object, number][] = [
    ['iat', { iat: seconds, nbf: seconds - 7 }, start],
    ['nbf without iat', { iat: undefined, nbf: seconds - 7 }, start - 7000],
    ['neither', { iat: undefined }, 0],
  ];
  for (const [what, more, issuedAt] of made) {
    test(`when it was made, by ${what}`, () => {
      const token = mesh.token(svid(more));
      const identity = bearer(token);
      assert.ok(!isFailure(identity));
      assert.equal(identity.issuedAt, issuedAt);
    });
  }

  const unshown: readonly [string, unknown][] = [
    ['too long', 'x'.repeat(129)],
    ['with a line break', 'a\nb'],
    ['empty', ''],
    ['a number', 4711],
    ['a list', ['a']],
  ];
  for (const [what, run] of unshown) {
    test(`a task that is ${what} is left out`, () => {
      const identity = bearer(rsa.token(claims({ run })));
      assert.ok(!isFailure(identity));
      assert.equal(identity.task, undefined);
    });
  }

  test('without issuers a static token may look like one', () => {
    const old = policyOf({ service: { tokens: ['ey.static.token'] } });
    assert.match(outcome(identify('Bearer ey.static.token', old)), /^service static /);
    assert.equal(outcome(identify('Bearer ey.static.token')), none);
  });
});

describe('every algorithm', () => {
  const bits = {
    RS256: 'RS256',
    RS512: 'RS512',
    PS256: 'PS256',
    ES256: 'ES256',
    ES384: 'ES384',
    EdDSA: 'EdDSA',
  } as const;
  const pairs = Object.keys(bits) as TestAlgorithm[];
  const all = new Map(pairs.map((algorithm) => [algorithm, new TestKey(algorithm, algorithm)]));
  for (const algorithm of pairs) {
    test(`${algorithm} where it is allowed, and nowhere else`, () => {
      const token = all.get(algorithm)?.token(claims()) ?? '';
      const definition = (algorithms: readonly WorkloadAlgorithm[]) => issuer({ algorithms });
      const judged = (algorithms: readonly WorkloadAlgorithm[]): string => {
        const one = definition(algorithms);
        keys.set(definition(workloadAlgorithms), [...all.values()]);
        return outcome(identify(`Bearer ${token}`, policyOf(sketches, [one, spiffe])));
      };
      assert.equal(judged([algorithm]), 'deployer workload jwt:one');
      assert.equal(judged(workloadAlgorithms.filter((other) => other !== algorithm)), none);
    });
  }

  test('what a key has signed by one is not taken for another', () => {
    const key = all.get('RS512') as TestKey;
    const one = issuer({ algorithms: workloadAlgorithms });
    keys.set(one, [key]);
    const inForce = policyOf(sketches, [one]);
    for (const alg of ['RS256', 'RS384', 'PS512', 'ES256', 'EdDSA']) {
      assert.equal(outcome(identify(`Bearer ${key.token(claims(), { alg })}`, inForce)), none, alg);
    }
  });
});

describe('signatures that are none', () => {
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const pkcs1 = rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString();
  const jwk = JSON.stringify(rsa.publicKey.export({ format: 'jwk' }));
  const hmac =
    (secret: string | Buffer, hash = 'sha256') =>
    (text: string) =>
      createHmac(hash, secret).update(text).digest();
  const ecdsa =
    (dsaEncoding: 'der' | 'ieee-p1363', key: KeyObject, hash = 'sha256') =>
    (text: string) =>
      sign(hash, Buffer.from(text), { key, dsaEncoding });
  const hs = { alg: 'HS256', kid: 'rsa' };
  const es = { alg: 'ES256', kid: 'ec' };
  const cases: readonly [what: string, token: string][] = [
    ['none', signedBy(() => Buffer.from('x'), { alg: 'none' })],
    ['None', signedBy(() => Buffer.from('x'), { alg: 'None', kid: 'rsa' })],
    ['none with the signature of another', rsa.token(claims(), { alg: 'none' })],
    ['HS256 with the PEM', signedBy(hmac(pem), hs)],
    ['HS256 with the PEM without its end of line', signedBy(hmac(pem.trim()), hs)],
    ['HS256 with a blank before the PEM', signedBy(hmac(` ${pem}`), hs)],
    ['HS256 with another PEM', signedBy(hmac(pkcs1), hs)],
    [
      'HS256 with the DER',
      signedBy(hmac(rsa.publicKey.export({ type: 'spki', format: 'der' })), hs),
    ],
    ['HS256 with the JWK', signedBy(hmac(jwk), hs)],
    ['HS256 with nothing', signedBy(hmac(''), hs)],
    ['HS512 with the PEM', signedBy(hmac(pem, 'sha512'), { alg: 'HS512', kid: 'rsa' })],
    ['RS256 that is an HMAC', signedBy(hmac(pem))],
    ['a stranger with the same kid', stranger.token(claims())],
    ['an embedded key', stranger.token(claims(), { jwk: stranger.jwk() })],
    [
      'an embedded key and no kid',
      stranger.token(claims(), { jwk: stranger.jwk(), kid: undefined }),
    ],
    ['a place of keys', stranger.token(claims(), { jku: 'https://evil.test/jwks' })],
    ['certificates', stranger.token(claims(), { x5c: ['MIIB'], x5u: 'https://evil.test/x' })],
    ['ECDSA as DER', signedBy(ecdsa('der', ec.privateKey), es)],
    ['ECDSA of zeros', signedBy(() => Buffer.alloc(64), es)],
    [
      'ECDSA of the order',
      signedBy(
        () =>
          Buffer.from(
            'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'.repeat(2),
            'hex',
          ),
        es,
      ),
    ],
    [
      'ECDSA with one byte more',
      signedBy(
        (text) => Buffer.concat([ecdsa('ieee-p1363', ec.privateKey)(text), Buffer.of(0)]),
        es,
      ),
    ],
    [
      'ECDSA with one byte less',
      signedBy((text) => ecdsa('ieee-p1363', ec.privateKey)(text).subarray(1), es),
    ],
    ['ECDSA over SHA-512', signedBy(ecdsa('ieee-p1363', ec.privateKey, 'sha512'), es)],
    ['the kid of a key of another kind', ec.token(claims(), { kid: 'rsa' })],
    ['RS256 by the EC key', ec.token(claims(), { alg: 'RS256' })],
    ['ES256 by the RSA key', rsa.token(claims(), { alg: 'ES256' })],
    ['es256', ec.token(claims(), { alg: 'es256' })],
    ['an alg that is a list', rsa.token(claims(), { alg: ['RS256'] })],
    ['an alg that objects inherit', rsa.token(claims(), { alg: 'constructor' })],
    ['no alg', rsa.token(claims(), { alg: undefined })],
    ['another kid', rsa.token(claims(), { kid: 'rsb' })],
    ['an empty kid', rsa.token(claims(), { kid: '' })],
    ['a kid that is null', rsa.token(claims(), { kid: null })],
    ['a kid that is a list', rsa.token(claims(), { kid: ['rsa'] })],
    ['a kid that climbs', rsa.token(claims(), { kid: '../../../../dev/null' })],
    ['a kid that is a URL', rsa.token(claims(), { kid: 'https://evil.test/rsa' })],
    ['a kid for a database', rsa.token(claims(), { kid: "x' UNION SELECT 'a" })],
    ['a kid with a NUL', rsa.token(claims(), { kid: 'rsa\0' })],
    ['a kid that objects inherit', rsa.token(claims(), { kid: '__proto__' })],
    ['a kid of 4 KiB', rsa.token(claims(), { kid: 'x'.repeat(4096) })],
    ['crit', rsa.token(claims(), { crit: ['exp'] })],
    ['crit that names nothing', rsa.token(claims(), { crit: [] })],
    ['b64', rsa.token(claims(), { b64: true })],
    ['typ of something else', rsa.token(claims(), { typ: 'dpop+jwt' })],
    ['typ that is no text', rsa.token(claims(), { typ: 1 })],
  ];
  for (const [what, token] of cases) {
    test(what, () => {
      assert.equal(outcome(bearer(token)), none);
      assert.equal(
        outcome(identify(basic('deployer', token))),
        'bad_credentials deployer undefined',
      );
    });
  }

  test('no kid, and two keys that fit', () => {
    keys.set(ci, [rsa, new TestKey('rsa2', 'RS256')]);
    assert.equal(outcome(bearer(rsa.token(claims(), { kid: undefined }))), none);
  });
});

describe('texts that are none', () => {
  const good = rsa.token(claims());
  const [head = '', body = '', tail = ''] = good.split('.');
  const again = (text: string): string => rsa.token(text);
  const json = JSON.stringify(claims());
  const cases: readonly [what: string, token: string][] = [
    ['no signature', `${head}.${body}.`],
    ['no signature and no dot', `${head}.${body}`],
    ['a fourth part', `${good}.${tail}`],
    ['a dot behind it', `${good}.`],
    ['five parts, as encryption has them', `${good}.a.b`],
    ['a dot before it', `.${good}`],
    ['no claims', `${head}..${tail}`],
    ['padding', `${head}.${body}.${tail}==`],
    ['the other alphabet', `${head}.${body}.${tail.replace(/[-_]/g, '+')}+`],
    ['a second spelling of the last character', respelled(good)],
    ['a blank', `${head}.${body} .${tail}`],
    ['claims that are no object', again('[]')],
    ['claims that are text', again('"x"')],
    ['claims that are no JSON', again('{')],
    ['claims twice', again(`{"aud":"x",${json.slice(1)}`)],
    ['a header twice', rsa.token(claims(), '{"alg":"none","alg":"RS256","kid":"rsa"}')],
    ['a header that is a list', rsa.token(claims(), '["RS256"]')],
    ['claims too deep', again(`${json.slice(0, -1)},"x":${'['.repeat(999)}${']'.repeat(999)}}`)],
    [
      'claims that are not UTF-8',
      raw(Buffer.concat([Buffer.from(`${json.slice(0, -1)},"x":"`), Buffer.of(0xff, 0x22, 0x7d)])),
    ],
    ['16 KiB', again(`${json.slice(0, -1)},"x":"${'x'.repeat(12_000)}"}`)],
    ['a sub that is a number', rsa.token(claims({ sub: 7 }))],
    ['a sub that is a list', rsa.token(claims({ sub: ['repo:example/app:ref:refs/heads/main'] }))],
    ['a sub of 2 KiB and more', rsa.token(claims({ sub: `repo:example/app:${'x'.repeat(2048)}` }))],
  ];
  for (const [what, token] of cases) {
    test(what, () => assert.equal(outcome(bearer(token)), none));
  }

  /** The last character of the signature with bits that no byte takes up. */
  function respelled(token: string): string {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = alphabet.indexOf(token.at(-1) ?? '');
    const other = token.slice(0, -1) + alphabet[last ^ 1];
    assert.deepEqual(
      Buffer.from(other.split('.')[2] ?? '', 'base64url'),
      Buffer.from(tail, 'base64url'),
    );
    return other;
  }

  function raw(bytes: Buffer): string {
    const text = `${head}.${encode(bytes)}`;
    return `${text}.${rsa.sign(text).toString('base64url')}`;
  }
});

describe('claims that do not hold', () => {
  const genuine = 'bad_credentials deployer jwt:one';
  const cases: readonly [what: string, more: object, problem: WorkloadProblem][] = [
    ['no exp', { exp: undefined }, 'times'],
    ['exp as text', { exp: String(seconds + 600) }, 'times'],
    ['exp beyond all times', { exp: 1e300 }, 'times'],
    ['exp below zero', { exp: -1 }, 'times'],
    ['exp null', { exp: null }, 'times'],
    ['exp a list', { exp: [seconds + 600] }, 'times'],
    ['nbf as text', { nbf: '0' }, 'times'],
    ['nbf null', { nbf: null }, 'times'],
    ['iat as text', { iat: 'now' }, 'times'],
    ['nbf in the future', { nbf: seconds + 61 }, 'early'],
    ['iat in the future', { iat: seconds + 61 }, 'early'],
    ['no aud', { aud: undefined }, 'audience'],
    ['another aud', { aud: 'other' }, 'audience'],
    ['aud in other letters', { aud: 'Sallyport' }, 'audience'],
    ['aud longer', { aud: 'sallyport.evil.test' }, 'audience'],
    ['aud shorter', { aud: 'sally' }, 'audience'],
    ['aud with others in one text', { aud: 'other sallyport' }, 'audience'],
    ['aud empty', { aud: [] }, 'audience'],
    ['aud with a number beside it', { aud: ['sallyport', 1] }, 'audience'],
    ['aud in a list in a list', { aud: [['sallyport']] }, 'audience'],
    ['aud an object', { aud: { 0: 'sallyport', length: 1 } }, 'audience'],
    ['longer than max-age', { exp: seconds + 3601 }, 'long'],
    ['no iat where max-age asks for it', { iat: undefined }, 'long'],
  ];
  for (const [what, more, problem] of cases) {
    test(what, () => {
      assert.equal(outcome(bearer(rsa.token(claims(more)))), genuine);
      assert.deepEqual(refused, [`ci ${problem}`]);
    });
  }

  for (const iss of [
    'https://ci.test/',
    'https://CI.test',
    'https://ci.test.evil.test',
    'http://ci.test',
    '',
    7,
    null,
    ['https://ci.test'],
    undefined,
  ]) {
    test(`iss ${JSON.stringify(iss)}`, () => {
      assert.equal(outcome(bearer(rsa.token(claims({ iss })))), none);
      assert.deepEqual(refused, []);
    });
  }

  for (const sub of [
    undefined,
    'x',
    'spiffe://example.com',
    'spiffe://example.com.evil.test/a',
    'spiffe://Example.com/ns/prod/sa/web',
    'spiffe://example.com:1/ns/prod/sa/web',
    'SPIFFE://example.com/ns/prod/sa/web',
    'spiffe://example.com/ns/prod/sa/web?x',
  ]) {
    test(`the trust domain of ${sub}`, () => {
      assert.equal(outcome(bearer(mesh.token(svid({ sub })))), none);
    });
  }

  test('an issuer with both asks for both', () => {
    const both = issuer({ name: 'mesh', issuer: 'https://oidc.test', trustDomain: 'example.com' });
    const inForce = policyOf(sketches, [both]);
    const judged = (more: object) => outcome(identify(`Bearer ${mesh.token(svid(more))}`, inForce));
    assert.match(judged({ iss: 'https://oidc.test' }), /^service workload/);
    assert.equal(judged({}), none);
    const elsewhere = { iss: 'https://oidc.test', sub: 'spiffe://other.com/ns/prod/sa/web' };
    assert.match(judged(elsewhere), /^bad_credentials undefined jwt:/);
    assert.deepEqual(refused, ['mesh subject']);
  });
});

describe('what is remembered', () => {
  test('a token ends when it says, although it is remembered', () => {
    const token = rsa.token(claims());
    assert.equal(outcome(bearer(token)), 'deployer workload jwt:one');
    now = start + 600_000;
    assert.equal(outcome(bearer(token)), 'credential_expired deployer jwt:one');
  });

  test('no longer than its key', () => {
    const token = rsa.token(claims());
    assert.equal(outcome(bearer(token)), 'deployer workload jwt:one');
    keys.set(ci, [ec]);
    assert.equal(outcome(bearer(token)), none);
    keys.set(ci, [rsa]);
    assert.equal(outcome(bearer(token)), 'deployer workload jwt:one');
  });

  test('never one token for another', () => {
    const tokens = [rsa.token(claims()), rsa.token(claims({ sub: 'repo:example/x:pull_request' }))];
    for (let round = 0; round < 100; round++) {
      const found = tokens.map((token) => outcome(bearer(token)));
      assert.deepEqual(found, ['deployer workload jwt:one', 'reviewer workload jwt:one']);
    }
  });

  test('nothing that could be shown again', () => {
    const token = rsa.token(claims());
    const identity = bearer(token);
    assert.ok(!JSON.stringify(identity).includes(token.split('.')[2] ?? ''));
  });

  test('asks for newer keys where there is none', () => {
    bearer(rsa.token(claims(), { kid: 'new' }));
    assert.deepEqual(keys.missed, ['ci new RS256']);
  });
});

describe('does it still stand', () => {
  const stands = (inForce: Policy): string | null => {
    const identity = bearer(rsa.token(claims({ actor: 'erika' })));
    assert.ok(!isFailure(identity));
    return identifier.recheck(inForce, identity, home);
  };
  const changed = (more: object, issuers = [ci, spiffe]): Policy =>
    policyOf({ ...sketches, ...more }, issuers);
  const cases: readonly [what: string, policy: () => Policy, expected: string | null][] = [
    ['nothing changed', () => changed({}), null],
    [
      'its rule asks for what it has',
      () => changed({ deployer: { workloads: [rule({ actor: 'erika' })] } }),
      null,
    ],
    [
      'its rule asks for more',
      () => changed({ deployer: { workloads: [rule({ actor: 'max' })] } }),
      'policy_changed',
    ],
    [
      'its rule is of another issuer',
      () => changed({ deployer: { workloads: [rule({ actor: 'erika' }, { issuer: 'mesh' })] } }),
      'policy_changed',
    ],
    ['no rule is left', () => changed({ deployer: {} }), 'policy_changed'],
    ['its issuer is gone', () => changed({}, [spiffe]), 'policy_changed'],
    [
      'its issuer has another iss',
      () => changed({}, [issuer({ issuer: 'https://x.test' })]),
      'policy_changed',
    ],
    [
      'its issuer has another name',
      () => changed({}, [issuer({ name: 'other' })]),
      'policy_changed',
    ],
    [
      'its issuer has another audience',
      () => changed({}, [issuer({ audience: ['x'] })]),
      'policy_changed',
    ],
    [
      'its issuer may not use its algorithm',
      () => changed({}, [issuer({ algorithms: ['ES256'] })]),
      'policy_changed',
    ],
    [
      'its issuer lets tokens live shorter',
      () => changed({}, [issuer({ maxAge: 1000 })]),
      'policy_changed',
    ],
  ];
  for (const [what, make, expected] of cases) {
    test(what, () => assert.equal(stands(make()), expected));
  }

  test('its key is gone', () => {
    const identity = bearer(rsa.token(claims()));
    assert.ok(!isFailure(identity));
    keys.set(ci, [ec]);
    assert.equal(identifier.recheck(policy, identity, home), 'credential_revoked');
    now = start + 600_000;
    assert.equal(identifier.recheck(policy, identity, home), 'credential_expired');
  });
});

describe('hostile input', () => {
  test('no text makes it throw or is somebody', () => {
    const part = fc.oneof(fc.json().map(encode), fc.string().map(encode), fc.string());
    fc.assert(
      fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
        parseSignedToken(parts.join('.'));
        assert.ok(isFailure(bearer(parts.join('.'))));
      }),
    );
  });

  test('no change of a character leaves a token what it is', () => {
    const token = rsa.token(claims());
    fc.assert(
      fc.property(
        fc.nat(token.length - 1),
        fc.constantFrom(...'AZaz09-_.=+/ '),
        (at, character) => {
          fc.pre(token[at] !== character);
          const other = token.slice(0, at) + character + token.slice(at + 1);
          assert.ok(isFailure(bearer(other)));
        },
      ),
    );
  });

  test('a key set cannot be a token, nor the other way round', () => {
    assert.equal(parseSignedToken(keySet([rsa])), null);
  });
});
