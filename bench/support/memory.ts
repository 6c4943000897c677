import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface Growth<T> {
  readonly made: T;
  /** Bytes of the heap and of array buffers that are held since. */
  readonly bytes: number;
  /** CPU milliseconds that it took, all threads. */
  readonly ms: number;
}

/** Makes something and says what it takes. Collects garbage before and after: slow on a big heap. */
export function measureGrowth<T>(make: () => T): Growth<T> {
  const before = heldBytes();
  const began = process.cpuUsage();
  const made = make();
  const { user, system } = process.cpuUsage(began);
  return { made, bytes: heldBytes() - before, ms: (user + system) / 1000 };
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heldBytes(): number {
  collectGarbage();
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
