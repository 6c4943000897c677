import fs from 'node:fs';

/** Milliseconds between two tries while a pipe is full. */
const pause = 5;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

export interface WriteResult {
  /** Bytes that the kernel took. */
  readonly written: number;
  /** Why it took no more; null if it took everything. */
  readonly error: NodeJS.ErrnoException | null;
}

/**
 * Writes all of `data` with as few write(2) calls as the kernel needs: one, unless the disk or a
 * pipe is full. A full non-blocking pipe (EAGAIN) is tried again for `patience` milliseconds, which
 * block the thread. Never throws.
 */
export function writeFully(fd: number, data: Uint8Array, patience: number): WriteResult {
  let written = 0;
  let left = patience;
  while (written < data.length) {
    try {
      written += fs.writeSync(fd, data, written);
    } catch (thrown) {
      const error = thrown as NodeJS.ErrnoException;
      if (error.code !== 'EAGAIN' || left <= 0) return { written, error };
      Atomics.wait(sleeper, 0, 0, pause);
      left -= pause;
    }
  }
  return { written, error: null };
}
