import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { bare } from '../rivals/bare.ts';
import { mitmproxy } from '../rivals/mitmproxy.ts';
import { type Rival, RunningRival } from '../rivals/rival.ts';
import { sallyport } from '../rivals/sallyport.ts';
import { squid, squidRsa } from '../rivals/squid.ts';
import { ClosedLoop, type Done } from './closed-loop.ts';
import { connectLoad, denyLoad } from './load-connect.ts';
import { httpLoad } from './load-http.ts';
import { measureIdle } from './load-idle.ts';
import {
  handshakeLoad,
  InspectedClient,
  measureInspectedBulk,
  requestLoad,
} from './load-inspect.ts';
import { measureRelay } from './load-relay.ts';
import { Meter } from './meter.ts';
import { makeOriginCertificate } from './origin-certificate.ts';
import type {
  Figures,
  InspectScenario,
  RivalName,
  TrialResult,
  TrialSpec,
  Window,
} from './trial-types.ts';

/**
 * One trial, inside its namespace: starts an origin and a rival, is the load itself, prints one
 * `TrialResult`. Argument: a `TrialSpec` as JSON.
 */

const rivals: Readonly<Record<RivalName, Rival>> = { sallyport, squid, squidRsa, mitmproxy, bare };

try {
  const result = await runTrial(JSON.parse(process.argv[2] ?? '') as TrialSpec);
  process.stdout.write(JSON.stringify(result));
  process.exit(0);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}

async function runTrial(spec: TrialSpec): Promise<TrialResult> {
  const rival = rivals[spec.rival];
  const origin = await startOrigin(spec);
  const proxy = await RunningRival.start(rival, spec);
  const meter = new Meter(proxy.pid, origin.pid ?? 0);
  const figures = await measure(spec, meter, authorityOf(rival, spec));
  await proxy.stop();
  return { figures, logLines: proxy.countLogLines() };
}

async function startOrigin({ scenario, directory }: TrialSpec): Promise<ChildProcess> {
  const inspected = scenario.kind === 'inspect';
  if (inspected) makeOriginCertificate(directory);
  const program = path.join(import.meta.dirname, 'origin.ts');
  const origin = fork(program, inspected ? [directory] : [], { stdio: 'inherit' });
  await once(origin, 'message');
  return origin;
}

/** What clients of an inspecting rival have to trust, PEM. */
function authorityOf({ authorityFile }: Rival, { scenario, directory }: TrialSpec): string {
  if (scenario.kind !== 'inspect') return '';
  if (authorityFile === null) throw new Error('this rival does not inspect');
  return readFileSync(path.join(directory, authorityFile), 'latin1');
}

async function measure(spec: TrialSpec, meter: Meter, authority: string): Promise<Figures> {
  const { scenario, concurrency } = spec;
  switch (scenario.kind) {
    case 'connect':
      return await loop(await connectLoad(scenario.entry), concurrency, scenario, meter);
    case 'deny':
      return await loop(denyLoad(), concurrency, scenario, meter);
    case 'http':
      return await loop(httpLoad(), concurrency, scenario, meter);
    case 'inspect':
      return await measureInspection(scenario, authority, concurrency, meter);
    case 'relay':
      return await measureRelay(scenario.streams, scenario.bytes, meter);
    case 'idle':
      return await measureIdle(scenario.counts, concurrency, meter);
  }
}

async function measureInspection(
  scenario: InspectScenario,
  authority: string,
  concurrency: number,
  meter: Meter,
): Promise<Figures> {
  const client = new InspectedClient(authority);
  if (scenario.part === 'bulk') {
    return await measureInspectedBulk(client, scenario.streams, scenario.bytes, meter);
  }
  const operation = scenario.part === 'handshake' ? handshakeLoad(client) : requestLoad(client);
  const figures = await loop(operation, concurrency, scenario, meter);
  client.close();
  return figures;
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
