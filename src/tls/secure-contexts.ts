import { generateKeyPairSync } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.ts';
import { type Authority, crossAt, mayStandFor } from './authority.ts';
import { certificatePem } from './certificate.ts';
import { ServerLeafMint } from './leaf.ts';
import { serverProtocol } from './server-options.ts';
import { type HandshakeWaiter, terminateTls } from './terminate.ts';

const HOUR = 3_600_000;
/** How long a leaf holds: a day, far below the 397 days that clients accept. */
const VALIDITY = 24 * HOUR;
/** Sandboxes whose clock is behind accept a fresh leaf. */
const BACKDATED = HOUR;
/** How long a leaf is handed out: a connection that begins now has hours before its leaf ends. */
const RENEWED_AFTER = 12 * HOUR;

export interface SecureContextsOptions {
  readonly authority: Authority;
  readonly clock: Clock;
  /** Leaves kept at most, one or two kilobytes each. Default 10,000. */
  readonly leaves?: number;
  /**
   * Contexts kept ready, each some 50 KB of OpenSSL's memory; one is made of a leaf in a third of a
   * millisecond. Default 1,000.
   */
  readonly contexts?: number;
}

interface Leaf {
  readonly pem: string;
  /** Milliseconds since the Unix epoch. */
  readonly renewAt: number;
}

/**
 * Host → what the proxy stands in for it with: a leaf for exactly that name or address, signed by
 * the authority. Minted once for each host and kept while it is among those last used. Minting is
 * one synchronous step of less than a millisecond, so that no two connections mint the same.
 *
 * One key serves all leaves of the process: it never leaves it, and whoever could read it could read
 * the key of the authority as well. A key for each host would cost time and keep nothing safer.
 */
export class SecureContexts {
  readonly #authority: Authority;
  readonly #clock: Clock;
  readonly #leaves: LRUCache<string, Leaf>;
  readonly #contexts: LRUCache<Leaf, SecureContext>;
  readonly #mint: ServerLeafMint;
  readonly #key: string;

  /** @throws SecretFileError if the authority's certificate cannot be read */
  constructor({ authority, clock, leaves = 10_000, contexts = 1_000 }: SecureContextsOptions) {
    this.#authority = authority;
    this.#clock = clock;
    this.#leaves = new LRUCache({ max: leaves });
    this.#contexts = new LRUCache({ max: contexts, dispose: release });
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#mint = new ServerLeafMint(authority, publicKey);
    this.#key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  }

  /** What sandboxes get to trust, PEM. */
  get pem(): string {
    return this.#authority.pem;
  }

  /** May the authority sign for this host? Clients would not take what it may not. */
  permits(host: string): boolean {
    return mayStandFor(this.#authority, host);
  }

  /**
   * Ends TLS on a connected client socket as this host; see `terminateTls`.
   *
   * @param host a canonical name, or the canonical text of an address
   * @returns null for a host that the authority may not sign for, and once it has ended: no client would
   *   accept what it signs
   */
  terminate(
    host: string,
    socket: Socket,
    first: Buffer,
    waiter: HandshakeWaiter,
  ): TLSSocket | null {
    const context = this.#contextOf(host);
    return context === null ? null : terminateTls(socket, first, context, waiter);
  }

  #contextOf(host: string): SecureContext | null {
    const leaf = this.#leafOf(host);
    if (leaf === null) return null;
    let context = this.#contexts.get(leaf);
    if (context === undefined) {
      context = createSecureContext({
        cert: leaf.pem,
        key: this.#key,
        ...serverProtocol,
      });
      this.#contexts.set(leaf, context);
    }
    return context;
  }

  #leafOf(host: string): Leaf | null {
    const now = this.#clock.now();
    const known = this.#leaves.get(host);
    if (known !== undefined && now < known.renewAt) return known;
    const end = this.#authority.certificate.validToDate.getTime();
    if (now >= end || !this.permits(host)) return null;
    const cross = crossAt(this.#authority, now);
    const crossEnd = cross?.validToDate.getTime() ?? end;
    const certificate = this.#mint.issue(host, now - BACKDATED, Math.min(now + VALIDITY, end));
    const leaf = {
      pem: certificatePem(certificate) + (cross === null ? '' : certificatePem(cross.raw)),
      renewAt: Math.min(now + RENEWED_AFTER, end, crossEnd),
    };
    this.#leaves.set(host, leaf);
    return leaf;
  }
}

/**
 * Gives OpenSSL's memory back now: the collector, which does not see its size, would let hundreds of
 * megabytes gather behind a flood of names. Connections hold what they need of it themselves; to begin
 * one with it now would end the process, which is why contexts never leave this class.
 */
function release({ context }: SecureContext): void {
  (context as { close(): void }).close();
}
