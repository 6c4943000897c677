import { hash, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.ts';
import type { Ip } from '../core/ip.ts';
import type { CredentialScope, ScopePart } from '../policy/credential-scope.ts';
import type { HostPattern } from '../policy/pattern.ts';
import type { Agent, Policy } from '../policy/policy.ts';
import { issuedMs, type Narrowing } from './credential-claims.ts';
import type { CredentialKeys } from './credential-keys.ts';
import type {
  ClientCertificate,
  Evidence,
  Identifier,
  Identity,
  IdentityFailure,
  IdentityFailureReason,
  ListenerBinding,
} from './identity.ts';
import { isFailure } from './identity.ts';
import { issuedPrefix, type ReadCredential, verifyCredential } from './issued-credential.ts';
import { type PresentedCredential, parseProxyAuthorization } from './proxy-authorization.ts';
import { nothingRevoked, type Revocations } from './revocations.ts';
import { looksSigned } from './signed-token.ts';
import { agentBySource, sourceAllowed } from './source-address.ts';
import type { WorkloadKeys } from './workload-keys.ts';
import { type WorkloadProblem, WorkloadTokens } from './workload-token.ts';

const noKeys: WorkloadKeys = { find: () => null, has: () => false };

export interface AgentIdentifierOptions {
  /** Null: no issued credential is accepted. */
  readonly keys: CredentialKeys | null;
  readonly clock: Clock;
  /** Keys of other issuers; left out, no token of theirs is accepted. */
  readonly workloadKeys?: WorkloadKeys;
  /** Hears of tokens that name a known issuer and are refused. */
  readonly workloadRefused?: (issuer: string, problem: WorkloadProblem) => void;
  /** Reads a host pattern, null if it is none. Without it no credential narrowed to hosts is accepted. */
  readonly patternOf?: (text: string) => HostPattern | null;
  /** Credentials that are remembered as verified; default 10,000. */
  readonly cacheSize?: number;
}

/** Digits of a static token's digest that name it in the log. */
const TOKEN_ID_DIGITS = 12;

/** Compared against when there is nothing else to compare with; no text is known to have this digest. */
const dummyDigest = '0'.repeat(64);

/**
 * The proxy's `Identifier`: issued credentials, tokens of other issuers, static tokens, certificates,
 * listeners, source addresses. All that is shown must be good and name one agent: nothing wrong is
 * passed over.
 *
 * Credentials that were verified are remembered by the SHA-256 of the whole header, so that neither
 * a secret nor anything that could be replayed stays in memory. Only successes are remembered, only
 * under the policy that they were verified with; expiry, source address and revocations count on
 * every hit.
 */
export class AgentIdentifier implements Identifier {
  #keys: CredentialKeys | null;
  readonly #patternOf: (text: string) => HostPattern | null;
  readonly #clock: Clock;
  readonly #workloads: WorkloadTokens;
  readonly #verified: LRUCache<string, Identity>;
  /** The policy to which `#verified` belongs. */
  #policy: Policy | null = null;
  #revocations: Revocations = nothingRevoked;

  constructor(options: AgentIdentifierOptions) {
    this.#keys = options.keys;
    this.#patternOf = options.patternOf ?? (() => null);
    this.#clock = options.clock;
    this.#workloads = new WorkloadTokens({
      keys: options.workloadKeys ?? noKeys,
      clock: options.clock,
      refused: options.workloadRefused ?? (() => {}),
    });
    this.#verified = new LRUCache({ max: options.cacheSize ?? 10_000 });
  }

  /** Other keys from now on. What the old ones proved is asked again; `recheck` ends what they left. */
  useKeys(keys: CredentialKeys): void {
    this.#keys = keys;
    this.#verified.clear();
  }

  /** Puts these revocations in force, for what comes and for every `recheck`. */
  revoke(revocations: Revocations): void {
    this.#revocations = revocations;
  }

  identify(
    policy: Policy,
    header: string | undefined,
    evidence: Evidence,
  ): Identity | IdentityFailure {
    const presented = header === undefined ? null : this.#byHeader(policy, header);
    if (presented !== null && isFailure(presented)) return presented;
    const identity = this.#withConnection(policy, presented, evidence);
    if (isFailure(identity)) return identity;
    if (!sourceAllowed(identity.agent, evidence.source)) {
      return failure('source_not_allowed', identity.agent, identity.token);
    }
    const ended = this.#revocations.find(identity, evidence);
    return ended === null ? identity : failure(ended, identity.agent, identity.token);
  }

  recheck(
    policy: Policy,
    identity: Identity,
    evidence: Evidence,
  ): IdentityFailureReason | 'policy_changed' | null {
    const agent = policy.agents.get(identity.agent.id);
    if (agent === undefined) return 'policy_changed';
    const ended = this.#revocations.find(identity, evidence);
    if (ended !== null) return ended;
    if (this.#clock.now() >= identity.expiresAt) return 'credential_expired';
    if (!stillAccepted(policy, agent, identity, evidence)) return 'policy_changed';
    const { workload } = identity;
    const changed = workload && this.#workloads.recheck(policy, agent, workload);
    if (changed != null) return changed;
    if (evidence.certificate?.isListed() === true) return 'credential_revoked';
    const lost = this.#lostKey(identity);
    if (lost !== null) return lost;
    return sourceAllowed(agent, evidence.source) ? null : 'source_not_allowed';
  }

  /** Is the key that signed the proof gone, or has it got an end since? */
  #lostKey({ key: id }: Identity): IdentityFailureReason | null {
    if (id === undefined) return null;
    const key = this.#keys?.find(id);
    if (key === undefined) return 'credential_revoked';
    return this.#clock.now() >= key.until ? 'credential_expired' : null;
  }

  #byHeader(policy: Policy, header: string): Identity | IdentityFailure {
    if (policy !== this.#policy) {
      this.#verified.clear();
      this.#policy = policy;
    }
    const key = hash('sha256', header, 'base64');
    const known = this.#remembered(key);
    const identity = known ?? this.#verify(policy, header);
    if (isFailure(identity)) return identity;
    if (this.#clock.now() >= identity.expiresAt) {
      this.#verified.delete(key);
      return failure('credential_expired', identity.agent, identity.token);
    }
    if (known === undefined) this.#verified.set(key, identity);
    return identity;
  }

  /** A token counts no longer than the key that signed it. */
  #remembered(key: string): Identity | undefined {
    const identity = this.#verified.get(key);
    const { workload } = identity ?? {};
    if (workload === undefined || this.#workloads.isKeyed(workload)) return identity;
    this.#verified.delete(key);
    return undefined;
  }

  /**
   * Adds what the connection itself proves. A source address is weak and widely shared: it
   * identifies only who shows nothing else.
   */
  #withConnection(
    policy: Policy,
    presented: Identity | null,
    evidence: Evidence,
  ): Identity | IdentityFailure {
    const { certificate, listener } = evidence;
    let identity: Identity | IdentityFailure | null = presented;
    if (certificate !== null) {
      identity = joined(identity, identifyByCertificate(policy, certificate, this.#clock.now()));
    }
    if (listener !== null) identity = joined(identity, identifyByListener(policy, listener));
    identity ??= identifyBySource(policy, evidence.source);
    return identity ?? failure('no_credentials', undefined, undefined);
  }

  /** Proves a header from scratch; the result may have expired, and the source is not looked at. */
  #verify(policy: Policy, header: string): Identity | IdentityFailure {
    const presented = parseProxyAuthorization(header);
    if (presented === null) return failure('bad_credentials', undefined, undefined);
    const { secret } = presented;
    if (secret.startsWith(issuedPrefix)) return this.#verifyIssued(policy, presented);
    return policy.issuers.size > 0 && looksSigned(secret)
      ? this.#workloads.verify(policy, presented)
      : verifyStatic(policy, presented);
  }

  #verifyIssued(policy: Policy, presented: PresentedCredential): Identity | IdentityFailure {
    const { agentId, secret } = presented;
    const claimed = agentId === null ? undefined : policy.agents.get(agentId);
    const verified = this.#keys && verifyCredential(this.#keys, secret, this.#clock.now());
    if (verified === null) return failure('bad_credentials', claimed, undefined);
    const { claims } = verified;
    const agent = policy.agents.get(claims.agent);
    const disagrees = agentId !== null && agentId !== claims.agent;
    if (agent === undefined || disagrees || !agent.credentials.issued) {
      return failure('bad_credentials', agentId === null ? agent : claimed, claims.id);
    }
    const scope = this.#scopeOf(verified);
    if (scope === null) return failure('bad_credentials', agent, claims.id);
    return {
      agent,
      kind: 'issued',
      token: claims.id,
      issuedAt: issuedMs(claims),
      expiresAt: verified.expiresAt,
      task: claims.task,
      requestedBy: claims.requestedBy,
      scope,
      key: verified.key,
    };
  }

  /** Undefined if it is not narrowed; null if a host pattern is none, or not in its one spelling. */
  #scopeOf({ claims, narrowings }: ReadCredential): CredentialScope | undefined | null {
    const scope: ScopePart[] = [];
    const steps: readonly Pick<Narrowing, 'only' | 'hosts'>[] = [claims, ...narrowings];
    for (const { only, hosts } of steps) {
      if (only === undefined && hosts === undefined) continue;
      const patterns = (hosts ?? []).map((text) => {
        const pattern = this.#patternOf(text);
        return pattern?.text === text ? pattern : null;
      });
      if (patterns.includes(null)) return null;
      scope.push({ groups: only ?? [], hosts: patterns.filter((pattern) => pattern !== null) });
    }
    return scope.length === 0 ? undefined : scope;
  }
}

