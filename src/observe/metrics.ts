import { performance } from 'node:perf_hooks';
import type { Reason } from '../core/reasons.ts';
import type { Agent, Scheme } from '../policy/policy.ts';
import { DecisionCounts } from './decision-counts.ts';
import { LatencyHistogram } from './latency-histogram.ts';
import type { MetricFamily, MetricSample, MetricsSnapshot } from './metrics-snapshot.ts';

/** What a client hears that could not be identified: its 407, the same a second later, or nothing. */
export type FailureAnswer = 'at_once' | 'held' | 'none';

/** What the metrics ask of the egress log at a scrape. */
export interface LogState {
  readonly healthy: boolean;
  /** Writes refused so far. */
  readonly failures: number;
  /** Lines lost so far. */
  readonly dropped: number;
}

/** The keys of one issuer of tokens: how many, and how often they were asked for. */
export interface IssuerKeyCounts {
  readonly issuer: string;
  readonly keys: number;
  readonly refreshed: number;
  readonly failed: number;
}

/**
 * What one worker counts (contract §6, `/metrics`). On the path of a connection these are plain
 * additions; names, labels and text exist only in `snapshot`. Every label is from a closed set,
 * never a host, a path or anything else that a client chose. Nothing here throws.
 */
export class Metrics {
  readonly #log: LogState;
  readonly #decisions = new DecisionCounts();
  readonly #dns = new LatencyHistogram();
  readonly #dial = new LatencyHistogram();
  readonly #requests: Record<Scheme, number> = { https: 0, http: 0, tcp: 0 };
  readonly #reloads = { ok: 0, failed: 0 };
  readonly #identityFailures = new Map<string, { labels: MetricSample['labels']; value: number }>();
  #connections = 0;
  #connectionsActive = 0;
  #tunnelsActive = 0;
  #bytesUp = 0;
  #bytesDown = 0;
  #digest = '';
  #issuers: () => readonly IssuerKeyCounts[] = () => [];
  #revocations: Readonly<Record<string, number>> = {};
  #utilization = performance.eventLoopUtilization();

  constructor(log: LogState) {
    this.#log = log;
  }

  get connectionsActive(): number {
    return this.#connectionsActive;
  }

  get tunnelsActive(): number {
    return this.#tunnelsActive;
  }

  connectionOpened(): void {
    this.#connections++;
    this.#connectionsActive++;
  }

  connectionClosed(): void {
    this.#connectionsActive--;
  }

  tunnelOpened(): void {
    this.#tunnelsActive++;
  }

  tunnelClosed(): void {
    this.#tunnelsActive--;
  }

  /** One `open` or `block` line. `agent`: undefined if no identity was proven. */
  decision(agent: Agent | undefined, verdict: 'allow' | 'block', reason: Reason | undefined): void {
    this.#decisions.add(agent?.id, verdict, reason);
  }

  /** A client that could not be identified; `reason` is one of a few. */
  identityFailure(reason: Reason, answer: FailureAnswer): void {
    const key = `${reason} ${answer}`;
    const known = this.#identityFailures.get(key);
    if (known === undefined)
      this.#identityFailures.set(key, { labels: { reason, answer }, value: 1 });
    else known.value++;
  }

  /** Bytes of a tunnel or request that has ended. */
  finished(bytesUp: number, bytesDown: number): void {
    this.#bytesUp += bytesUp;
    this.#bytesDown += bytesDown;
  }

  /** One plain (`http`) or inspected (`https`) HTTP request that has ended. */
  request(scheme: Scheme): void {
    this.#requests[scheme]++;
  }

  /** Milliseconds that a name took to resolve. */
  dns(ms: number): void {
    this.#dns.observe(ms);
  }

  /** Milliseconds that a destination took to accept. */
  dial(ms: number): void {
    this.#dial.observe(ms);
  }

  /** A reload took effect, or was refused and the old policy stayed. */
  reload(result: 'ok' | 'failed'): void {
    this.#reloads[result]++;
  }

  /** The digest of the policy in force. */
  policy(digest: string): void {
    this.#digest = digest;
  }

  /** Where the keys of other issuers are counted. */
  observeIssuers(counts: () => readonly IssuerKeyCounts[]): void {
    this.#issuers = counts;
  }

  /** What is revoked and quarantined now, by kind. */
  revocations(counts: Readonly<Record<string, number>>): void {
    this.#revocations = counts;
  }

