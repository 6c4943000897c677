import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import type { Server } from 'node:net';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';

/**
 * Listens on a Unix socket that is never there with other permissions than asked for: it is made in
 * a directory of its own that nobody else can enter, gets its permissions there, and is then moved
 * to its place, over what a proxy that was killed has left.
 *
 * @param mode permission bits: who may write to the socket may connect
 * @returns takes the socket away again, unless another one has come into its place
 * @throws the system error; EADDRINUSE also if what is there is not a dead socket
 */
export async function listenOnPath(
  server: Server,
  path: string,
  mode: number,
): Promise<() => void> {
  await assertFree(path);
  const directory = mkdtempSync(join(dirname(path), '.sp-'));
  try {
    const made = join(directory, 's');
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path: made, backlog: 4096 }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    chmodSync(made, mode);
    const { ino } = statSync(made);
    renameSync(made, path);
    return () => remove(path, ino);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Nothing is there, or a socket at which nobody listens any more. */
async function assertFree(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (found.isSocket() && !(await isAnswered(path))) return;
  throw Object.assign(new Error(`${path} is taken`), { code: 'EADDRINUSE' });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}

function remove(path: string, ino: number): void {
  try {
    if (lstatSync(path).ino === ino) unlinkSync(path);
  } catch {
    // Gone already.
  }
}
