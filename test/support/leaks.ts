import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What this process holds open. */
export interface Holdings {
  /** File descriptors: sockets that connect, listen or are open, files, pipes. */
  readonly descriptors: number;
  /** Timers that keep the process alive. */
  readonly timers: number;
}

const LOOKS = 200;
const LOOK_EVERY_MS = 10;
/** Equal looks in a row that count as rest. */
const REST = 3;

export function holdings(): Holdings {
  const kinds = process.getActiveResourcesInfo();
  return {
    descriptors: readdirSync('/dev/fd').length,
    timers: kinds.filter((kind) => kind === 'Timeout').length,
  };
}

/** Holdings once they stand still, so that what an earlier test still closes is not in them. */
export async function holdingsAtRest(): Promise<Holdings> {
  let last = holdings();
  for (let looks = 0, equal = 0; looks < LOOKS && equal < REST; looks++) {
    await sleep(LOOK_EVERY_MS);
    const now = holdings();
    equal = sameHoldings(now, last) ? equal + 1 : 0;
    last = now;
  }
  return last;
}

/** Waits up to two seconds for the holdings to come back to `before`; throws if they do not. */
export async function assertNothingLeft(before: Holdings): Promise<void> {
  for (let looks = 0; looks < LOOKS && !sameHoldings(holdings(), before); looks++) {
    await sleep(LOOK_EVERY_MS);
  }
  assert.deepEqual(holdings(), before);
}

function sameHoldings(a: Holdings, b: Holdings): boolean {
  return a.descriptors === b.descriptors && a.timers === b.timers;
}
