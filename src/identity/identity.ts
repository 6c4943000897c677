import type { Ip } from '../core/ip.ts';
import type { CredentialScope } from '../policy/credential-scope.ts';
import type { WorkloadAlgorithm } from '../policy/issuer.ts';
import type { Agent, Policy } from '../policy/policy.ts';

/** Who a connection or request is, proven. */
export interface Identity {
  readonly agent: Agent;
  /** What proves it; where a credential and the connection both do, the credential. */
  readonly kind: 'static' | 'issued' | 'workload' | 'certificate' | 'listener' | 'source';
  /**
   * Id of the proof for the log (`token`), never the secret: of an issued credential its own, of a
   * static token `sha256:` and 12 digits of its digest, of a certificate `cert:` and its serial,
   * of another issuer's token `jwt:` and its `jti` or digits of its digest.
   */
  readonly token: string | undefined;
  /**
   * Ms since the epoch at which the proof was made, as far as it tells: `revoke AGENT` ends what was
   * made before. Undefined for what is not issued to anybody (static tokens, listeners, sources).
   */
  readonly issuedAt: number | undefined;
  /** Ms since the epoch at which this identity ends; Infinity if it does not. */
  readonly expiresAt: number;
  readonly task: string | undefined;
  readonly requestedBy: string | undefined;
  /** What the credential is narrowed to; undefined = all that the agent has. */
  readonly scope: CredentialScope | undefined;
  /** Id of our key that signed the proof; undefined if none did. */
  readonly key: string | undefined;
  /** Of a token of another issuer, what it takes to judge it again; else undefined. */
  readonly workload?: WorkloadProof | undefined;
}

/** What is kept of a JWT: never its signature, without which it cannot be replayed. */
export interface WorkloadProof {
  /** Name of the issuer. */
  readonly issuer: string;
  /** `WorkloadKey.id` of the key that signed it. */
  readonly keyId: string;
  readonly algorithm: WorkloadAlgorithm;
  /** Its claims as JSON text. */
  readonly claims: string;
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

/** What a client connection shows by itself, whatever its requests say; the same for its whole life. */
export interface Evidence {
  /** The client's address; null on a Unix socket, and for a client that is gone. */
  readonly source: Ip | null;
  /** The certificate that the client proved to hold on a TLS listener, its chain verified. */
  readonly certificate: ClientCertificate | null;
  /** The agent that the listener stands for; null if it stands for none. */
  readonly listener: ListenerBinding | null;
}

/** A listener that is an agent: whoever can connect to it acts as that agent, and nothing more is proven. */
export interface ListenerBinding {
  /** Id of the agent. */
  readonly agent: string;
  /** The listener's address, for the log: `listener:127.0.0.1:3131`. */
  readonly token: string;
}

/** What of a client certificate (RFC 5280) counts. */
export interface ClientCertificate {
  /** Lower-case hexadecimal digits, two for each byte. */
  readonly serial: string;
  /** Its one URI name if that is a SPIFFE id (X509-SVID §2), else null. */
  readonly spiffe: string | null;
  /** Its subject as `certificates` of an agent writes it, or null if it cannot be written so. */
  readonly subject: string | null;
  /** Ms since the epoch at which it was made. */
  readonly issuedAt: number;
  /** Ms since the epoch at which it ends. */
  readonly expiresAt: number;
  /** Is it on the listener's revocation list as that stands now? */
  isListed(): boolean;
}

/**
 * Turns what a client presents into an agent, or says why not. Pure apart from its own bounded
 * cache; never throws on any input. What a failure costs depends on the kind of proof that was
 * shown, a signature being dearer than a digest, and hardly on which agents there are.
 */
export interface Identifier {
  /** `header`: the single Proxy-Authorization value, or undefined. Two such headers are refused before this. */
  identify(
    policy: Policy,
    header: string | undefined,
    evidence: Evidence,
  ): Identity | IdentityFailure;
  /** Does an identity proven under an older policy still stand under this one? Null = yes. */
  recheck(
    policy: Policy,
    identity: Identity,
    evidence: Evidence,
  ): IdentityFailureReason | 'policy_changed' | null;
}

export function isFailure(result: Identity | IdentityFailure): result is IdentityFailure {
  return 'reason' in result;
}
