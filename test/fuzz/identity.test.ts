/**
 * Proofs at random, alone and together, over time, against a naive model: who is identified, until
 * when, and that what is open ends exactly when a new request would be refused.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '../../src/core/ip.ts';
import { newId } from '../../src/core/ulid.ts';
import { credentialKey, credentialKeys } from '../../src/identity/credential-keys.ts';
import { AgentIdentifier } from '../../src/identity/identify.ts';
import { type Evidence, type Identity, isFailure } from '../../src/identity/identity.ts';
import { attenuateCredential, issueCredential } from '../../src/identity/issued-credential.ts';
import { type RevocationEntry, Revocations } from '../../src/identity/revocations.ts';
import { hostPattern } from '../../src/policy/pattern.ts';
import { basic, policyOf } from '../support/identity-policy.ts';

const start = Date.UTC(2026, 10, 22, 12);
const second = 1000;
const key = credentialKey(Buffer.alloc(32, 1));
const keys = credentialKeys([key], key);
const foreignKey = credentialKey(Buffer.alloc(32, 2));

const ids = ['a', 'b', 'c'] as const;
type AgentId = (typeof ids)[number];
const inside = '10.20.0.9';
const spiffe = (id: string) => `spiffe://example.com/${id}`;
const policy = policyOf({
  a: { tokens: ['token-of-a'], certificates: [spiffe('a'), 'CN=a'] },
  b: { tokens: ['token-of-b'], certificates: [spiffe('b')], sources: ['10.20.0.0/24'] },
  c: {
    tokens: ['token-of-c'],
    certificates: [spiffe('c')],
    sources: ['10.30.0.0/24'],
    sourcesAlone: true,
  },
});

/** One thing that is shown, and what is true of it. */
interface Proof {
  /** Null: it proves nobody. */
  readonly agent: AgentId | null;
  /** Ms since the epoch. */
  readonly until: number;
  /** What a revocation may name. */
  readonly name: string | null;
  readonly madeAt: number | null;
}

interface HeaderProof extends Proof {
  readonly header: string;
}

interface CertificateProof extends Proof {
  readonly serial: string;
  readonly spiffe: string | null;
  readonly subject: string | null;
}

const never = Number.POSITIVE_INFINITY;
const nobody = { agent: null, until: never, name: null, madeAt: null };

function issued(agent: AgentId, ttl: number, signer = key): { text: string; proof: Proof } {
  const id = newId(start);
  const claims = { task: undefined, requestedBy: undefined, only: undefined, hosts: undefined };
  const times = { issuedAt: start / second, expiresAt: start / second + ttl };
  const text = issueCredential(signer, { id, agent, ...times, ...claims });
  return { text, proof: { agent, until: start + ttl * second, name: id, madeAt: start } };
}

function headersOf(agent: AgentId): HeaderProof[] {
  const other = agent === 'a' ? 'b' : 'a';
  const token = `token-of-${agent}`;
  const fixed = { agent, until: never, name: null, madeAt: null };
  const long = issued(agent, 100);
  const short = issued(agent, 3);
  const narrowing = { expiresAt: start / second + 5, only: undefined, hosts: undefined };
  const narrow = attenuateCredential(long.text, narrowing);
  return [
    { header: basic(agent, token), ...fixed },
    { header: `Bearer ${token}`, ...fixed },
    { header: basic(agent, long.text), ...long.proof },
    { header: `Bearer ${long.text}`, ...long.proof },
    { header: basic(agent, short.text), ...short.proof },
    { header: `Bearer ${narrow}`, ...long.proof, until: start + 5 * second },
    { header: basic(other, token), ...nobody },
    { header: basic(other, long.text), ...nobody },
    { header: `Bearer ${issued(agent, 100, foreignKey).text}`, ...nobody },
    { header: `Bearer ${long.text}.e30`, ...nobody },
  ];
}

const headers: (HeaderProof | null)[] = [
  null,
  ...ids.flatMap(headersOf),
  { header: '', ...nobody },
  { header: 'Negotiate YII=', ...nobody },
  { header: basic('__proto__', 'constructor'), ...nobody },
];

let serials = 0;
function certificate(
  agent: AgentId | null,
  more: Partial<CertificateProof> = {},
): CertificateProof {
  const serial = `0${++serials}`.slice(-2);
  const name = agent === null ? spiffe('nobody') : spiffe(agent);
  const shown = { serial, spiffe: name, subject: null };
  return {
    agent,
    until: start + 50 * second,
    name: serial,
    madeAt: start - second,
    ...shown,
    ...more,
  };
}

const certificates: (CertificateProof | null)[] = [
  null,
  null,
  ...ids.map((agent) => certificate(agent)),
  certificate('a', { until: start + 4 * second }),
  certificate('a', { spiffe: null, subject: 'CN=a' }),
  certificate('a', { subject: 'CN=a' }),
  certificate(null),
  certificate(null, { spiffe: spiffe('b'), subject: 'CN=a' }),
  certificate(null, { spiffe: null }),
];

const sources = [null, '192.0.2.1', inside, '10.30.0.7'] as const;

