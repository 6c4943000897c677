import type { Axis } from './support/axis.ts';
import { holdContest, medians, withRatios } from './support/rounds.ts';

/** Bulk: eight tunnels at full speed, one direction after the other. */
export const relay: Axis = {
  name: 'relay',
  about: 'bytes in bulk through tunnels: CPU seconds per GB, down and up',
  async run(options) {
    const trials = await holdContest(
      {
        name: 'relay',
        rivals: ['sallyport', 'squid', 'bare'],
        scenario: { kind: 'relay', streams: 8, bytes: (options.quick ? 16 : 96) * 2 ** 20 },
        concurrency: 8,
        rounds: 3,
      },
      options,
    );
    return {
      tables: [
        {
          title: 'Relaying in bulk, 8 tunnels, CPU seconds per GB (10^9 bytes)',
          columns: [
            { key: 'rival', label: 'proxy' },
            { key: 'pull', label: 'to the client s/GB' },
            { key: 'ratio', label: 'over Sallyport' },
            { key: 'spread', label: '± %', digits: 2 },
            { key: 'best', label: 'best s/GB' },
            { key: 'push', label: 'from the client s/GB' },
            { key: 'pullRate', label: 'down GB/s' },
            { key: 'pushRate', label: 'up GB/s' },
          ],
          rows: withRatios(medians(trials, 'pull'), 'pull'),
          notes: ['Ratio, ± and best are those of the direction to the client.'],
        },
      ],
      trials,
    };
  },
};
