/** One time series at one moment. */
export interface MetricSample {
  /** Only where it is not the name of the family: the parts of a histogram. */
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** All series of one name, in the form that prom-client's `getMetricsAsJSON` gives. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** How the values of several workers become one. */
  readonly aggregator: 'sum' | 'min' | 'max' | 'first';
  readonly values: readonly MetricSample[];
}

/** What one worker has counted so far: plain data that can be posted to another thread. */
export type MetricsSnapshot = readonly MetricFamily[];
