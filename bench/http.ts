import type { Axis } from './support/axis.ts';
import { loopColumns, loopNotes } from './support/loop-table.ts';
import { holdContest, medians, withRatios } from './support/rounds.ts';

/** Plain HTTP: small requests in absolute-form on connections that are kept. */
export const http: Axis = {
  name: 'http',
  about: 'a small plain GET on a kept connection: CPU per request, beside Squid',
  async run(options) {
    const window = options.quick ? { warmUp: 0.6, measured: 0.8 } : { warmUp: 1.6, measured: 2 };
    const trials = await holdContest(
      {
        name: 'http',
        rivals: ['sallyport', 'squid'],
        scenario: { kind: 'http', ...window },
        concurrency: 64,
        rounds: 3,
      },
      options,
    );
    return {
      tables: [
        {
          title: 'Small GETs in absolute-form, connections kept on both sides',
          columns: loopColumns('request'),
          rows: withRatios(medians(trials, 'cpu'), 'cpu'),
          notes: loopNotes,
        },
      ],
      trials,
    };
  },
};
