import { hash } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { type JsonObject, parseStrictObject } from '../core/strict-json.ts';
import type { Issuer, WorkloadAlgorithm, WorkloadRule } from '../policy/issuer.ts';
import type { Agent, Policy } from '../policy/policy.ts';
import { claimFits } from './claim-pattern.ts';
import { textProblem } from './credential-claims.ts';
import type { Identity, IdentityFailure, WorkloadProof } from './identity.ts';
import type { WorkloadKey } from './key-set.ts';
import type { PresentedCredential } from './proxy-authorization.ts';
import { isSignedBy } from './signature.ts';
import { CLAIMS_DEPTH, parseSignedToken, type SignedToken } from './signed-token.ts';
import type { WorkloadKeys } from './workload-keys.ts';

/** Seconds by which the clocks of issuers may be ahead. Nothing is added to the end of a token. */
const CLOCK_SKEW = 60;
/** The year 9999, in seconds: beyond it no time is meant. */
const LATEST = 253_402_300_799;

/** Digits of a token's digest that name it where it has no fit `jti`. */
const ID_DIGITS = 12;

const shortId = /^[A-Za-z0-9._~:@+=-]{1,64}$/u;
/** SPIFFE-ID §2: the trust domain, and a path. */
const spiffeId = /^spiffe:\/\/([a-z0-9._-]{1,255})\/[A-Za-z0-9._/-]+$/u;

/** Why a token of a known issuer is refused, for the operators of the proxy: clients never hear of it. */
export const workloadProblems = {
  algorithm: 'its algorithm is not among those that the issuer may use',
  key: 'no key of the issuer fits its kid and algorithm',
  signature: 'its signature is not that of the key',
  audience: 'its aud names none of the audiences that are accepted',
  subject: 'its sub is not a SPIFFE id of the trust domain',
  times: 'its exp is missing, or one of its times is not a number of seconds',
  early: 'its nbf or iat is in the future',
  long: 'it lives longer than max-age, or has no iat to tell',
  claims: 'no agent, or more than one, has claims that fit it',
} as const;

export type WorkloadProblem = keyof typeof workloadProblems;

export interface WorkloadTokensOptions {
  readonly keys: WorkloadKeys;
  readonly clock: Clock;
  /** Hears of tokens that name a known issuer and are refused. */
  readonly refused?: (issuer: string, problem: WorkloadProblem) => void;
}

interface Candidate {
  readonly agent: Agent;
  readonly rule: WorkloadRule;
}

/** Rules of all agents for one issuer: hundreds may ask for a `sub` each, of which one at most can fit. */
interface Candidates {
  readonly bySubject: Map<string, Candidate[]>;
  readonly others: Candidate[];
}

/** Proves who shows a JWT (RFC 7519) of an issuer that the policy names; see RFC 8725 for the traps. */
export class WorkloadTokens {
  readonly #keys: WorkloadKeys;
  readonly #clock: Clock;
  readonly #refused: (issuer: string, problem: WorkloadProblem) => void;
  /** By issuer; of `#policy`. */
  #candidates = new Map<string, Candidates>();
  #policy: Policy | null = null;

  constructor(options: WorkloadTokensOptions) {
    this.#keys = options.keys;
    this.#clock = options.clock;
    this.#refused = options.refused ?? (() => {});
  }

