import type { Axis } from './support/axis.ts';
import { loopColumns, loopNotes } from './support/loop-table.ts';
import { holdContest, medians, withRatios } from './support/rounds.ts';

/** Refusals: what an agent that hammers on a closed door costs. */
export const deny: Axis = {
  name: 'deny',
  about: 'a refused CONNECT on a new connection: CPU per refusal, beside Squid and a bare relay',
  async run(options) {
    const window = options.quick ? { warmUp: 0.5, measured: 0.7 } : { warmUp: 1.2, measured: 1.6 };
    const trials = await holdContest(
      {
        name: 'deny',
        rivals: ['sallyport', 'squid', 'bare'],
        scenario: { kind: 'deny', ...window },
        concurrency: 64,
        rounds: 3,
      },
      options,
    );
    return {
      tables: [
        {
          title: 'Refused CONNECTs, each on a new connection',
          columns: loopColumns('refusal'),
          rows: withRatios(medians(trials, 'cpu'), 'cpu'),
          notes: [
            ...loopNotes,
            'Sallyport and Squid check the credential, decide, log and explain; the bare relay sends one line.',
          ],
        },
      ],
      trials,
    };
  },
};
