import process from 'node:process';
import { parseArgs } from 'node:util';
import { connect } from './connect.ts';
import { deny } from './deny.ts';
import { headAxis } from './head.ts';
import { hello } from './hello.ts';
import { http } from './http.ts';
import { identity } from './identity.ts';
import { idle } from './idle.ts';
import { inspect } from './inspect.ts';
import { leaves } from './leaves.ts';
import { logLine } from './log-line.ts';
import { matcher } from './matcher.ts';
import { relay } from './relay.ts';
import type { Axis, BenchOptions } from './support/axis.ts';
import { describeMachine, machineLine } from './support/machine.ts';
import { saveResult } from './support/results.ts';
import { renderTable } from './support/table.ts';

const axes: readonly Axis[] = [
  matcher,
  headAxis,
  hello,
  identity,
  leaves,
  logLine,
  connect,
  deny,
  http,
  inspect,
  relay,
  idle,
];

const usage = `Usage: npm run bench -- [options] [axis…]

Measures Sallyport, and its rivals in the same run. Without an axis: all of them, about twelve minutes.

${axes.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join('\n')}

Options:
  --quick        short windows and one round: to see that all works, not to quote
  --rounds N     rounds of every network trial
  --no-save      write no files to bench/results
  --cpu-prof DIR V8 CPU profiles of Sallyport in the network trials; makes its figures too high
  --help

Example:
  npm run bench -- --quick connect idle
`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  const parsed = readArguments(args);
  if (parsed === null) {
    process.stderr.write(usage);
    return 2;
  }
  if (parsed.help) {
    process.stdout.write(usage);
    return 0;
  }
  const machine = describeMachine();
  process.stdout.write(`${machineLine(machine)}\n`);
  let failed = false;
  for (const axis of parsed.chosen) {
    try {
      const result = await axis.run(parsed.options);
      for (const table of result.tables) process.stdout.write(`\n${renderTable(table)}\n`);
      if (parsed.save) progress(`saved ${saveResult(axis, result, machine, new Date())}`);
    } catch (error) {
      failed = true;
      process.stderr.write(`${axis.name}: ${(error as Error).message}\n`);
    }
  }
  return failed ? 1 : 0;
}

interface Arguments {
  readonly help: boolean;
  readonly save: boolean;
  readonly chosen: readonly Axis[];
  readonly options: BenchOptions;
}

/** Null if they are wrong; what is wrong has been said then. */
function readArguments(args: string[]): Arguments | null {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        quick: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        'no-save': { type: 'boolean', default: false },
        'cpu-prof': { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
    return {
      help: values.help,
      // Quick figures and profiled ones are not for keeping.
      save: !values['no-save'] && !values.quick && values['cpu-prof'] === undefined,
      chosen: positionals.length === 0 ? axes : positionals.map(axisOf),
      options: {
        quick: values.quick,
        rounds: values.rounds === undefined ? undefined : roundsOf(values.rounds),
        profile: values['cpu-prof'],
        progress,
      },
    };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n`);
    return null;
  }
}

function axisOf(name: string): Axis {
  const found = axes.find((axis) => axis.name === name);
  if (found === undefined) throw new Error(`there is no axis ${JSON.stringify(name)}.`);
  return found;
}

function roundsOf(text: string): number {
  if (!/^[1-9]\d?$/u.test(text)) throw new Error('--rounds wants a number from 1 to 99.');
  return Number(text);
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}
