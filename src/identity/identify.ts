import { hash, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.ts';
import type { Ip } from '../core/ip.ts';
import type { Agent, Policy } from '../policy/policy.ts';
import type { CredentialKeys } from './credential-keys.ts';
import type { Identifier, Identity, IdentityFailure, IdentityFailureReason } from './identity.ts';
import { isFailure } from './identity.ts';
import { issuedPrefix, verifyCredential } from './issued-credential.ts';
import { type PresentedCredential, parseProxyAuthorization } from './proxy-authorization.ts';
import { agentBySource, sourceAllowed } from './source-address.ts';

export interface AgentIdentifierOptions {
  /** Null: no issued credential is accepted. */
  readonly keys: CredentialKeys | null;
  readonly clock: Clock;
  /** Credentials that are remembered as verified; default 10,000. */
  readonly cacheSize?: number;
}

/** Digits of a static token's digest that name it in the log. */
const TOKEN_ID_DIGITS = 12;

/** Compared against when there is nothing else to compare with; no text is known to have this digest. */
const dummyDigest = '0'.repeat(64);

/**
 * The proxy's `Identifier`: issued credentials, static tokens, source addresses.
 *
 * Credentials that were verified are remembered by the SHA-256 of the whole header, so that neither
 * a secret nor anything that could be replayed stays in memory. Only successes are remembered, only
 * under the policy that they were verified with; expiry and source address count on every hit.
 */
export class AgentIdentifier implements Identifier {
  readonly #keys: CredentialKeys | null;
  readonly #clock: Clock;
  readonly #verified: LRUCache<string, Identity>;
  /** The policy to which `#verified` belongs. */
  #policy: Policy | null = null;

  constructor(options: AgentIdentifierOptions) {
    this.#keys = options.keys;
    this.#clock = options.clock;
    this.#verified = new LRUCache({ max: options.cacheSize ?? 10_000 });
  }

  identify(
    policy: Policy,
    header: string | undefined,
    source: Ip | null,
  ): Identity | IdentityFailure {
    if (header === undefined) return identifyBySource(policy, source);
    if (policy !== this.#policy) {
      this.#verified.clear();
      this.#policy = policy;
    }
    const key = hash('sha256', header, 'base64');
    const known = this.#verified.get(key);
    const identity = known ?? this.#verify(policy, header);
    if (isFailure(identity)) return identity;
    if (this.#clock.now() >= identity.expiresAt) {
      this.#verified.delete(key);
      return failure('credential_expired', identity.agent, identity.token);
    }
    if (known === undefined) this.#verified.set(key, identity);
    return sourceAllowed(identity.agent, source)
      ? identity
      : failure('source_not_allowed', identity.agent, identity.token);
  }

  recheck(
    policy: Policy,
    identity: Identity,
    source: Ip | null,
  ): IdentityFailureReason | 'policy_changed' | null {
    const agent = policy.agents.get(identity.agent.id);
    if (agent === undefined) return 'policy_changed';
    if (this.#clock.now() >= identity.expiresAt) return 'credential_expired';
    if (!stillAccepted(policy, agent, identity, source)) return 'policy_changed';
    return sourceAllowed(agent, source) ? null : 'source_not_allowed';
  }

  /** Proves a header from scratch; the result may have expired, and the source is not looked at. */
  #verify(policy: Policy, header: string): Identity | IdentityFailure {
    const presented = parseProxyAuthorization(header);
    if (presented === null) return failure('bad_credentials', undefined, undefined);
    return presented.secret.startsWith(issuedPrefix)
      ? this.#verifyIssued(policy, presented)
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
    return {
      agent,
      kind: 'issued',
      token: claims.id,
      expiresAt: claims.expiresAt * 1000,
      task: claims.task,
      requestedBy: claims.requestedBy,
      only: claims.only,
    };
  }
}

function identifyBySource(policy: Policy, source: Ip | null): Identity | IdentityFailure {
  const agent = agentBySource(policy.sourceAgents, source);
  if (agent === undefined) return failure('no_credentials', undefined, undefined);
  return identityOf(agent, 'source', undefined);
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

function stillAccepted(
  policy: Policy,
  agent: Agent,
  identity: Identity,
  source: Ip | null,
): boolean {
  const { token } = identity;
  switch (identity.kind) {
    case 'issued':
      return agent.credentials.issued;
    case 'static':
      return agent.credentials.tokens.some(
        (digest) => token === `sha256:${digest.slice(0, TOKEN_ID_DIGITS)}`,
      );
    case 'source':
      return agentBySource(policy.sourceAgents, source) === agent;
  }
}

function identityOf(agent: Agent, kind: 'static' | 'source', token: string | undefined): Identity {
  return {
    agent,
    kind,
    token,
    expiresAt: Number.POSITIVE_INFINITY,
    task: undefined,
    requestedBy: undefined,
    only: undefined,
  };
}

function failure(
  reason: IdentityFailureReason,
  agent: Agent | undefined,
  token: string | undefined,
): IdentityFailure {
  return { reason, agent, token };
}
