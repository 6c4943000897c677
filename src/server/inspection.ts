import type { Clock } from '../core/clock.ts';
import { FileStamp } from '../core/file-stamp.ts';
import { SecretFileError } from '../core/secret-file.ts';
import type { OperationsLog } from '../observe/operations-log.ts';
import { policyNeedsInspection } from '../policy/inspection.ts';
import type { Policy } from '../policy/policy.ts';
import { type Distrust, type InspectionServices, notPermitted } from '../proxy/services.ts';
import { type Authority, authorityPaths, loadAuthority } from '../tls/authority.ts';
import { describeSubtrees } from '../tls/name-constraints.ts';
import { SecureContexts } from '../tls/secure-contexts.ts';
import type { TlsClient } from '../upstream/tls-client.ts';
import { type TrustFile, trustedOurselves } from '../upstream/trusted-roots.ts';
import { OnceAMinute } from './once-a-minute.ts';
import { trustsOurselves } from './own-trust.ts';

/** Agents and hosts whose distrust is told in a minute. */
const mostTold = 1_000;

export interface InspectionOptions {
  /** The directory of the authority. */
  readonly certs: string;
  /** Roots for upstream TLS: the authority must not be among them. */
  readonly trust: readonly TrustFile[];
  readonly upstream: TlsClient;
  /** Null: another worker tells the operators what is found in the files. */
  readonly tell: OperationsLog | null;
  readonly operations: OperationsLog;
  readonly clock: Clock;
}

/**
 * Inspection as the authority in `certs/` allows it now. Without one, or with one that cannot be used,
 * there is none: entries that need it block, and the operators are told so (`warnUninspected`). Once
 * there is one, files that cannot be used, or are gone, change nothing.
 */
export class Inspection {
  readonly #options: InspectionOptions;
  readonly #stamps: readonly FileStamp[];
  readonly #due: OnceAMinute;
  #authority: Authority | null = null;
  #services: InspectionServices | null = null;

  constructor(options: InspectionOptions) {
    this.#options = options;
    const { key, certificate, cross } = authorityPaths(options.certs);
    this.#stamps = [key, certificate, cross].map((path) => new FileStamp(path, options.clock));
    this.#due = new OnceAMinute(options.clock, mostTold);
    this.#changed();
    const authority = this.#load();
    if (authority !== null) this.#use(authority);
  }

  get services(): InspectionServices | null {
    return this.#services;
  }

  /**
   * Takes up an authority whose files have changed since they were last looked at. Connections that are
   * open go on as they are.
   * @returns true if it was the first one, which what is live is to be judged by again
   */
  refresh(): boolean {
    if (!this.#changed()) return false;
    const before = this.#authority;
    const loaded = this.#load();
    if (loaded === null || (before !== null && isSame(before, loaded))) return false;
    this.#use(loaded);
    this.#options.tell?.info(
      before === null
        ? 'TLS is inspected from now on: there is an authority'
        : 'TLS is inspected with another authority from now on',
      { sha256: loaded.certificate.fingerprint256, overlap: loaded.overlap !== null },
    );
    return before === null;
  }

  /** All of them are asked: a stamp that is not looked at would tell of its change much later. */
  #changed(): boolean {
    return this.#stamps.filter((stamp) => stamp.changed()).length > 0;
  }

  #load(): Authority | null {
    const { certs, trust, clock } = this.#options;
    try {
      const authority = loadAuthority(certs);
      if (authority === null) {
        if (this.#authority !== null) this.#complain('the files of the authority are gone');
        return null;
      }
      const end = authority.certificate.validToDate;
      if (end.getTime() <= clock.now()) {
        this.#complain(`the certificate of the authority ended ${end.toISOString()}`);
        return null;
      }
      const file = trustedOurselves(trust, authority.trusted);
      if (file === null) return authority;
      this.#complain(trustsOurselves(file));
    } catch (error) {
      if (!(error instanceof SecretFileError)) throw error;
      this.#complain(error.message);
    }
    return null;
  }

  #complain(why: string): void {
    const effect =
      this.#authority === null
        ? 'TLS is not inspected'
        : 'TLS is inspected with the authority of before';
    this.#options.tell?.error(`${effect}: ${why}`);
  }

  #use(authority: Authority): void {
    const { upstream, clock } = this.#options;
    this.#authority = authority;
    this.#services = {
      contexts: new SecureContexts({ authority, clock }),
      upstream,
      distrusted: (by) => this.#distrusted(authority, by),
    };
  }

  #distrusted(authority: Authority, { agent, host, entry, why }: Distrust): void {
    const cause = causeOf(authority, why);
    // By its cause: a client that only left must not hide that one does not trust the authority.
    if (!this.#due.isDue(`${agent} ${host} ${cause}`)) return;
    this.#options.operations.warn(`the TLS handshake of an inspected connection: ${cause}`, {
      agent,
      host,
      entry,
      why,
    });
  }
}

/** Says so, if the policy has entries that need inspection and there is none. */
export function warnUninspected(
  inspection: InspectionServices | null,
  policy: Policy,
  operations: OperationsLog,
): void {
  if (inspection !== null || !policyNeedsInspection(policy)) return;
  operations.warn(
    'https entries with conditions on requests, or with inject, block, because there is no authority to inspect TLS with: run `sallyport ca init`, and the running proxy takes it up',
  );
}

/** An alert is the client's own word; who has none only leaves. Else nothing is there that both speak. */
function causeOf({ constraints }: Authority, why: string): string {
  if (why === notPermitted) {
    const permitted = constraints === null ? [] : describeSubtrees(constraints.permitted);
    return `not begun, as the authority may sign for ${permitted.join(', ') || 'other hosts'} alone, and no client would take it (see \`sallyport ca show\`)`;
  }
  if (!why.startsWith('ERR_SSL')) {
    return 'a client left in the middle of it: it may expect one certificate and no other, or not trust the authority of this proxy (see `sallyport env`)';
  }
  return why.includes('ALERT')
    ? 'a client broke it off: most likely it does not trust the authority of this proxy (see `sallyport env`)'
    : 'it came to nothing: TLS 1.2 or later, and in it HTTP/2 or HTTP/1.1 are spoken here';
}

function isSame(a: Authority, b: Authority): boolean {
  const bytes = (authority: Authority) => authority.overlap?.cross.fingerprint256;
  return (
    a.pem === b.pem &&
    a.certificate.fingerprint256 === b.certificate.fingerprint256 &&
    bytes(a) === bytes(b)
  );
}