  /** Everything counted so far, for `renderMetrics`. Event loop use is that since the last snapshot. */
  snapshot(): MetricsSnapshot {
    return [
      ...this.#traffic(),
      ...this.#latencies(),
      ...this.#state(),
      ...issuerKeyFamilies(this.#issuers()),
    ];
  }

  #traffic(): MetricFamily[] {
    return [
      gauge('connections_active', 'Client connections now open.', this.#connectionsActive),
      counter('connections_total', 'Client connections accepted.', [
        { labels: {}, value: this.#connections },
      ]),
      gauge('tunnels_active', 'Tunnels now open.', this.#tunnelsActive),
      counter('decisions_total', 'Decisions, one for each attempt.', this.#decisions.samples()),
      counter('identity_failures_total', 'Clients that could not be identified.', [
        ...this.#identityFailures.values(),
      ]),
      counter(
        'requests_total',
        'HTTP requests finished, plain and inspected.',
        labelled('scheme', this.#requests),
      ),
      counter(
        'bytes_total',
        'Bytes relayed by tunnels and requests that have ended; up is towards the destination.',
        labelled('direction', { up: this.#bytesUp, down: this.#bytesDown }),
      ),
    ];
  }

  #latencies(): MetricFamily[] {
    return [
      histogram('dns_seconds', 'Time to resolve a name.', this.#dns),
      histogram('dial_seconds', 'Time to connect to a destination.', this.#dial),
    ];
  }

  #state(): MetricFamily[] {
    const use = performance.eventLoopUtilization(this.#utilization).utilization;
    this.#utilization = performance.eventLoopUtilization();
    return [
      counter('reloads_total', 'Reloads of the policy.', labelled('result', this.#reloads)),
      {
        ...gauge('policy_info', 'Always 1; the label names the policy in force.', 1),
        aggregator: 'max',
        values: [{ labels: { digest: this.#digest }, value: 1 }],
      },
      {
        ...gauge('revocations', 'Revocations and quarantines in force.', 0),
        aggregator: 'max',
        values: labelled('kind', this.#revocations),
      },
      {
        ...gauge(
          'log_writable',
          '1 while the egress log can be written.',
          this.#log.healthy ? 1 : 0,
        ),
        aggregator: 'min',
      },
      counter('log_failures_total', 'Lines that the egress log refused.', [
        { labels: {}, value: this.#log.failures },
      ]),
      counter('log_dropped_total', 'Lines that the egress log lost.', [
        { labels: {}, value: this.#log.dropped },
      ]),
      {
        ...gauge(
          'event_loop_utilization',
          'Share of time the busiest worker was busy, 0 to 1, since the last scrape.',
          use,
        ),
        aggregator: 'max',
      },
    ];
  }
}

/** Nothing without issuers: most installations have none. */
function issuerKeyFamilies(counts: readonly IssuerKeyCounts[]): MetricFamily[] {
  if (counts.length === 0) return [];
  const of = (value: (count: IssuerKeyCounts) => number, labels: object = {}): MetricSample[] =>
    counts.map((count) => ({ labels: { issuer: count.issuer, ...labels }, value: value(count) }));
  return [
    {
      ...gauge('issuer_keys', 'Keys of an issuer of tokens, in the worker with the fewest.', 0),
      aggregator: 'min',
      values: of(({ keys }) => keys),
    },
    counter('issuer_refreshes_total', "Refreshes of an issuer's keys.", [
      ...of(({ refreshed }) => refreshed, { result: 'ok' }),
      ...of(({ failed }) => failed, { result: 'failed' }),
    ]),
  ];
}

const prefix = 'sallyport_';

function gauge(name: string, help: string, value: number): MetricFamily {
  return {
    name: prefix + name,
    help,
    type: 'gauge',
    aggregator: 'sum',
    values: [{ labels: {}, value }],
  };
}

function counter(name: string, help: string, values: MetricSample[]): MetricFamily {
  return { name: prefix + name, help, type: 'counter', aggregator: 'sum', values };
}

function histogram(name: string, help: string, latencies: LatencyHistogram): MetricFamily {
  const full = prefix + name;
  return {
    name: full,
    help,
    type: 'histogram',
    aggregator: 'sum',
    values: latencies.samples(full),
  };
}

function labelled(label: string, values: Readonly<Record<string, number>>): MetricSample[] {
  return Object.entries(values).map(([key, value]) => ({ labels: { [label]: key }, value }));
}
