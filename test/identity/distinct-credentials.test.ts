import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '../../src/core/clock.ts';
import { newId } from '../../src/core/ulid.ts';
import { credentialKey, credentialKeys } from '../../src/identity/credential-keys.ts';
import { AgentIdentifier } from '../../src/identity/identify.ts';
import { isFailure } from '../../src/identity/identity.ts';
import { issueCredential } from '../../src/identity/issued-credential.ts';
import { type KeySet, readKeySet } from '../../src/identity/key-set.ts';
import type { WorkloadKeys } from '../../src/identity/workload-keys.ts';
import type { Issuer } from '../../src/policy/issuer.ts';
import { basic, from, policyOf } from '../support/identity-policy.ts';
import { keySet, TestKey } from '../support/token-issuer.ts';

const total = 100_000;
/** By then the cache of the verified is full: two of three are good, and 10,000 are remembered. */
const settled = 20_000;
/** Bytes. What one credential left behind, 80,000 times, would be far more. */
const slack = 8_000_000;

const names = ['alice', 'bob', 'carol'];
const issuer: Issuer = {
  name: 'ci',
  issuer: 'https://ci.test',
  trustDomain: undefined,
  audience: ['sallyport'],
  keys: { kind: 'file', text: 'ci.json' },
  algorithms: ['ES256'],
  addresses: [],
  maxAge: undefined,
  at: 'agents.yaml:1',
};
const rule = (sub: string) => ({
  issuer: 'ci',
  claims: [{ name: 'sub', pattern: sub }],
  task: undefined,
  requestedBy: undefined,
});
const policy = policyOf(
  Object.fromEntries(names.map((name) => [name, { workloads: [rule(`job:${name}`)] }])),
  [issuer],
);
const issuerKey = new TestKey('1', 'ES256');
const set = readKeySet(Buffer.from(keySet([issuerKey])), issuer) as KeySet;
const workloadKeys: WorkloadKeys = {
  find: (_name, kid, algorithm) => set.find(kid, algorithm),
  has: (_name, id) => set.has(id),
};
const key = credentialKey(randomBytes(32));
const keys = credentialKeys([key], key);
const identifier = new AgentIdentifier({ keys, clock: systemClock, workloadKeys });

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heap(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function issue(agent: string): string {
  const now = Math.floor(Date.now() / 1000);
  return issueCredential(key, {
    id: newId(Date.now()),
    agent,
    issuedAt: now,
    expiresAt: now + 60,
    task: undefined,
    requestedBy: undefined,
    only: undefined,
    hosts: undefined,
  });
}

function token(agent: string, n: number): string {
  const exp = Math.floor(Date.now() / 1000) + 60;
  return issuerKey.token({
    iss: issuer.issuer,
    aud: 'sallyport',
    sub: `job:${agent}`,
    exp,
    jti: `${n}`,
  });
}

/** Every tenth one is a JWT; every third one is forged, in turns by its signature, its claims and its kind. */
function show(n: number): void {
  const agent = names[n % names.length] as string;
  const isForged = Math.floor(n / names.length) % 3 === 0;
  const good = n % 10 === 0 ? token(agent, n) : issue(agent);
  const secret = isForged ? forged(good, n) : good;
  const result = identifier.identify(policy, basic(agent, secret), from(null));
  if (isForged) assert.ok(isFailure(result) && result.reason === 'bad_credentials');
  else assert.ok(!isFailure(result) && result.agent.id === agent, 'nobody becomes another');
}

function forged(secret: string, n: number): string {
  const [version = '', claims = '', signature = ''] = secret.split('.');
  switch (n % 3) {
    case 0:
      return `${version}.${claims}.${'A'.repeat(signature.length)}`;
    case 1:
      return `${version}.${claims.slice(4)}.${signature}`;
    default:
      return claims;
  }
}

test(`${total} distinct credentials, good and bad, leave nothing behind`, () => {
  for (let n = 0; n < settled; n++) show(n);
  const before = heap();
  for (let n = settled; n < total; n++) show(n);
  const grown = heap() - before;
  assert.ok(grown < slack, `the heap grew by ${(grown / 1e6).toFixed(1)} MB`);
});
