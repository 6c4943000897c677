import type { MetricSample } from './metrics-snapshot.ts';

/** Upper bounds of the buckets, seconds: from a cached answer to the longest deadline. */
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** Counts durations in fixed buckets: no allocation and no labels, so that each observation is a few additions. */
export class LatencyHistogram {
  /** One more than there are bounds: the last takes what is above all of them. */
  readonly #buckets = new Float64Array(bounds.length + 1);
  #sum = 0;

  /** Takes milliseconds. */
  observe(ms: number): void {
    const seconds = ms / 1000;
    let bucket = 0;
    while (bucket < bounds.length && seconds > (bounds[bucket] ?? 0)) bucket++;
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#sum += seconds;
  }

  /** Prometheus form: cumulative buckets up to `+Inf`, sum in seconds, count. */
  samples(name: string): MetricSample[] {
    let count = 0;
    const samples: MetricSample[] = [...bounds, '+Inf'].map((le, bucket) => {
      count += this.#buckets[bucket] ?? 0;
      return { metricName: `${name}_bucket`, labels: { le }, value: count };
    });
    samples.push({ metricName: `${name}_sum`, labels: {}, value: this.#sum });
    samples.push({ metricName: `${name}_count`, labels: {}, value: count });
    return samples;
  }
}
