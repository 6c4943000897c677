import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { findSquid } from '../rivals/squid.ts';

/** Where and with what the figures were made. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  /** Null if it is not installed. */
  readonly squid: string | null;
  /** Runnable processes over the last minute: with more than a fraction of one, others were busy too. */
  readonly load: number;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    squid: squidVersion(),
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  };
}

function squidVersion(): string | null {
  const squid = findSquid();
  if (squid === null) return null;
  const output = execFileSync(squid, ['-v'], { encoding: 'utf8' });
  return /Version ([^\s]+)/u.exec(output)?.[1] ?? 'unknown';
}

/** The machine in one line, for the head of a report. */
export function machineLine(machine: Machine): string {
  const { cpu, cores, memoryGiB, kernel, node, squid, load } = machine;
  const rival = squid === null ? 'no squid' : `Squid ${squid}`;
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}, ${rival}, load ${load}`;
}
