import { readdirSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import type { MetricFamily } from './metrics-snapshot.ts';

/**
 * The process as Prometheus knows it, read at the moment of the scrape. prom-client's own
 * collection is not used because it keeps a 10 ms timer and a garbage collection observer running.
 */
export function processSeries(): MetricFamily[] {
  const { user, system } = process.cpuUsage();
  const families = [
    counter('process_cpu_user_seconds_total', 'User CPU time, seconds.', user / 1e6),
    counter('process_cpu_system_seconds_total', 'System CPU time, seconds.', system / 1e6),
    counter(
      'process_cpu_seconds_total',
      'User and system CPU time, seconds.',
      (user + system) / 1e6,
    ),
    gauge('process_resident_memory_bytes', 'Resident memory, bytes.', process.memoryUsage.rss()),
    gauge(
      'process_start_time_seconds',
      'Start of the process, seconds since the Unix epoch.',
      performance.timeOrigin / 1000,
    ),
  ];
  const open = openDescriptors();
  if (open !== undefined) families.push(gauge('process_open_fds', 'Open file descriptors.', open));
  const limit = descriptorLimit();
  if (limit !== undefined) {
    families.push(gauge('process_max_fds', 'Most file descriptors that may be open.', limit));
  }
  return families;
}

/** Undefined where there is no /proc. */
function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

/** The soft limit; undefined where there is no /proc, or no limit. */
function descriptorLimit(): number | undefined {
  try {
    const soft = /^Max open files +(\d+) /m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: 'counter', aggregator: 'sum', values: [{ labels: {}, value }] };
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: 'gauge', aggregator: 'first', values: [{ labels: {}, value }] };
}