type MadeUp = Omit<RevocationEntry, 'place' | 'by' | 'why'>;
const madeUp: readonly MadeUp[] = [
  ...headers.flatMap((proof) =>
    proof?.name == null ? [] : [{ kind: 'token' as const, id: proof.name, at: start }],
  ),
  ...certificates.flatMap((proof) =>
    proof === null ? [] : [{ kind: 'certificate' as const, id: proof.serial, at: start }],
  ),
  ...ids.flatMap((id) => [
    { kind: 'quarantine' as const, id, at: start },
    { kind: 'agent' as const, id, at: start - 2 * second },
    { kind: 'agent' as const, id, at: start - second },
    { kind: 'agent' as const, id, at: start },
  ]),
];

interface Shown {
  readonly header: HeaderProof | null;
  readonly certificate: CertificateProof | null;
  readonly listener: string | null;
  readonly source: (typeof sources)[number];
}

const shown: fc.Arbitrary<Shown> = fc.record({
  header: fc.constantFrom(...headers),
  certificate: fc.constantFrom(...certificates),
  listener: fc.constantFrom(null, null, null, ...ids, 'nobody'),
  source: fc.constantFrom(...sources),
});

type Step =
  | { readonly kind: 'show'; readonly shown: Shown }
  | { readonly kind: 'list'; readonly serials: readonly string[] }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'revoke'; readonly entries: readonly MadeUp[] };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('show' as const), shown }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.integer({ min: 0, max: 2500 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('revoke' as const),
      entries: fc.subarray([...madeUp], { maxLength: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('list' as const),
      serials: fc.subarray(certificates.flatMap((proof) => proof?.serial ?? [])),
    }),
  },
);

/** All that changes while connections are open. */
interface World {
  revoked: readonly MadeUp[];
  /** Serial numbers on the revocation list of the authority. */
  listed: readonly string[];
  now: number;
}

/** Who it is and until when, or null. */
function model(
  { header, certificate: cert, listener, source }: Shown,
  { revoked, listed, now }: World,
): { agent: AgentId; until: number } | null {
  const proofs: Proof[] = [header, cert].filter((proof) => proof !== null);
  if (listener !== null) {
    const agent = ids.find((id) => id === listener) ?? null;
    proofs.push({ agent, until: never, name: null, madeAt: null });
  }
  if (proofs.length === 0) {
    if (source !== '10.30.0.7') return null;
    proofs.push({ agent: 'c', until: never, name: null, madeAt: null });
  }
  const agent = proofs[0]?.agent ?? null;
  const until = Math.min(...proofs.map((proof) => proof.until));
  if (agent === null || proofs.some((proof) => proof.agent !== agent) || now >= until) return null;
  if (cert !== null && listed.includes(cert.serial)) return null;
  if (agent === 'b' && source !== inside) return null;
  if (agent === 'c' && source !== '10.30.0.7') return null;
  const isEnded = revoked.some(({ kind, id, at }) => {
    if (kind === 'quarantine') return id === agent;
    if (kind !== 'agent') return proofs.some(({ name }) => name === id);
    return id === agent && proofs.some(({ madeAt }) => madeAt !== null && madeAt <= (at ?? never));
  });
  return isEnded ? null : { agent, until };
}

function evidenceOf({ certificate: cert, listener, source }: Shown, world: World): Evidence {
  return {
    source: source === null ? null : parseIp(source),
    certificate:
      cert === null
        ? null
        : {
            serial: cert.serial,
            spiffe: cert.spiffe,
            subject: cert.subject,
            issuedAt: cert.madeAt ?? 0,
            expiresAt: cert.until,
            isListed: () => world.listed.includes(cert.serial),
          },
    listener: listener === null ? null : { agent: listener, token: `listener:${listener}` },
  };
}

test('proofs together are one agent or nobody, now and later', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const world: World = { revoked: [], listed: [], now: start };
      const clock = { now: () => world.now, monotonic: () => world.now };
      const identifier = new AgentIdentifier({ keys, clock, patternOf: hostPattern, cacheSize: 8 });
      const open: { shown: Shown; evidence: Evidence; identity: Identity }[] = [];
      for (const one of steps) {
        if (one.kind === 'wait') world.now += one.ms;
        else if (one.kind === 'list') world.listed = one.serials;
        else if (one.kind === 'revoke') {
          world.revoked = one.entries;
          const place = { by: undefined, why: undefined, place: 'revocations.yaml:1' };
          identifier.revoke(
            new Revocations(world.revoked.map((entry) => ({ ...entry, ...place }))),
          );
        } else {
          const evidence = evidenceOf(one.shown, world);
          const result = identifier.identify(policy, one.shown.header?.header, evidence);
          const expected = model(one.shown, world);
          assert.equal(isFailure(result) ? null : result.agent.id, expected?.agent ?? null);
          if (isFailure(result)) continue;
          assert.equal(result.expiresAt, expected?.until);
          open.push({ shown: one.shown, evidence, identity: result });
        }
        for (const live of open) {
          const stands = identifier.recheck(policy, live.identity, live.evidence) === null;
          assert.equal(stands, model(live.shown, world) !== null);
        }
      }
    }),
    { numRuns: 2000 },
  );
});
