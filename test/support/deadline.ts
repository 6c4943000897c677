import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds that a test waits for what must happen. Long: only a failing test waits it out. */
export const patience = 5000;

/** Waits for `condition`, looking every few milliseconds; fails with what `describe` then says. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  describe: () => string,
  deadline = patience,
): Promise<void> {
  const end = performance.now() + deadline;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not after ${deadline} ms: ${describe()}`);
    await sleep(5);
  }
}
