import type { Ip } from '../core/ip.ts';
import type { Agent, Policy } from '../policy/policy.ts';

/** Who a connection or request is, proven. */
export interface Identity {
  readonly agent: Agent;
  readonly kind: 'static' | 'issued' | 'source';
  /** Credential id for the log (`token`): the issued id, or `sha256:` and 12 digits of a static digest. Never the secret. */
  readonly token: string | undefined;
  /** Ms since the epoch at which this identity ends; Infinity if it does not. */
  readonly expiresAt: number;
  readonly task: string | undefined;
  readonly requestedBy: string | undefined;
  /** Names of the groups to which the credential is narrowed; undefined = all that the agent has. */
  readonly only: readonly string[] | undefined;
}

export type IdentityFailureReason =
  | 'no_credentials'
  | 'bad_credentials'
  | 'source_not_allowed'
  | 'credential_expired'
  | 'credential_revoked'
  | 'agent_quarantined';

/** Why there is no identity. The client never sees more than the one 407; the log gets all of it. */
export interface IdentityFailure {
  readonly reason: IdentityFailureReason;
  /** Agent id that was claimed, only if such an agent exists: for the log. */
  readonly agent: Agent | undefined;
  /** Credential id if the credential was genuine (expired, wrong source …). */
  readonly token: string | undefined;
}

/**
 * Turns what a client presents into an agent, or says why not. Pure apart from its own bounded
 * cache; never throws on any input; every way to fail costs about the same.
 */
export interface Identifier {
  /** `header`: the single Proxy-Authorization value, or undefined. Two such headers are refused before this. */
  identify(
    policy: Policy,
    header: string | undefined,
    source: Ip | null,
  ): Identity | IdentityFailure;
  /** Does an identity proven under an older policy still stand under this one? Null = yes. */
  recheck(
    policy: Policy,
    identity: Identity,
    source: Ip | null,
  ): IdentityFailureReason | 'policy_changed' | null;
}

export function isFailure(result: Identity | IdentityFailure): result is IdentityFailure {
  return 'reason' in result;
}
