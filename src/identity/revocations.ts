import type { Evidence, Identity } from './identity.ts';

/** One thing that somebody has ended before its time. Plain data: it travels to worker threads. */
export interface RevocationEntry {
  /**
   * `token`: a credential by its id in the log. `certificate`: one certificate. `agent`: all that was
   * issued to the agent until `at`. `quarantine`: the agent itself, whatever it shows.
   */
  readonly kind: 'token' | 'certificate' | 'agent' | 'quarantine';
  /** Token id, serial number or agent id, in the spelling of `parseTokenId` and `parseSerial`. */
  readonly id: string;
  /** Ms since the epoch; undefined where nobody wrote it down, never for `agent`. */
  readonly at: number | undefined;
  /** Who ended it, as they say themselves. */
  readonly by: string | undefined;
  readonly why: string | undefined;
  /** `revocations.yaml:12`. */
  readonly place: string;
}

/** An entry as programs read it: of the admin listener, and with `--json`. */
export function describeRevocation({ kind, id, at, by, why, place }: RevocationEntry): object {
  return {
    kind,
    id,
    at: at === undefined ? undefined : new Date(at).toISOString(),
    by,
    why,
    place,
  };
}

export type RevocationReason = 'credential_revoked' | 'agent_quarantined';

/** What the log calls an entry's effect. */
export function reasonOf({ kind }: RevocationEntry): RevocationReason {
  return kind === 'quarantine' ? 'agent_quarantined' : 'credential_revoked';
}

/** What makes two entries the same one. An agent's is another one whenever its time is. */
export function keyOf({ kind, id, at }: RevocationEntry): string {
  return kind === 'agent' ? `${kind} ${id} ${at}` : `${kind} ${id}`;
}

/** A token as a log line names it: `cert:` and a serial number for certificates. */
export function tokenOf({ kind, id }: RevocationEntry): string | undefined {
  if (kind === 'token') return id;
  return kind === 'certificate' ? `cert:${id}` : undefined;
}

const ulid = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/u;
const digest = /^sha256:([0-9a-f]{12})(?:[0-9a-f]{52})?$/u;
const workload = /^jwt:[\x21-\x7e]{1,123}$/u;
const serial = /^[0-9a-f]{1,2}(?::?[0-9a-f]{2})*$/u;
/** RFC 5280 §4.1.2.2: 20 octets; some issuers use one more for the sign. */
const SERIAL_DIGITS = 42;

/**
 * The id of a credential as log lines spell it: the ULID of an issued one, `sha256:` and 12 digits (or
 * all 64) for a static token, `jwt:…` for a workload's. Null if it is none of them.
 */
export function parseTokenId(text: string): string | null {
  if (ulid.test(text.toUpperCase())) return text.toUpperCase();
  const digits = digest.exec(text.toLowerCase())?.[1];
  if (digits !== undefined) return `sha256:${digits}`;
  return workload.test(text) ? text : null;
}

/**
 * A certificate's serial number: hexadecimal, colons between bytes as OpenSSL prints them, any case.
 * Null if it is none, else the spelling of log lines: lower case, no colons, no leading zero bytes.
 */
export function parseSerial(text: string): string | null {
  const folded = text.toLowerCase();
  const even = folded.includes(':') || folded.length % 2 === 0 ? folded : `0${folded}`;
  if (!serial.test(even)) return null;
  const digits = even.replaceAll(':', '');
  return digits.length <= SERIAL_DIGITS ? wholeBytes(digits) : null;
}

/** One number has one spelling, however many digits its issuer wrote it in. */
function wholeBytes(digits: string): string {
  const even = digits.length % 2 === 0 ? digits : `0${digits}`;
  return even.startsWith('00') ? even.replace(/^(?:00)+(?=..)/u, '') : even;
}

/** What is revoked and quarantined, indexed. Immutable: a change is a new object. */
export class Revocations {
  readonly entries: readonly RevocationEntry[];
  readonly #tokens = new Set<string>();
  readonly #serials = new Set<string>();
  readonly #quarantined = new Set<string>();
  /** Agent id → ms since the epoch: what was issued until then is over. */
  readonly #agents = new Map<string, number>();

  constructor(entries: readonly RevocationEntry[]) {
    this.entries = entries;
    for (const entry of entries) this.#add(entry);
  }

  /** How many there are of each kind. */
  get counts(): Readonly<Record<RevocationEntry['kind'], number>> {
    return {
      token: this.#tokens.size,
      certificate: this.#serials.size,
      agent: this.#agents.size,
      quarantine: this.#quarantined.size,
    };
  }

  /** Why this identity has ended, with the certificate shown beside it; null if it has not. O(1). */
  find(identity: Identity, { certificate }: Evidence): RevocationReason | null {
    if (this.entries.length === 0) return null;
    const { agent, token } = identity;
    if (this.#quarantined.has(agent.id)) return 'agent_quarantined';
    if (token !== undefined && this.#tokens.has(token)) return 'credential_revoked';
    if (certificate !== null && this.#serials.has(wholeBytes(certificate.serial))) {
      return 'credential_revoked';
    }
    const until = this.#agents.get(agent.id);
    if (until === undefined) return null;
    const made = [identity.issuedAt, certificate?.issuedAt];
    return made.some((time) => time !== undefined && time <= until) ? 'credential_revoked' : null;
  }

  #add({ kind, id, at }: RevocationEntry): void {
    switch (kind) {
      case 'token':
        this.#tokens.add(id);
        return;
      case 'certificate':
        this.#serials.add(id);
        return;
      case 'quarantine':
        this.#quarantined.add(id);
        return;
      case 'agent':
        this.#agents.set(id, Math.max(at ?? Infinity, this.#agents.get(id) ?? 0));
        return;
      default:
        kind satisfies never;
    }
  }
}

export const nothingRevoked = new Revocations([]);
