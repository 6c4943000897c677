import type { Cidr, Ip } from '../core/ip.ts';

/**
 * Algorithms (RFC 7518 §3.1, RFC 8037 §3.1) with which an issuer may sign, as its definition names
 * them. Symmetric ones are left out for good: with them, whoever can check a token can make one.
 */
export const workloadAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'EdDSA',
] as const;

export type WorkloadAlgorithm = (typeof workloadAlgorithms)[number];

/** Somebody else who says who a workload is, with JWTs that it signs: a CI service, Kubernetes, SPIRE. */
export interface Issuer {
  readonly name: string;
  /** The exact `iss`; undefined for an issuer that is known by its trust domain alone. */
  readonly issuer: string | undefined;
  /** The trust domain of the SPIFFE id in `sub` (JWT-SVID §3.1); undefined = `sub` may be anything. */
  readonly trustDomain: string | undefined;
  /** One of these must be in `aud`. */
  readonly audience: readonly string[];
  readonly keys: IssuerKeys;
  readonly algorithms: readonly WorkloadAlgorithm[];
  /** Otherwise refused ranges into which the host of the keys may resolve. */
  readonly addresses: readonly Cidr[];
  /** Longest `exp` - `iat`, milliseconds; undefined = any. */
  readonly maxAge: number | undefined;
  /** `file:line` of the definition. */
  readonly at: string;
}

/** Where the JWK Set (RFC 7517 §5) with an issuer's keys is. */
export type IssuerKeys =
  | {
      readonly kind: 'url';
      /** As written: what messages show, and what tells one place from another. */
      readonly text: string;
      readonly host: string;
      /** The address if the host is one. */
      readonly ip: Ip | null;
      readonly port: number;
      /** With the query. */
      readonly path: string;
    }
  /** `text`: absolute, or relative to the allowlists directory. */
  | { readonly kind: 'file'; readonly text: string };

/** Which tokens of an issuer are an agent: those whose claims all fit. */
export interface WorkloadRule {
  /** Name of the issuer. */
  readonly issuer: string;
  /** At least one. */
  readonly claims: readonly ClaimRule[];
  /** The claim whose value the log has as `task`. */
  readonly task: string | undefined;
  /** The claim whose value the log has as `requested_by`. */
  readonly requestedBy: string | undefined;
}

export interface ClaimRule {
  readonly name: string;
  /** Text with `*` for any run of characters but `:` and `/`, and `**` for any run at all. */
  readonly pattern: string;
}
