import { type FSWatcher, watch } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Quiet time after the last event before the files are read: a checkout writes many. */
const quietMs = 60;
/** Longest wait under a steady stream of events. */
const longestWaitMs = 400;
/** Between two looks at the files, for file systems that send no events. */
const pollMs = 500;

/**
 * Tells when anything below a directory has changed: editors' atomic renames, git checkouts, and
 * the symlink swaps of Kubernetes' config maps. Events of the file system make it quick; comparing
 * names, sizes, times and inodes twice a second makes it certain.
 */
export class Watcher {
  readonly #root: string;
  readonly #changed: () => void;
  readonly #watchers = new Map<string, FSWatcher>();
  #stamp = '';
  #poll: NodeJS.Timeout | null = null;
  #quiet: NodeJS.Timeout | null = null;
  #firstEventAt = 0;
  #looking = false;
  /** Something happened to a file since the last look: what is there may have been away meanwhile. */
  #touched = false;
  #closed = false;

  constructor(root: string, changed: () => void) {
    this.#root = root;
    this.#changed = changed;
  }

  /** Begins to watch; what is there now counts as known. */
  async start(): Promise<void> {
    this.#stamp = await this.#look();
    this.#poll = setInterval(() => void this.#compare(), pollMs);
    this.#poll.unref();
  }

  close(): void {
    this.#closed = true;
    if (this.#poll !== null) clearInterval(this.#poll);
    if (this.#quiet !== null) clearTimeout(this.#quiet);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** @param name of the file; null where the system does not tell. */
  #event(name: string | null): void {
    if (this.#closed) return;
    if (name?.startsWith('.') !== true) this.#touched = true;
    const now = performance.now();
    if (this.#quiet === null) this.#firstEventAt = now;
    else {
      if (now - this.#firstEventAt > longestWaitMs) return;
      clearTimeout(this.#quiet);
    }
    this.#quiet = setTimeout(() => {
      this.#quiet = null;
      void this.#compare();
    }, quietMs);
  }

  async #compare(): Promise<void> {
    if (this.#looking || this.#closed || this.#quiet !== null) return;
    this.#looking = true;
    const touched = this.#touched;
    this.#touched = false;
    const stamp = await this.#look();
    this.#looking = false;
    if (this.#closed || (stamp === this.#stamp && !touched)) return;
    this.#stamp = stamp;
    this.#changed();
  }

  /** One text that differs if anything differs. Watches the directories it meets. */
  async #look(): Promise<string> {
    const parts: string[] = [];
    const seen = new Set<string>();
    await this.#visit(this.#root, parts, seen);
    for (const [directory, watcher] of this.#watchers) {
      if (seen.has(directory)) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    return parts.join('\n');
  }

  async #visit(directory: string, parts: string[], seen: Set<string>): Promise<void> {
    try {
      const real = await realpath(directory);
      if (seen.has(real) || seen.size > 1_000) return;
      seen.add(real);
      // The link's own directory too: a swapped link is an event there.
      this.#watch(real);
      this.#watch(directory);
      seen.add(directory);
      const names = (await readdir(directory)).sort();
      for (const name of names) await this.#visitEntry(join(directory, name), name, parts, seen);
    } catch (error) {
      parts.push(`${directory} ${(error as NodeJS.ErrnoException).code}`);
    }
  }

  async #visitEntry(path: string, name: string, parts: string[], seen: Set<string>): Promise<void> {
    if (name.startsWith('.')) return;
    const info = await stat(path).catch(() => null);
    if (info === null) parts.push(`${path} gone`);
    else if (info.isDirectory()) await this.#visit(path, parts, seen);
    else parts.push(`${path} ${info.ino} ${info.size} ${info.mtimeMs} ${info.ctimeMs}`);
  }

  #watch(directory: string): void {
    if (this.#watchers.has(directory) || this.#closed) return;
    try {
      const watcher = watch(directory, { persistent: false }, (_, name) => this.#event(name));
      watcher.on('error', () => {
        watcher.close();
        this.#watchers.delete(directory);
      });
      this.#watchers.set(directory, watcher);
    } catch {
      // Out of watches, or gone again: the poll sees it.
    }
  }
}
