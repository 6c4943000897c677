import type { Ip } from '../core/ip.ts';
import { type Reason, reasons } from '../core/reasons.ts';
import { newId } from '../core/ulid.ts';
import type { Evidence, Identity } from '../identity/identity.ts';
import type { EgressEvent, EgressRecord } from '../observe/egress-log.ts';
import type { Decision } from '../policy/decide.ts';
import type { Agent, Policy } from '../policy/policy.ts';
import type { RequestContent } from '../policy/request-content.ts';
import type { Client } from './client-connection.ts';
import type { LiveDescription, Services } from './services.ts';

/**
 * The context of one tunnel or one HTTP request, from its first byte to its last log line. One
 * fixed object shape: every field exists from the start, so that the engine keeps one hidden class.
 */
export class Exchange {
  readonly services: Services;
  readonly id: string;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  /** How the log calls the client. */
  readonly client: string;
  readonly evidence: Evidence;
  policy: Policy;
  identity: Identity | null = null;
  /** The agent, or the one that a failed credential named: for the log only. */
  agent: Agent | undefined = undefined;
  decision: Decision | null = null;
  scheme: string | undefined = undefined;
  host: string | undefined = undefined;
  ip: Ip | null = null;
  port: number | undefined = undefined;
  method: string | undefined = undefined;
  path: string | undefined = undefined;
  status: number | undefined = undefined;
  token: string | undefined = undefined;
  address: string | undefined = undefined;
  sni: string | undefined = undefined;
  bytesUp = 0;
  bytesDown = 0;
  dnsMs: number | undefined = undefined;
  dialMs: number | undefined = undefined;
  /** What conditions of entries may ask about; undefined for a CONNECT. */
  content: RequestContent | undefined = undefined;
  /** MCP tools that the request calls; undefined until its body is read. */
  tools: readonly string[] | undefined = undefined;
  /** The same for the log, and the arguments that the entry names. */
  calledTools: string | undefined = undefined;
  calledWith: string | undefined = undefined;
  /** Report mode let this pass: why it would have been cut. */
  reported: Reason | undefined = undefined;
  /** What the destination did wrong after it was reached: for the last line. */
  failed: Reason | undefined = undefined;
  /** The agent limiter holds a place for this exchange. */
  #holdsPlace = false;
  /** An `open` or `block` line has been written: there is never a second one. */
  #decided = false;
  #finished = false;

  constructor(services: Services, from: Client) {
    this.services = services;
    this.id = newId(services.clock.now());
    this.startedAt = services.clock.monotonic();
    this.client = from.client;
    this.evidence = from;
    this.policy = services.policy();
  }

  /** Whose tunnel a request came through, and where that leads: for the line of a request that says neither. */
  comesThrough(tunnel: Exchange): void {
    this.agent = tunnel.agent;
    this.token = tunnel.token;
    this.host = tunnel.host;
    this.ip = tunnel.ip;
    this.port = tunnel.port;
  }

