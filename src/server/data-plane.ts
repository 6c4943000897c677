import type { HostPort, ListenSetting } from '../config/listen-address.ts';
import type { Clock } from '../core/clock.ts';
import { systemClock } from '../core/clock.ts';
import { parseIp } from '../core/ip.ts';
import { SecretFileError } from '../core/secret-file.ts';
import { loadCredentialKeys, openCredentialKeys } from '../identity/credential-keys.ts';
import { AgentIdentifier } from '../identity/identify.ts';
import { type RevocationEntry, Revocations } from '../identity/revocations.ts';
import { FileEgressLog } from '../observe/file-egress-log.ts';
import { Metrics } from '../observe/metrics.ts';
import type { OperationsLog } from '../observe/operations-log.ts';
import { AddressGuard, type ListenerAddress } from '../policy/address-guard.ts';
import { secretSources } from '../policy/injection.ts';
import { hostPattern } from '../policy/pattern.ts';
import type { Policy } from '../policy/policy.ts';
import { AgentLimiter } from '../proxy/agent-limiter.ts';
import { FailureLimiter } from '../proxy/failure-limiter.ts';
import type { LiveDescription, Services } from '../proxy/services.ts';
import { CachedResolver } from '../upstream/cached-resolver.ts';
import { GuardedDialer } from '../upstream/guarded-dialer.ts';
import { IssuerKeyStore } from '../upstream/issuer-keys.ts';
import { HttpsKeyFetcher } from '../upstream/key-fetcher.ts';
import { SecretStore } from '../upstream/secret-store.ts';
import { SystemResolver } from '../upstream/system-resolver.ts';
import { TcpDialer } from '../upstream/tcp-dialer.ts';
import { TlsClient } from '../upstream/tls-client.ts';
import { readTrust, trustedRoots } from '../upstream/trusted-roots.ts';
import { Connections, type CutOrder } from './connections.ts';
import { Front } from './front.ts';
import { Inspection, warnUninspected } from './inspection.ts';
import { HttpListener } from './listener.ts';
import { observeCertificates } from './observe-certificates.ts';
import { observeIssuers } from './observe-issuers.ts';
import { observeSecrets } from './observe-secrets.ts';
import type { RevocationChange } from './revocation-plane.ts';
import { cutRecord, revocationRecord } from './revocation-records.ts';

/** What one worker needs to know: plain data, so that it can be posted to a thread. */
export interface DataPlaneOptions {
  /** Number of this worker, from 0, and how many share the traffic. */
  readonly worker: number;
  readonly workers: number;
  /** Name of this host in the log's `node`. */
  readonly host: string;
  /** Path of the egress log; `-` is standard output. */
  readonly log: string;
  readonly resolver: {
    readonly servers: readonly string[];
    readonly timeoutMs: number;
    readonly cache: number;
  };
  readonly limits: {
    /** Client connections of all workers together. */
    readonly connections: number;
    /** Milliseconds from here on. */
    readonly headTimeout: number;
    readonly helloTimeout: number;
    readonly connectTimeout: number;
    readonly idleTimeout: number;
  };
  /** The directory of the authority. */
  readonly certs: string;
  /** Path of the file with the keys that sign issued credentials; made if it is not there. */
  readonly keys: string;
  /** The directory of the allowlists, against which the key files of issuers count. */
  readonly allowlists: string;
  /** Variables that entries may take secrets from, as they were at the start. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** PEM files with roots to trust in upstream TLS, beside the usual ones. */
  readonly trust: readonly string[];
}

/** Milliseconds between two looks at certificates, keys and revocation lists of TLS listeners. */
const refreshEvery = 1000;

/** Part of the connections that one agent without a limit of its own may never take from the others. */
const reservedShare = 0.01;

/**
 * One worker's proxy, assembled: the only place that builds adapters. It has a policy and listeners;
 * where policies come from and when to stop is the control plane's business.
 */
