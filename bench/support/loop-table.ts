import type { Column } from './axis.ts';

/** The columns of everything that runs in a closed loop. */
export function loopColumns(operation: string): readonly Column[] {
  return [
    { key: 'rival', label: 'proxy' },
    { key: 'cpu', label: `CPU µs/${operation}` },
    { key: 'spread', label: '± %', digits: 2 },
    { key: 'best', label: 'best µs' },
    { key: 'ratio', label: 'over Sallyport' },
    { key: 'p50', label: 'p50 ms' },
    { key: 'p99', label: 'p99 ms' },
    { key: 'rate', label: `${operation}s/s`, digits: 3 },
    { key: 'proxyBusy', label: 'proxy busy %', digits: 2 },
    { key: 'loadBusy', label: 'load busy %', digits: 2 },
    { key: 'othersBusy', label: 'others busy %', digits: 2 },
  ];
}

export const loopNotes: readonly string[] = [
  '64 at a time; medians of the rounds, ± is half their range, best the lowest. Where the load is busier than the proxy, rate and latency are those of the load: compare the CPU.',
];
