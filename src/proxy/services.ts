import type { Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import type { Identifier } from '../identity/identity.ts';
import type { EgressLog } from '../observe/egress-log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { AddressGuard } from '../policy/address-guard.ts';
import type { Policy } from '../policy/policy.ts';
import type { SecureContexts } from '../tls/secure-contexts.ts';
import type { GuardedDialer } from '../upstream/guarded-dialer.ts';
import type { Answer, Resolver } from '../upstream/resolver.ts';
import type { SecretStore } from '../upstream/secret-store.ts';
import type { TlsClient } from '../upstream/tls-client.ts';
import type { AgentLimiter } from './agent-limiter.ts';
import type { Client } from './client-connection.ts';
import type { FailureLimiter } from './failure-limiter.ts';
import type { Tunnel } from './tunnel.ts';

/** Everything a connection needs from the process, built once by `server/compose`. */
export interface Services {
  readonly clock: Clock;
  /** The policy in force now; an exchange keeps the one it was judged by until it is re-judged. */
  policy(): Policy;
  readonly identifier: Identifier;
  readonly guard: AddressGuard;
  readonly resolver: CachingResolver;
  readonly dialer: GuardedDialer;
  readonly log: EgressLog;
  readonly metrics: Metrics;
  readonly agents: AgentLimiter;
  readonly failures: FailureLimiter;
  readonly live: LiveRegistry;
  readonly http: HttpFront;
  /** As it is now. Null without an authority: what needs inspection then blocks. */
  readonly inspection: InspectionServices | null;
  /** What entries with `inject` add to requests. */
  readonly secrets: SecretStore;
  readonly limits: ConnectionLimits;
  /** True once the proxy has been told to stop: nothing new is accepted. */
  draining(): boolean;
  /** Hears why a client certificate proves nobody, as a phrase that follows "the certificate …". */
  certificateRefused(client: string, why: string): void;
}

/** What takes TLS apart and puts it together again. */
export interface InspectionServices {
  /** Stand in for hosts, towards clients. */
  readonly contexts: SecureContexts;
  /** Towards the hosts themselves. */
  readonly upstream: TlsClient;
  /** A client broke the handshake off: most likely it does not trust the authority. */
  distrusted(by: Distrust): void;
}

/** Who did not take our leaf, for which host, because of which entry. */
export interface Distrust {
  readonly agent: string;
  readonly host: string;
  /** `file:line` of the entry that demands inspection. */
  readonly entry: string;
  /** What the client's alert says, or `notPermitted`. */
  readonly why: string;
}

/** The authority may not sign for the host: there is no leaf that a client could take. */
export const notPermitted = 'NOT_PERMITTED';

/** A resolver that can answer from its cache without a promise. */
export interface CachingResolver extends Resolver {
  peek(name: string): Answer | null;
}

/** Milliseconds, all of them. */
export interface ConnectionLimits {
  readonly headTimeout: number;
  readonly helloTimeout: number;
  readonly idleTimeout: number;
  readonly connectTimeout: number;
}

/** Why a live connection is ended by us: the `end` and `reason` of its close line. */
export type CutReason =
  | 'policy_changed'
  | 'credential_expired'
  | 'credential_revoked'
  | 'entry_expired'
  | 'agent_quarantined'
  | 'source_not_allowed'
  | 'idle_timeout'
  | 'draining';

/**
 * Something that holds a socket open. The registry ticks each one a few times a second, so that
 * no connection needs a timer of its own, and re-judges each one after a reload.
 */
export interface Live {
  /** `mono` and `now` are the two clocks of `Clock`, read once for the whole sweep. */
  tick(mono: number, now: number): void;
  /** Judge again under this policy; cut what is no longer allowed. */
  rejudge(policy: Policy, now: number): void;
  cut(reason: CutReason): void;
  /** What /connections shows; null for what has no agent yet. */
  describe(now: number): LiveDescription | null;
}

export interface LiveDescription {
  readonly id: string;
  readonly agent: string;
  readonly kind: 'tunnel' | 'request';
  readonly host: string;
  readonly port: number;
  readonly entry: string | undefined;
  readonly client: string;
  readonly address: string | undefined;
  readonly token: string | undefined;
  readonly task: string | undefined;
  readonly bytes_up: number;
  readonly bytes_down: number;
  /** Seconds since it began. */
  readonly age: number;
}

export interface LiveRegistry {
  add(live: Live): void;
  delete(live: Live): void;
}

/** node:http behind our front: for plain requests to the listener and inside tunnels to `http` entries. */
export interface HttpFront {
  /** Serves HTTP to this client, beginning with the bytes already read; `tunnel` is null at the listener. */
  serve(socket: Socket, first: Buffer, from: Client, tunnel: Tunnel | null): void;
}
