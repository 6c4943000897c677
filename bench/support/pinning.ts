import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { TrialSpec } from '../network/trial-types.ts';

/**
 * One processor for the proxy and all the others for load and origin. Null with a single processor
 * or without `taskset`: then nothing is pinned.
 */
export function choosePinning(): TrialSpec['pinning'] {
  const [proxy, ...load] = allowedProcessors();
  if (proxy === undefined || load.length === 0) return null;
  if (spawnSync('taskset', ['-c', String(proxy), 'true']).status !== 0) return null;
  return { proxy: String(proxy), load: load.join(',') };
}

/** `command` as it is, or held on these processors. */
export function pinned(processors: string | undefined, command: readonly string[]): string[] {
  return processors === undefined ? [...command] : ['taskset', '-c', processors, ...command];
}

/** proc(5), Cpus_allowed_list: `0-3,8`. */
function allowedProcessors(): number[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  const list = /^Cpus_allowed_list:\s+(\S+)$/mu.exec(status)?.[1] ?? '';
  return list.split(',').flatMap((part) => {
    const [from = 0, to = from] = part.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, at) => from + at);
  });
}