  /** The identity may have expired: that is for the caller to see. */
  verify(policy: Policy, presented: PresentedCredential): Identity | IdentityFailure {
    const { agentId, secret } = presented;
    const claimed = agentId === null ? undefined : policy.agents.get(agentId);
    const token = parseSignedToken(secret);
    const issuer = token && issuerOf(policy, token.claims);
    if (token === null || issuer == null) return refusal(claimed, undefined);
    const signed = this.#signedBy(issuer, token);
    if (typeof signed === 'string') {
      this.#refused(issuer.name, signed);
      return refusal(claimed, undefined);
    }
    const id = tokenId(token.claims, secret);
    const candidate = this.#candidateFor(policy, issuer, token.claims, agentId);
    const problem =
      problemOf(issuer, token.claims, this.#clock.now()) ?? (candidate === null ? 'claims' : null);
    if (problem !== null || candidate === null) {
      this.#refused(issuer.name, problem ?? 'claims');
      return refusal(claimed ?? candidate?.agent, id);
    }
    return identityOf(candidate, id, token.claims, {
      issuer: issuer.name,
      keyId: signed.key.id,
      algorithm: signed.algorithm,
      claims: token.payload,
    });
  }

  /** Is the key that signed it still the issuer's? */
  isKeyed(proof: WorkloadProof): boolean {
    return this.#keys.has(proof.issuer, proof.keyId);
  }

  /** Would the token be the agent under this policy too? Null = yes. Its end is not asked for. */
  recheck(
    policy: Policy,
    agent: Agent,
    proof: WorkloadProof,
  ): 'policy_changed' | 'credential_revoked' | null {
    const claims = parseStrictObject(Buffer.from(proof.claims), CLAIMS_DEPTH);
    const issuer = claims && issuerOf(policy, claims);
    if (claims === null || issuer?.name !== proof.issuer) return 'policy_changed';
    if (!issuer.algorithms.includes(proof.algorithm)) return 'policy_changed';
    const rule = ruleFor(agent, issuer, claims);
    if (rule === undefined || problemOf(issuer, claims, this.#clock.now()) !== null) {
      return 'policy_changed';
    }
    return this.isKeyed(proof) ? null : 'credential_revoked';
  }

  /** The key that signed the token, or why there is none. */
  #signedBy(
    issuer: Issuer,
    token: SignedToken,
  ): { key: WorkloadKey; algorithm: WorkloadAlgorithm } | WorkloadProblem {
    const algorithm = issuer.algorithms.find((one) => one === token.algorithm);
    if (algorithm === undefined) return 'algorithm';
    const key = this.#keys.find(issuer.name, token.kid, algorithm);
    if (key === null) return 'key';
    const isGenuine = isSignedBy(algorithm, key.key, token.signed, token.signature);
    return isGenuine ? { key, algorithm } : 'signature';
  }

  /** The agent that was named, if the claims fit it; if none was, the only one that they fit. */
  #candidateFor(
    policy: Policy,
    issuer: Issuer,
    claims: JsonObject,
    agentId: string | null,
  ): Candidate | null {
    if (agentId !== null) {
      const agent = policy.agents.get(agentId);
      const rule = agent && ruleFor(agent, issuer, claims);
      return agent === undefined || rule === undefined ? null : { agent, rule };
    }
    const { sub } = claims as { sub?: string };
    const { bySubject, others } = this.#candidatesOf(policy, issuer);
    const likely = [...(bySubject.get(sub ?? '') ?? []), ...others];
    const fitting = likely.filter(({ rule }) => fits(rule, claims));
    const [first] = fitting;
    return first !== undefined && fitting.every(({ agent }) => agent === first.agent)
      ? first
      : null;
  }

  #candidatesOf(policy: Policy, issuer: Issuer): Candidates {
    if (policy !== this.#policy) {
      this.#policy = policy;
      this.#candidates = candidatesOf(policy);
    }
    return this.#candidates.get(issuer.name) ?? noCandidates;
  }
}

const noCandidates: Candidates = { bySubject: new Map(), others: [] };

function candidatesOf(policy: Policy): Map<string, Candidates> {
  const byIssuer = new Map<string, Candidates>();
  for (const agent of policy.agents.values()) {
    for (const rule of agent.credentials.workloads) {
      const candidates = byIssuer.get(rule.issuer) ?? { bySubject: new Map(), others: [] };
      byIssuer.set(rule.issuer, candidates);
      listFor(candidates, rule).push({ agent, rule });
    }
  }
  return byIssuer;
}

function listFor({ bySubject, others }: Candidates, rule: WorkloadRule): Candidate[] {
  const subject = rule.claims.find(({ name }) => name === 'sub')?.pattern;
  if (subject === undefined || subject.includes('*')) return others;
  const list = bySubject.get(subject) ?? [];
  bySubject.set(subject, list);
  return list;
}

