import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import process from 'node:process';
import { bare } from '../rivals/bare.ts';
import { type Rival, RunningRival } from '../rivals/rival.ts';
import { sallyport } from '../rivals/sallyport.ts';
import { squid } from '../rivals/squid.ts';
import { ClosedLoop, type Done } from './closed-loop.ts';
import { connectLoad, denyLoad } from './load-connect.ts';
import { httpLoad } from './load-http.ts';
import { measureIdle } from './load-idle.ts';
import { measureRelay } from './load-relay.ts';
import { Meter } from './meter.ts';
import type { Figures, RivalName, TrialResult, TrialSpec, Window } from './trial-types.ts';

/**
 * One trial, inside its namespace: starts an origin and a rival, is the load itself, prints one
 * `TrialResult`. Argument: a `TrialSpec` as JSON.
 */

const rivals: Readonly<Record<RivalName, Rival>> = { sallyport, squid, bare };

try {
  const result = await runTrial(JSON.parse(process.argv[2] ?? '') as TrialSpec);
  process.stdout.write(JSON.stringify(result));
  process.exit(0);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}

async function runTrial(spec: TrialSpec): Promise<TrialResult> {
  const origin = await startOrigin();
  const proxy = await RunningRival.start(rivals[spec.rival], spec);
  const meter = new Meter(proxy.pid, origin.pid ?? 0);
  const figures = await measure(spec, meter);
  await proxy.stop();
  return { figures, logLines: proxy.countLogLines() };
}

async function startOrigin(): Promise<ChildProcess> {
  const origin = fork(path.join(import.meta.dirname, 'origin.ts'), { stdio: 'inherit' });
  await once(origin, 'message');
  return origin;
}

async function measure(spec: TrialSpec, meter: Meter): Promise<Figures> {
  const { scenario, concurrency } = spec;
  switch (scenario.kind) {
    case 'connect':
      return await loop(await connectLoad(scenario.entry), concurrency, scenario, meter);
    case 'deny':
      return await loop(denyLoad(), concurrency, scenario, meter);
    case 'http':
      return await loop(httpLoad(), concurrency, scenario, meter);
    case 'relay':
      return await measureRelay(scenario.streams, scenario.bytes, meter);
    case 'idle':
      return await measureIdle(scenario.counts, concurrency, meter);
  }
}

/** `cpu`: microseconds per operation; `rate`: per second; waits in milliseconds; the rest in percent. */
async function loop(
  operation: (turn: number, done: Done) => void,
  concurrency: number,
  window: Window,
  meter: Meter,
): Promise<Figures> {
  const result = await new ClosedLoop(operation, meter).run(concurrency, window);
  const { reading, operations, failures, p50, p99 } = result;
  if (operations === 0) throw new Error('nothing went through');
  return {
    cpu: reading.proxy / 1000 / operations,
    rate: operations / reading.seconds,
    p50,
    p99,
    operations,
    failures,
    proxyBusy: reading.proxy / 1e7 / reading.seconds,
    loadBusy: reading.load / 1e7 / reading.seconds,
    othersBusy: reading.others / 10 / reading.seconds,
  };
}
