import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { makeDirectory } from './directory.ts';

/** A file with key material that cannot be used. The message names the file and says what to do. */
export class SecretFileError extends Error {
  override readonly name = 'SecretFileError';
}

const MAX_SIZE = 65_536;
/** How often, and how far apart in milliseconds, a lock that somebody else holds is tried. */
const LOCK_TRIES = 40;
const LOCK_WAIT = 50;

/**
 * The text of a file that only its owner may know; null if there is no such file. It must be a
 * regular file, not a symbolic link, and nobody but its owner may read or write it: all of that is
 * asked of the opened file, so that nothing can be put in its place in between.
 *
 * @throws SecretFileError if it is there but unsafe or unreadable
 */
export function readSecretFile(path: string): string | null {
  const fd = openSecretFile(path);
  if (fd === null) return null;
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new SecretFileError(`${path} is not a regular file.`);
    if ((stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
      throw new SecretFileError(
        `${path} can be read or written by others (mode ${mode}): run \`chmod 600 ${path}\`, and if anyone may have read it, put a new key in its place.`,
      );
    }
    if (stat.size > MAX_SIZE) throw new SecretFileError(`${path} is too large for a key file.`);
    return readFileSync(fd, 'latin1');
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes a file with this text, and the directory for it (mode 0700) if that is missing. Appears
 * whole or not at all. False if something of that name is there already: of processes that start
 * together exactly one gets true.
 *
 * @param mode 0600 unless the file is not secret
 * @throws SecretFileError if it cannot be made
 */
export function createSecretFile(path: string, text: string, mode = 0o600): boolean {
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`;
  try {
    makeDirectory(dirname(path), 0o700);
    writeWhole(temporary, text, mode);
    return linkOnce(temporary, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SecretFileError(`${path} cannot be made (${code}).`, { cause: error });
  }
}

/**
 * Puts a file with this text where there may be one already, and makes the directory (mode 0700) if
 * that is missing. Whoever reads sees the old text or the new one, whole.
 *
 * @param mode 0600 unless the file is not secret
 * @throws SecretFileError if it cannot be made
 */
export function replaceSecretFile(path: string, text: string | Buffer, mode = 0o600): void {
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`;
  try {
    makeDirectory(dirname(path), 0o700);
    writeWhole(temporary, text, mode);
    renameOver(temporary, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SecretFileError(`${path} cannot be made (${code}).`, { cause: error });
  }
}

/**
 * Puts another text in a secret file's place, mode 0600: whole or not at all. Of processes that do
 * so at the same time one goes after the other, so that no change is lost.
 *
 * @param change the present text → the new one
 * @throws SecretFileError if there is no such file, it is unsafe, cannot be replaced, or is locked for
 * more than two seconds; and whatever `change` throws
 */
export function changeSecretFile(path: string, change: (text: string) => string): void {
  whileLocked(path, () => {
    const text = readSecretFile(path);
    if (text === null) throw new SecretFileError(`${path} does not exist.`);
    replaceSecretFile(path, change(text));
  });
}

/**
 * Does work on a secret file, and on those that belong to it, while nobody else does: a lock file
 * beside it, `.lock`, sees to that.
 *
 * @throws SecretFileError if it is locked for more than two seconds; and whatever `work` throws
 */
export function whileLocked<T>(path: string, work: () => T): T {
  const lock = `${path}.lock`;
  for (let tries = 1; !createSecretFile(lock, ''); tries++) {
    if (tries === LOCK_TRIES) {
      throw new SecretFileError(
        `${path} is being changed by somebody else: if nobody is, remove ${lock}.`,
      );
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_WAIT);
  }
  try {
    return work();
  } finally {
    unlinkSync(lock);
  }
}

function openSecretFile(path: string): number | null {
  try {
    // Not blocking, so that a named pipe in the file's place cannot hold the start.
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    if (code === 'ELOOP') {
      throw new SecretFileError(`${path} is a symbolic link: put the file itself there.`);
    }
    throw new SecretFileError(`${path} cannot be read (${code}).`, { cause: error });
  }
}

function renameOver(temporary: string, path: string): void {
  try {
    renameSync(temporary, path);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
}

/** A name can be linked only once, which `rename` would not promise. */
function linkOnce(temporary: string, path: string): boolean {
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    unlinkSync(temporary);
  }
}

function writeWhole(path: string, text: string | Buffer, mode: number): void {
  const fd = openSync(path, 'wx', mode);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
