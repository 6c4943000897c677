import type { RivalName, Window } from './network/trial-types.ts';
import type { Axis, BenchOptions, Table } from './support/axis.ts';
import { loopColumns } from './support/loop-table.ts';
import { holdContest, medians, type Trial, withRatios } from './support/rounds.ts';

const rivals: readonly RivalName[] = ['sallyport', 'squid', 'squidRsa', 'mitmproxy'];

const loops = [
  {
    part: 'handshake',
    operation: 'connection',
    title: 'Inspected connections: CONNECT, two TLS handshakes, one small GET, close',
  },
  {
    part: 'request',
    operation: 'request',
    title: 'Small inspected GETs, connections kept on both sides',
  },
] as const;

const concurrency = 32;

/** Operations until a compiler has little left to do; a busy machine does few of them in a second. */
const rehearsals = { handshake: 2_000, request: 40_000 } as const;

const notes: readonly string[] = [
  `${concurrency} at a time; medians of the rounds, ± is half their range, best the lowest. Where the load is busier than the proxy, rate and latency are those of the load: compare the CPU.`,
];

/** TLS that the proxy opens, judges and closes again. */
export const inspect: Axis = {
  name: 'inspect',
  about: 'inspected TLS: CPU per connection, request and GB, beside Squid and mitmproxy',
  async run(options) {
    const tables: Table[] = [];
    const all: Trial[] = [];
    for (const { part, operation, title } of loops) {
      const trials = await loopContest(part, options);
      all.push(...trials);
      const rows = withRatios(medians(trials, 'cpu'), 'cpu');
      tables.push({ title, columns: loopColumns(operation), rows, notes });
    }
    const trials = await bulkContest(options);
    all.push(...trials);
    tables.push(bulkTable(trials));
    return { tables, trials: all };
  },
};

async function loopContest(part: 'handshake' | 'request', options: BenchOptions): Promise<Trial[]> {
  const window: Window = options.quick
    ? { warmUp: 0.8, measured: 0.8 }
    : { warmUp: 4, rehearsal: rehearsals[part], measured: 3 };
  const scenario = { kind: 'inspect', part, ...window } as const;
  const name = `inspect ${part}`;
  return await holdContest({ name, rivals, scenario, concurrency, rounds: 3 }, options);
}

async function bulkContest(options: BenchOptions): Promise<Trial[]> {
  const streams = 8;
  const bytes = (options.quick ? 8 : 48) * 2 ** 20;
  const scenario = { kind: 'inspect', part: 'bulk', streams, bytes } as const;
  const contest = { name: 'inspect bulk', rivals, scenario, concurrency: streams, rounds: 3 };
  return await holdContest(contest, options);
}

function bulkTable(trials: readonly Trial[]): Table {
  return {
    title: 'Inspected downloads, 8 at a time, CPU seconds per GB (10^9 bytes)',
    columns: [
      { key: 'rival', label: 'proxy' },
      { key: 'pull', label: 'to the client s/GB' },
      { key: 'ratio', label: 'over Sallyport' },
      { key: 'spread', label: '± %', digits: 2 },
      { key: 'best', label: 'best s/GB' },
      { key: 'pullRate', label: 'GB/s' },
    ],
    rows: withRatios(medians(trials, 'pull'), 'pull'),
  };
}
