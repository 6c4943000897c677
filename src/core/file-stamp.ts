import { statSync } from 'node:fs';
import type { Clock } from './clock.ts';

/** Milliseconds during which a file is not looked at again. */
const LOOK_EVERY_MS = 1000;
const ABSENT = 'absent';

/**
 * Notices that a small file (/etc/hosts, a key, a certificate) became another one. It asks
 * instead of watching: such files are bind-mounted, renamed over and rewritten in place, and
 * inotify misses some of that. One `stat` a second at most, only while somebody asks.
 */
export class FileStamp {
  readonly #path: string;
  readonly #clock: Clock;
  #stamp: string | null = null;
  #nextLook = Number.NEGATIVE_INFINITY;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /** True at the first call, and whenever the file appeared, vanished or changed since the last one. */
  changed(): boolean {
    const now = this.#clock.monotonic();
    if (now < this.#nextLook) return false;
    this.#nextLook = now + LOOK_EVERY_MS;
    const before = this.#stamp;
    this.#stamp = stampOf(this.#path);
    return this.#stamp !== before;
  }
}

/** A file that cannot be looked at is the same as none. */
function stampOf(path: string): string {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
    return `${dev}:${ino}:${size}:${mtimeMs}:${ctimeMs}`;
  } catch {
    return ABSENT;
  }
}