  /** True once the exchange has its `open` or `block` line. */
  get decided(): boolean {
    return this.#decided;
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** The smaller of the entry's upload cap and the agent's, bytes; Infinity without any. */
  get uploadCap(): number {
    const perTunnel = this.agent?.limits.uploadPerTunnel ?? Infinity;
    return Math.min(this.decision?.upload ?? Infinity, perTunnel);
  }

  /** Takes a place with the agent limiter; given back by `finish`. */
  acquirePlace(): boolean {
    const agent = this.identity?.agent;
    if (agent === undefined || !this.services.agents.acquire(agent)) return false;
    this.#holdsPlace = true;
    return true;
  }

  /**
   * Writes the `open` line: the target was reached, or (with `failure`) the destination failed.
   * Must come before the client hears anything. False if the line could not be written.
   */
  recordOpen(failure: Reason | null = null): boolean {
    if (this.#decided) return true;
    // What report mode would have blocked is told before what the status tells anyway.
    const record = this.#record('open', 'allow', this.#reported() ?? failure ?? undefined);
    record.ms = this.#elapsed();
    if (!this.services.log.write(record)) return false;
    this.#decided = true;
    this.services.metrics.decision(this.agent, 'allow', failure ?? undefined);
    return true;
  }

  /** As `recordOpen`, with the other tunnels that open in this turn; `done` is called in a later one. */
  commitOpen(done: (written: boolean) => void): void {
    const record = this.#record('open', 'allow', this.#reported());
    record.ms = this.#elapsed();
    this.services.log.commit(record, (written) => {
      if (written) {
        this.#decided = true;
        this.services.metrics.decision(this.agent, 'allow', undefined);
      }
      done(written);
    });
  }

  /** Writes the `block` line; a log that cannot be written does not turn a no into a yes. */
  recordBlock(reason: Reason, status: number | undefined): void {
    if (this.#decided) return;
    this.#decided = true;
    this.status = status;
    const record = this.#record('block', 'block', reason);
    record.ms = this.#elapsed();
    this.services.log.write(record);
    this.services.metrics.decision(this.agent, 'block', reason);
  }

  /**
   * Writes the last line (`close` of a tunnel, `request` of a request) and gives back the place.
   * Exactly once; later calls do nothing.
   * @param end who ended it: `client`, `origin` or a reason code; undefined for a request.
   * @param cut the reason if we ended it. Only one of policy, or of what the client did, makes the
   *   line a block: a tunnel that was idle, or open when the proxy stopped, was allowed all the time.
   */
  finish(event: 'close' | 'request', end: string | undefined, cut: Reason | undefined): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#release();
    const blocked = cut !== undefined && reasons[cut].fault !== 'proxy';
    const record = this.#record(
      event,
      blocked ? 'block' : 'allow',
      blocked ? cut : (this.#reported() ?? this.failed),
    );
    record.bytesUp = this.bytesUp;
    record.bytesDown = this.bytesDown;
    record.ms = this.#elapsed();
    record.end = end;
    this.services.log.writeLater(record);
    this.services.metrics.finished(this.bytesUp, this.bytesDown);
    if (event === 'request') {
      this.services.metrics.request(this.scheme === 'https' ? 'https' : 'http');
    }
  }

  /** Gives back the place without a last line: the exchange never opened. */
  abandon(): void {
    this.#finished = true;
    this.#release();
  }

  /** What /connections shows of it; null while it has no agent or no target. `mono` is the monotonic clock. */
  describe(
    kind: LiveDescription['kind'],
    mono: number,
    counts: { readonly bytesUp: number; readonly bytesDown: number },
  ): LiveDescription | null {
    if (this.identity === null || this.host === undefined) return null;
    return {
      id: this.id,
      agent: this.identity.agent.id,
      kind,
      host: this.host,
      port: this.port ?? 0,
      entry: this.decision?.entry?.at,
      client: this.client,
      address: this.address,
      token: this.token,
      task: this.identity.task,
      bytes_up: counts.bytesUp,
      bytes_down: counts.bytesDown,
      age: Math.round(mono - this.startedAt) / 1000,
    };
  }

  #reported(): Reason | undefined {
    return (
      this.reported ??
      (this.decision?.report === true ? (this.decision.reason ?? undefined) : undefined)
    );
  }

  #release(): void {
    if (!this.#holdsPlace || this.identity === null) return;
    this.#holdsPlace = false;
    this.services.agents.release(this.identity.agent);
  }

  #elapsed(): number {
    return Math.round((this.services.clock.monotonic() - this.startedAt) * 10) / 10;
  }

  #record(
    event: EgressEvent,
    verdict: 'allow' | 'block',
    reason: Reason | undefined,
  ): EgressRecord {
    const { identity, decision } = this;
    return {
      event,
      id: this.id,
      agent: this.agent,
      verdict,
      reason,
      scheme: this.scheme,
      host: this.host,
      port: this.port,
      method: this.method,
      path: this.path,
      tool: this.calledTools,
      params: this.calledWith,
      status: this.status,
      entry: decision?.entry?.at,
      group: decision?.entry?.group,
      policy: this.policy.digest,
      task: identity?.task,
      requestedBy: identity?.requestedBy,
      token: this.token,
      client: this.client,
      address: this.address,
      sni: this.sni,
      bytesUp: undefined,
      bytesDown: undefined,
      ms: undefined,
      dnsMs: this.dnsMs,
      dialMs: this.dialMs,
      end: undefined,
      report: verdict === 'allow' && this.#reported() !== undefined ? true : undefined,
    };
  }
}