/**
 * One identity of two that were proven: who shows a credential and a certificate, say, must be the
 * same agent by both. The credential then names it in the log and narrows it; the earlier end counts.
 */
function joined(
  presented: Identity | IdentityFailure | null,
  shown: Identity | IdentityFailure,
): Identity | IdentityFailure {
  if (presented === null || isFailure(shown)) return shown;
  if (isFailure(presented)) return presented;
  if (shown.agent !== presented.agent) {
    return failure('bad_credentials', presented.agent, presented.token);
  }
  const expiresAt = Math.min(presented.expiresAt, shown.expiresAt);
  return expiresAt === presented.expiresAt ? presented : { ...presented, expiresAt };
}

function identifyBySource(policy: Policy, source: Ip | null): Identity | null {
  const agent = agentBySource(policy.sourceAgents, source);
  return agent === undefined ? null : identityOf(agent, 'source', undefined);
}

/** The one agent that names this certificate by its SPIFFE id or, without one, by its subject. */
export function identifyByCertificate(
  policy: Policy,
  certificate: ClientCertificate,
  now: number,
): Identity | IdentityFailure {
  const token = `cert:${certificate.serial}`;
  const agent = agentByCertificate(policy, certificate);
  if (agent === undefined) return failure('bad_credentials', undefined, token);
  if (now >= certificate.expiresAt) return failure('credential_expired', agent, token);
  if (certificate.isListed()) return failure('credential_revoked', agent, token);
  const { issuedAt, expiresAt } = certificate;
  return { ...identityOf(agent, 'certificate', token), issuedAt, expiresAt };
}

