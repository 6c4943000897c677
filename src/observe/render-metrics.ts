import { AggregatorRegistry, type PrometheusContentType } from 'prom-client';
import type { MetricsSnapshot } from './metrics-snapshot.ts';
import { processSeries } from './process-metrics.ts';

/**
 * The Prometheus text format (version 0.0.4) of all workers together and of the process they share.
 * To be sent as `text/plain; version=0.0.4; charset=utf-8`.
 */
export function renderMetrics(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  const families = [...snapshots, processSeries()].map((snapshot) => [...snapshot]);
  return AggregatorRegistry.aggregate<PrometheusContentType>(families).metrics();
}
