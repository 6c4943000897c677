import { median } from './stats.ts';

/** What one call of a function costs. */
export interface MicroFigure {
  /** CPU nanoseconds of the whole process, so with the collection of its garbage. */
  readonly ns: number;
  /** Bytes that it leaves on the heap for the garbage collector. */
  readonly bytes: number;
}

/** Called with a number that counts up, to pick the next input. What it returns is looked at and dropped. */
export type Operation = (turn: number) => unknown;

/** Milliseconds of CPU; a batch is long enough that reading the clock does not count. */
const batchMs = 20;
const allocationTurns = 500;

/**
 * Runs an operation until it is compiled, then in batches; the median of the batches counts. Time
 * taken from us by others on the machine does not, because CPU time is measured.
 */
export function measure(operation: Operation, quick = false): MicroFigure {
  const turns = calibrate(operation, quick ? 60 : 300);
  const batches: number[] = [];
  for (let batch = 0; batch < (quick ? 5 : 15); batch++) {
    batches.push((1e6 * cpuMsOf(operation, turns)) / turns);
  }
  return { ns: median(batches), bytes: bytesOf(operation) };
}

/** Warms up for about `warmUpMs` of CPU and finds how many turns make a batch. */
function calibrate(operation: Operation, warmUpMs: number): number {
  let turns = 16;
  let spent = 0;
  for (;;) {
    const took = cpuMsOf(operation, turns);
    spent += took;
    if (took >= batchMs / 2 && spent >= warmUpMs) return Math.ceil((turns * batchMs) / took);
    if (took < batchMs) turns *= 2;
  }
}

function cpuMsOf(operation: Operation, turns: number): number {
  const before = process.cpuUsage();
  for (let turn = 0; turn < turns; turn++) keep(operation(turn));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** A collection in between makes a sample negative; such samples are dropped. */
function bytesOf(operation: Operation): number {
  const samples: number[] = [];
  for (let sample = 0; sample < 25; sample++) {
    const before = process.memoryUsage().heapUsed;
    for (let turn = 0; turn < allocationTurns; turn++) keep(operation(turn));
    const grown = process.memoryUsage().heapUsed - before;
    if (grown >= 0) samples.push(grown / allocationTurns);
  }
  return Math.round(median(samples.length === 0 ? [0] : samples));
}

const never = Symbol('never');

/** Looks at a result, so that the engine may not leave the work away. */
function keep(value: unknown): void {
  if (value === never) throw new Error('unreachable');
}
