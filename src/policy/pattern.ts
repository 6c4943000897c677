import type { Cidr } from '../core/ip.ts';

/** A host pattern of an allow or deny entry (contract §3, "Host patterns"), in canonical spelling. */
export type HostPattern = NamePattern | CidrPattern | AnyPattern;

export interface NamePattern {
  readonly kind: 'name';
  /** As written: `example.com`, `*.example.com`, `.example.com`, `a.*.example.com`. */
  readonly text: string;
  /** Without the leading `*.` or `.`, from right to left; `*` is exactly one label. */
  readonly labels: readonly string[];
  readonly suffix: 'exact' | 'below' | 'apex-and-below';
}

/** An address (prefix 32 or 128) or a range; matches IP-literal targets only. */
export interface CidrPattern {
  readonly kind: 'cidr';
  /** Canonical: without brackets, without a prefix that covers one address; mapped IPv4 as IPv4. */
  readonly text: string;
  readonly cidr: Cidr;
}

/** `*`: every name, no IP literal. */
export interface AnyPattern {
  readonly kind: 'any';
  readonly text: '*';
}

/** Why a pattern is refused. */
export interface PatternProblem {
  /** Stable, for `check --json`. */
  readonly code: string;
  readonly message: string;
  /** The form to write instead; undefined if there is none. */
  readonly hint: string | undefined;
}
