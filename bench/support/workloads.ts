import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { type KeySet, readKeySet } from '../../src/identity/key-set.ts';
import type { WorkloadKeys } from '../../src/identity/workload-keys.ts';
import type { Issuer, WorkloadAlgorithm, WorkloadRule } from '../../src/policy/issuer.ts';

/** Algorithms that are measured: the usual ones. */
export const algorithms = [
  'RS256',
  'ES256',
  'EdDSA',
] as const satisfies readonly WorkloadAlgorithm[];
type Algorithm = (typeof algorithms)[number];

export const issuer: Issuer = {
  name: 'ci',
  issuer: 'https://ci.example.com',
  trustDomain: undefined,
  audience: ['sallyport'],
  keys: { kind: 'file', text: 'ci.json' },
  algorithms,
  addresses: [],
  maxAge: undefined,
  at: 'bench.yaml:1',
};

const sub = 'repo:example/app:ref:refs/heads/main';
export const rule: WorkloadRule = {
  issuer: 'ci',
  claims: [{ name: 'sub', pattern: 'repo:example/*:ref:refs/heads/main' }],
  task: 'run_id',
  requestedBy: 'actor',
};

const pairs = Object.fromEntries(algorithms.map((algorithm) => [algorithm, pairFor(algorithm)]));

function pairFor(algorithm: Algorithm): { publicKey: KeyObject; privateKey: KeyObject } {
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519');
  return algorithm === 'ES256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
}

/** The keys of `issuer`, each under the name of its algorithm. */
export function workloadKeys(): WorkloadKeys {
  const keys = algorithms.map((kid) => ({
    ...pairs[kid]?.publicKey.export({ format: 'jwk' }),
    kid,
  }));
  const set: KeySet | string = readKeySet(Buffer.from(JSON.stringify({ keys })), issuer);
  if (typeof set === 'string') throw new Error(set);
  return {
    find: (_issuer, kid, algorithm) => set.find(kid, algorithm),
    has: (_issuer, id) => set.has(id),
  };
}

/** A token with about as many claims as those of a CI service have. */
export function workloadToken(algorithm: Algorithm, serial: number): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: issuer.issuer,
    aud: 'sallyport',
    sub,
    jti: `8d1e0e9a-8a1c-4d57-9f3c-${serial}`,
    iat: now,
    nbf: now,
    exp: now + 3600,
    ref: 'refs/heads/main',
    repository: 'example/app',
    repository_owner: 'example',
    run_id: '6834512',
    run_attempt: '1',
    actor: 'ann',
    workflow: 'deploy',
    event_name: 'push',
    job_workflow_ref: 'example/app/.github/workflows/deploy.yaml@refs/heads/main',
    runner_environment: 'self-hosted',
  };
  const parts = [{ alg: algorithm, kid: algorithm, typ: 'JWT' }, claims];
  const signed = parts
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${signed}.${signatureOf(algorithm, signed).toString('base64url')}`;
}

function signatureOf(algorithm: Algorithm, signed: string): Buffer {
  const key = pairs[algorithm]?.privateKey as KeyObject;
  const bytes = Buffer.from(signed);
  return algorithm === 'EdDSA'
    ? sign(null, bytes, key)
    : sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' });
}