export class DataPlane {
  readonly metrics: Metrics;
  readonly log: FileEgressLog;
  readonly #connections: Connections;
  readonly #front: Front;
  readonly #resolver: CachedResolver;
  readonly #issuerKeys: IssuerKeyStore;
  readonly #identifier: AgentIdentifier;
  /** Looks at the files of TLS listeners. */
  readonly #files: NodeJS.Timeout;
  readonly #worker: number;
  readonly #workers: number;
  readonly #keyFile: string;
  readonly #operations: OperationsLog;
  readonly #secrets: SecretStore;
  readonly #inspection: Inspection;
  #policy: Policy;
  #own: readonly ListenerAddress[] = [];
  #started = false;
  #draining = false;

  /** @throws SecretFileError if the key file cannot be used; TrustError if a file of `trust` cannot. */
  constructor(
    options: DataPlaneOptions,
    policy: Policy,
    operations: OperationsLog,
    clock: Clock = systemClock,
  ) {
    this.#policy = policy;
    this.#worker = options.worker;
    this.#workers = options.workers;
    this.#keyFile = options.keys;
    this.#operations = operations;
    this.log = new FileEgressLog({
      path: options.log,
      clock,
      node: `${options.host}/${options.worker}`,
      observer: {
        failed: (message) => operations.error(message, { worker: options.worker }),
        recovered: (message) => operations.warn(message, { worker: options.worker }),
      },
    });
    this.metrics = new Metrics(this.log);
    this.metrics.policy(policy.digest);
    this.#connections = new Connections(clock);
    this.#resolver = new CachedResolver(
      new SystemResolver({
        servers: options.resolver.servers,
        timeoutMs: options.resolver.timeoutMs,
        clock,
      }),
      { names: options.resolver.cache, clock },
    );
    const guard = new AddressGuard(() => this.#own);
    const share = Math.max(1, Math.ceil(options.limits.connections / options.workers));
    const dialer = new GuardedDialer(
      new TcpDialer({ connectTimeoutMs: options.limits.connectTimeout, clock }),
      guard,
    );
    const trust = readTrust(options.trust);
    const tls = new TlsClient(trustedRoots(trust));
    const { certs } = options;
    const tell = options.worker === 0 ? operations : null;
    const inspection = new Inspection({ certs, trust, upstream: tls, tell, operations, clock });
    this.#inspection = inspection;
    this.#warnUninspected();
    const issuers = observeIssuers(operations, options.worker, clock);
    this.#issuerKeys = new IssuerKeyStore({
      fetcher: new HttpsKeyFetcher({ resolver: this.#resolver, dialer, tls }),
      directory: options.allowlists,
      clock,
      observer: { ...issuers, removed: () => this.#connections.rejudge(this.#policy) },
    });
    this.metrics.observeIssuers(() => this.#issuerKeys.counts());
    this.#identifier = new AgentIdentifier({
      keys: openCredentialKeys(options.keys),
      clock,
      workloadKeys: this.#issuerKeys,
      workloadRefused: issuers.refused,
      patternOf: hostPattern,
    });
    this.#secrets = new SecretStore({
      environment: options.environment,
      directory: options.allowlists,
      clock,
      observer: observeSecrets(operations, options.worker),
    });
    this.#secrets.use(secretSources(policy));
    const services: Services = {
      clock,
      policy: () => this.#policy,
      identifier: this.#identifier,
      guard,
      resolver: this.#resolver,
      dialer,
      log: this.log,
      metrics: this.metrics,
      agents: new AgentLimiter(clock, share - Math.floor(share * reservedShare), options.workers),
      failures: new FailureLimiter({
        clock,
        live: this.#connections,
        connections: share,
        metrics: this.metrics,
      }),
      live: this.#connections,
      http: new HttpListener(() => services),
      get inspection() {
        return inspection.services;
      },
      secrets: this.#secrets,
      limits: options.limits,
      draining: () => this.#draining,
      certificateRefused: observeCertificates(operations, options.worker, clock),
    };
    this.#front = new Front(services, share);
    this.#files = setInterval(() => this.#refresh(), refreshEvery);
    this.#files.unref();
  }

  /** Says that it runs, and takes connections from now on. False if the egress log cannot be written. */
  start(): boolean {
    this.#started = this.log.write({ event: 'start', policy: this.#policy.digest });
    if (this.#started) this.#front.begin();
    return this.#started;
  }

  /** @returns the same listener, with the port that was taken. */
  async listen(setting: ListenSetting): Promise<ListenSetting> {
    return { ...setting, at: await this.#front.listen(setting, this.#workers > 1) };
  }

  /** Every listener of the proxy, the admin one included: nothing may be dialled there. */
  setOwnListeners(listeners: readonly HostPort[]): void {
    this.#own = listeners.map(({ host, port }) => ({ ip: parseIp(host), port }));
    // Not before: where keys may be fetched from depends on it.
    this.#issuerKeys.apply(this.#policy.issuers);
  }

  /** Puts a policy in force and judges everything live by it, at once. */
  apply(policy: Policy): void {
    this.#secrets.use(secretSources(policy));
    this.#secrets.reload();
    this.#policy = policy;
    this.metrics.policy(policy.digest);
    this.metrics.reload('ok');
    this.log.write({ event: 'reload', policy: policy.digest });
    this.#resolver.clear();
    this.#issuerKeys.apply(policy.issuers);
    this.#connections.rejudge(policy);
    this.#warnUninspected();
  }

  /**
   * Puts revocations in force and judges everything live by them, at once.
   * @param changes what is told in the egress log.
   * @returns how many live connections and requests ended.
   */
  revoke(entries: readonly RevocationEntry[], changes: readonly RevocationChange[]): number {
    for (const change of changes) this.log.writeLater(revocationRecord(change, this.#policy));
    const revocations = new Revocations(entries);
    this.#identifier.revoke(revocations);
    this.metrics.revocations(revocations.counts);
    const before = this.describe().length;
    this.#connections.rejudge(this.#policy);
    return before - this.describe().length;
  }

  /** Ends these live connections; gives the ids of those that there were. */
  cut(order: CutOrder): string[] {
    const wanted = new Set(order.ids);
    const found: string[] = [];
    const chosen = (live: LiveDescription): boolean => {
      if (!wanted.has(live.id)) return false;
      found.push(live.id);
      this.log.writeLater(cutRecord(live, order, this.#policy));
      return true;
    };
    this.#connections.cutWhere(chosen, 'policy_changed');
    return found;
  }

  /** The key file is another one, or a key has ended: what was proven with a key that is gone is cut. */
  useKeys(): void {
    try {
      this.#identifier.useKeys(loadCredentialKeys(this.#keyFile));
    } catch (error) {
      // It was right a moment ago; when it is again, the order comes again.
      if (!(error instanceof SecretFileError)) throw error;
      this.#operations.error('credential keys not read again', { problem: error.message });
      return;
    }
    this.#connections.rejudge(this.#policy);
  }

  /** One of the workers says it for all. */
  #warnUninspected(): void {
    if (this.#worker === 0)
      warnUninspected(this.#inspection.services, this.#policy, this.#operations);
  }

  /** A reload was refused: the policy in force stays, and the log says so. */
  refuseReload(entry: string | undefined): void {
    this.metrics.reload('failed');
    this.log.write({ event: 'reload_failed', entry, policy: this.#policy.digest });
  }

  reopenLog(): void {
    this.log.reopen();
  }

  describe(): LiveDescription[] {
    return this.#connections.describe();
  }

  /** Client connections that are still open. */
  get open(): number {
    return this.#front.open;
  }

  /** Stops accepting; requests that still come on open connections are refused with `draining`. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.log.write({ event: 'drain', policy: this.#policy.digest });
    this.#front.close();
    this.#connections.closeIdle();
  }

  /** Stops accepting, cuts what is left, writes the last line and closes the log. */
  stop(): void {
    clearInterval(this.#files);
    this.#front.close();
    this.#connections.cutAll('draining');
    this.#connections.close();
    this.#issuerKeys.close();
    this.#secrets.close();
    if (this.#started) this.log.write({ event: 'stop', policy: this.#policy.digest });
    this.log.close();
  }

  /**
   * What a new revocation list has taken back is cut at once. With the first authority, entries that
   * blocked for the want of it decide differently.
   */
  #refresh(): void {
    if (this.#inspection.refresh()) this.#connections.rejudge(this.#policy);
    const { changed, problems } = this.#front.refresh();
    for (const problem of problems) {
      this.#operations.error(`a listener goes on with its old certificate files: ${problem}`);
    }
    if (!changed) return;
    this.#operations.info('the certificate files of a listener were read again');
    this.#connections.rejudge(this.#policy);
  }
}