function ruleFor(agent: Agent, issuer: Issuer, claims: JsonObject): WorkloadRule | undefined {
  return agent.credentials.workloads.find(
    (rule) => rule.issuer === issuer.name && fits(rule, claims),
  );
}

function fits(rule: WorkloadRule, claims: JsonObject): boolean {
  return rule.claims.every(({ name, pattern }) => claimFits(pattern, claims[name]));
}

/**
 * The issuer that a token claims to be of: by its exact `iss`, else by the trust domain of its `sub`
 * (JWT-SVID §3: `iss` is not needed there, and need not be known).
 */
function issuerOf(policy: Policy, claims: JsonObject): Issuer | null {
  const { iss } = claims;
  const domain = trustDomainOf(claims);
  let byDomain: Issuer | null = null;
  for (const issuer of policy.issuers.values()) {
    if (issuer.issuer !== undefined && issuer.issuer === iss) return issuer;
    if (issuer.issuer === undefined && issuer.trustDomain === domain) byDomain = issuer;
  }
  return byDomain;
}

function trustDomainOf({ sub }: JsonObject): string | null {
  return typeof sub === 'string' ? (spiffeId.exec(sub)?.[1] ?? null) : null;
}

/** What is wrong with the claims of a genuine token, its end in the past aside. */
function problemOf(issuer: Issuer, claims: JsonObject, nowMs: number): WorkloadProblem | null {
  const { exp, nbf, iat, aud } = claims;
  if (!isTime(exp) || !isOptionalTime(nbf) || !isOptionalTime(iat)) return 'times';
  if (!names(issuer.audience, aud)) return 'audience';
  if (issuer.trustDomain !== undefined && trustDomainOf(claims) !== issuer.trustDomain) {
    return 'subject';
  }
  if (Math.max(nbf ?? 0, iat ?? 0) * 1000 > nowMs + CLOCK_SKEW * 1000) return 'early';
  if (issuer.maxAge === undefined) return null;
  return iat !== undefined && (exp - iat) * 1000 <= issuer.maxAge ? null : 'long';
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= LATEST;
}

function isOptionalTime(value: unknown): value is number | undefined {
  return value === undefined || isTime(value);
}

/** RFC 7519 §4.1.3: one text, or a list of nothing but texts; whole and byte for byte. */
function names(accepted: readonly string[], audience: unknown): boolean {
  const named = Array.isArray(audience) ? audience : [audience];
  return (
    named.every((one) => typeof one === 'string') && named.some((one) => accepted.includes(one))
  );
}

function tokenId({ jti }: JsonObject, token: string): string {
  const id = typeof jti === 'string' && shortId.test(jti) ? jti : null;
  return `jwt:${id ?? hash('sha256', token).slice(0, ID_DIGITS)}`;
}

function identityOf(
  { agent, rule }: Candidate,
  token: string,
  claims: JsonObject,
  workload: WorkloadProof,
): Identity {
  const { exp, iat, nbf = 0 } = claims as { exp: number; iat?: number; nbf?: number };
  return {
    agent,
    kind: 'workload',
    token,
    // Who does not say when it was made gets no advantage over `revoke AGENT`.
    issuedAt: (iat ?? nbf) * 1000,
    expiresAt: exp * 1000,
    task: loggable(claims, rule.task, 'task'),
    requestedBy: loggable(claims, rule.requestedBy, 'requester'),
    scope: undefined,
    key: undefined,
    workload,
  };
}

/** Text of a claim within the bounds of issued credentials; anything else is left out. */
function loggable(
  claims: JsonObject,
  name: string | undefined,
  what: 'task' | 'requester',
): string | undefined {
  const value = name === undefined ? undefined : claims[name];
  return typeof value === 'string' && textProblem(what, value) === null ? value : undefined;
}

function refusal(agent: Agent | undefined, token: string | undefined): IdentityFailure {
  return { reason: 'bad_credentials', agent, token };
}
