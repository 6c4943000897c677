import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import type { Clock } from '../core/clock.ts';
import { FileStamp } from '../core/file-stamp.ts';
import type { SecretReports } from './secret-reports.ts';
import {
  type HeldSecret,
  type SecretReceiver,
  secretProblem,
  withoutLineEnd,
} from './secret-source.ts';

/** Bytes: the longest secret, its line end, and one more that shows that it is too long. */
const mostBytes = 8192 + 3;

/** Milliseconds between two attempts to read a file that is no good. */
const retryEvery = 1000;

/** What was read; the secret is null if it must not be used. */
interface ReadSecret {
  readonly secret: string | null;
  /** The end of a sentence: why it is null, or why others may know it. */
  readonly why: string | null;
}

/**
 * A secret in a file, read again when that has changed: looked at once a second at most, when somebody
 * asks. Once the file is gone or no good, the secret is not used any more. Symbolic links are followed,
 * because Kubernetes changes mounted secrets by changing a link; and it mounts them readable by all
 * (0644), so that is only told. A file that others may write is refused.
 */
export class FileSecret implements HeldSecret {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #reports: SecretReports;
  #stamp: FileStamp;
  #secret: string | null = null;
  #readAt = Number.NEGATIVE_INFINITY;

  /** @param path absolute. */
  constructor(path: string, clock: Clock, reports: SecretReports) {
    this.#path = path;
    this.#clock = clock;
    this.#reports = reports;
    this.#stamp = new FileStamp(path, clock);
    this.#look();
  }

  get(done: SecretReceiver): void {
    this.#look();
    done(this.#secret);
  }

  reload(): void {
    this.#stamp = new FileStamp(this.#path, this.#clock);
    this.#look();
  }

  close(): void {
    this.#secret = null;
  }

  #look(): void {
    const now = this.#clock.monotonic();
    // What could not be read may be readable now, and have the same stamp.
    const retry = this.#secret === null && now - this.#readAt >= retryEvery;
    if (!this.#stamp.changed() && !retry) return;
    this.#readAt = now;
    const { secret, why } = read(this.#path);
    this.#secret = secret;
    if (secret === null) this.#reports.failed(why ?? 'cannot be read', false);
    else this.#reports.read(why);
  }
}

function read(path: string): ReadSecret {
  let fd: number;
  try {
    // Not blocking, so that a named pipe in the file's place holds up nobody.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    return { secret: null, why: failure(error) };
  }
  try {
    const { mode } = fstatSync(fd);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) {
      return { secret: null, why: 'is not a regular file' };
    }
    if ((mode & 0o022) !== 0) {
      return { secret: null, why: 'can be written by others: run `chmod go-w` on it' };
    }
    const secret = withoutLineEnd(readBytes(fd));
    const problem = secretProblem(secret);
    if (problem !== null) return { secret: null, why: problem };
    return { secret, why: (mode & 0o044) === 0 ? null : exposure(mode) };
  } catch (error) {
    return { secret: null, why: failure(error) };
  } finally {
    closeSync(fd);
  }
}

function exposure(mode: number): string {
  const text = (mode & 0o777).toString(8).padStart(4, '0');
  return `can be read by others (mode ${text}): run \`chmod 600\` on it, unless it is a mount that nobody else can reach`;
}

function failure(error: unknown): string {
  return `cannot be read (${(error as NodeJS.ErrnoException).code})`;
}

function readBytes(fd: number): Buffer {
  const bytes = Buffer.alloc(mostBytes);
  let length = 0;
  for (;;) {
    const count = readSync(fd, bytes, length, bytes.length - length, null);
    length += count;
    if (count === 0 || length === bytes.length) return bytes.subarray(0, length);
  }
}
