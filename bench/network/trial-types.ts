/** Who carries the traffic. */
export type RivalName = 'sallyport' | 'squid' | 'squidRsa' | 'mitmproxy' | 'bare';

/** Seconds to warm up, so that compilers are past the worst, and to measure. */
export interface Window {
  readonly warmUp: number;
  /** Operations that must have begun by then; if not, the warm-up lasts up to four times as long. */
  readonly rehearsal?: number;
  readonly measured: number;
}

/** TLS that the proxy opens: connections with one request, requests on kept connections, or bytes. */
export type InspectScenario =
  | ({ readonly kind: 'inspect'; readonly part: 'handshake' | 'request' } & Window)
  | {
      readonly kind: 'inspect';
      readonly part: 'bulk';
      readonly streams: number;
      readonly bytes: number;
    };

/** What the load does. */
export type Scenario =
  | ({ readonly kind: 'connect'; readonly entry: 'tcp' | 'https' } & Window)
  | ({ readonly kind: 'deny' } & Window)
  | ({ readonly kind: 'http' } & Window)
  | InspectScenario
  | { readonly kind: 'relay'; readonly streams: number; readonly bytes: number }
  | { readonly kind: 'idle'; readonly counts: readonly number[] };

/** One rival under one load, in a namespace of its own. */
export interface TrialSpec {
  readonly rival: RivalName;
  readonly scenario: Scenario;
  /** Connections at a time. */
  readonly concurrency: number;
  /** Directory of the trial's own for configurations and logs. */
  readonly directory: string;
  /** Processors: one for the proxy, the others for load and origin. Null: nothing is pinned. */
  readonly pinning: { readonly proxy: string; readonly load: string } | null;
  /** Directory for CPU profiles of Sallyport. */
  readonly profile: string | null;
}

/** Numbers by name; which ones depends on the scenario. */
export type Figures = Readonly<Record<string, number>>;

export interface TrialResult {
  readonly figures: Figures;
  /** Lines in the proxy's access log at the end; -1 if it keeps none. */
  readonly logLines: number;
}
