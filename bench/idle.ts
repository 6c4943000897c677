import type { Axis, BenchOptions, Row } from './support/axis.ts';
import { holdContest, medians } from './support/rounds.ts';

/** What tunnels cost in which nothing moves. */
export const idle: Axis = {
  name: 'idle',
  about: 'idle tunnels held: resident memory and CPU for each, beside Squid and a bare relay',
  async run(options) {
    const counts = countsFor(options);
    const trials = await holdContest(
      {
        name: 'idle',
        rivals: ['sallyport', 'squid', 'bare'],
        scenario: { kind: 'idle', counts },
        concurrency: 64,
        rounds: 1,
      },
      options,
    );
    return {
      tables: [
        {
          title: 'Idle tunnels, TLS begun',
          columns: [
            { key: 'rival', label: 'proxy' },
            { key: 'emptyMb', label: 'empty MB' },
            ...counts.map((count) => ({ key: `kb${count}`, label: `KB each at ${count}` })),
            ...counts.map((count) => ({ key: `busy${count}`, label: `CPU % at ${count}` })),
            { key: 'alive', label: 'alive after', digits: 4 },
          ],
          rows: medians(trials, 'empty').map((row) => readable(row, counts)),
          notes: [
            'KB = 1000 bytes of resident memory above that of the warmed-up proxy without tunnels; what the kernel holds for the sockets is not in it.',
          ],
        },
      ],
      trials,
    };
  },
};

function countsFor(options: BenchOptions): readonly number[] {
  return options.quick ? [500, 1000] : [2000, 5000];
}

function readable(row: Row, counts: readonly number[]): Row {
  const { empty } = row;
  const kilobytes = counts.map((count) => [`kb${count}`, Number(row[`bytes${count}`]) / 1000]);
  return { ...row, emptyMb: Number(empty) / 1e6, ...Object.fromEntries(kilobytes) };
}