/**
 * With a SPIFFE id that is its name: a subject that an agent lists must then be the same agent's, and
 * cannot stand in for an id that none lists. Whoever issues such ids writes subjects that say little
 * (`C=US,O=SPIRE` in all of them).
 */
function agentByCertificate(policy: Policy, certificate: ClientCertificate): Agent | undefined {
  const { spiffe, subject } = certificate;
  const bySubject = subject === null ? undefined : policy.certificates.get(subject);
  if (spiffe === null) return bySubject;
  const bySpiffe = policy.certificates.get(spiffe);
  return bySubject === undefined || bySubject === bySpiffe ? bySpiffe : undefined;
}

function identifyByListener(policy: Policy, listener: ListenerBinding): Identity | IdentityFailure {
  const agent = policy.agents.get(listener.agent);
  return agent === undefined
    ? failure('bad_credentials', undefined, listener.token)
    : identityOf(agent, 'listener', listener.token);
}

/** The agent whose token this is, by its claim or, for Bearer, by the token's digest. */
function verifyStatic(policy: Policy, presented: PresentedCredential): Identity | IdentityFailure {
  const digest = hash('sha256', presented.secret);
  const { agentId } = presented;
  const agent = agentId === null ? policy.tokens.get(digest) : policy.agents.get(agentId);
  if (!hasToken(agent?.credentials.tokens ?? [], digest) || agent === undefined) {
    return failure('bad_credentials', agent, undefined);
  }
  return identityOf(agent, 'static', `sha256:${digest.slice(0, TOKEN_ID_DIGITS)}`);
}

/** Looks at all of them, and at one if there is none, whatever it finds. */
function hasToken(tokens: readonly string[], digest: string): boolean {
  const wanted = Buffer.from(digest, 'latin1');
  let found = false;
  for (const token of tokens.length === 0 ? [dummyDigest] : tokens) {
    // `found` stands behind, so that the comparison is always made.
    found = timingSafeEqual(Buffer.from(token, 'latin1'), wanted) || found;
  }
  return found && tokens.length > 0;
}

/** Does the agent of this policy still take the proof, and the certificate that may stand beside it? */
function stillAccepted(
  policy: Policy,
  agent: Agent,
  identity: Identity,
  evidence: Evidence,
): boolean {
  const { certificate, listener } = evidence;
  if (certificate !== null && agentByCertificate(policy, certificate) !== agent) return false;
  if (listener !== null && listener.agent !== agent.id) return false;
  const { token } = identity;
  switch (identity.kind) {
    case 'issued':
      return agent.credentials.issued;
    case 'static':
      return agent.credentials.tokens.some(
        (digest) => token === `sha256:${digest.slice(0, TOKEN_ID_DIGITS)}`,
      );
    case 'workload':
      return true;
    case 'certificate':
      return certificate !== null;
    case 'listener':
      return listener !== null;
    case 'source':
      return agentBySource(policy.sourceAgents, evidence.source) === agent;
  }
}

function identityOf(
  agent: Agent,
  kind: Exclude<Identity['kind'], 'issued' | 'workload'>,
  token: string | undefined,
): Identity {
  return {
    agent,
    kind,
    token,
    issuedAt: undefined,
    expiresAt: Number.POSITIVE_INFINITY,
    task: undefined,
    requestedBy: undefined,
    scope: undefined,
    key: undefined,
  };
}

function failure(
  reason: IdentityFailureReason,
  agent: Agent | undefined,
  token: string | undefined,
): IdentityFailure {
  return { reason, agent, token };
}
