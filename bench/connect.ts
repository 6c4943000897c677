import type { Axis, BenchOptions, Table } from './support/axis.ts';
import { loopColumns, loopNotes } from './support/loop-table.ts';
import { holdContest, medians, type Trial, withRatios } from './support/rounds.ts';

const entries = [
  ['tcp', 'a `tcp` entry: 206 bytes there and back'],
  ['https', 'an `https` entry: a real ClientHello there, a first flight back'],
] as const;

/** Tunnels: CONNECT, one exchange, close. */
export const connect: Axis = {
  name: 'connect',
  about: 'CONNECT, one small exchange, close: CPU per tunnel, beside Squid and a bare Node relay',
  async run(options) {
    const tables: Table[] = [];
    const all: Trial[] = [];
    for (const [entry, title] of entries) {
      const trials = await contest(entry, options);
      all.push(...trials);
      tables.push({
        title: `Tunnels to ${title}`,
        columns: loopColumns('tunnel'),
        rows: withRatios(medians(trials, 'cpu'), 'cpu'),
        notes: loopNotes,
      });
    }
    return { tables, trials: all };
  },
};

async function contest(entry: 'tcp' | 'https', options: BenchOptions): Promise<Trial[]> {
  const window = options.quick ? { warmUp: 0.6, measured: 0.8 } : { warmUp: 1.6, measured: 2.4 };
  return await holdContest(
    {
      name: `connect ${entry}`,
      rivals: ['sallyport', 'squid', 'bare'],
      scenario: { kind: 'connect', entry, ...window },
      concurrency: 64,
      rounds: 3,
    },
    options,
  );
}
