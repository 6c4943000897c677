import fs from 'node:fs';
import path from 'node:path';
import type { Clock } from '../core/clock.ts';
import { makeDirectory } from '../core/directory.ts';
import { writeFully } from './descriptor.ts';

const { O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_RDWR, O_WRONLY } = fs.constants;

/**
 * The owner writes, the group reads: a log shipper needs membership in one group, not root, and
 * nobody else learns where agents go. The umask may narrow it further.
 */
const fileMode = 0o640;
const directoryMode = 0o750;

/** Milliseconds between two looks at whether the path still names the open file. */
const checkInterval = 1000;

/** Milliseconds for which a write may wait for the reader of a full pipe. */
const pipePatience = 100;

const newline = 0x0a;

/**
 * Where lines go: a file, a named pipe, a device, or standard output. Written by plain
 * fs.writeSync: pino's destination (sonic-boom) tells of a failed synchronous write only by an
 * 'error' event, keeps the failed text and sends it with the next one, and does not see that the
 * file was renamed or deleted. Here a line that was refused must be known to be refused at once,
 * and must not turn up later.
 *
 * Several workers may each have the same file open: O_APPEND keeps their lines whole.
 */
export class LogFile {
  readonly #path: string;
  readonly #clock: Clock;
  #fd = -1;
  #regular = false;
  #device = 0;
  #inode = 0;
  #nextCheck = 0;
  #torn = false;
  #error: NodeJS.ErrnoException | null = null;
  #keptLines = 0;

  /** `target`: path of the file, or `-` for standard output. Does not throw: see `error`. */
  constructor(target: string, clock: Clock) {
    this.#path = target;
    this.#clock = clock;
    this.reopen();
  }

  /** Why the last write or opening failed; null if it did not. */
  get error(): NodeJS.ErrnoException | null {
    return this.#error;
  }

  /** After an `append` that returned false: how many whole lines of it are in the file all the same. */
  get keptLines(): number {
    return this.#keptLines;
  }

  /**
   * Appends whole lines in one write(2). True once the kernel has all of them. On false nothing
   * of them is in the file, but for `keptLines` of a pipe or device, from which nothing can be
   * taken back. Reopens first if the file could not be opened before or, looked at once a second,
   * was moved or deleted.
   */
  append(lines: string): boolean {
    this.#keptLines = 0;
    if (this.#clock.monotonic() >= this.#nextCheck) this.check();
    if (this.#fd === -1) this.reopen();
    if (this.#fd === -1 || !this.#endTornLine()) return false;
    try {
      const written = fs.writeSync(this.#fd, lines);
      if (written === Buffer.byteLength(lines)) {
        this.#error = null;
        return true;
      }
      return this.#finish(Buffer.from(lines), written);
    } catch (error) {
      return this.#retry(Buffer.from(lines), error as NodeJS.ErrnoException);
    }
  }

  /** Reopens if nothing is open, or if the path no longer names what is. */
  check(): void {
    this.#nextCheck = this.#clock.monotonic() + checkInterval;
    if (this.#fd === -1 || !this.#isCurrent()) this.reopen();
  }

  /** Closes, and opens what the path names now, making its directory if it is missing. */
  reopen(): void {
    this.close();
    this.#nextCheck = this.#clock.monotonic() + checkInterval;
    try {
      this.#fd = this.#path === '-' ? openStandardOutput() : openPath(this.#path);
      const stat = fs.fstatSync(this.#fd);
      this.#regular = stat.isFile() && this.#path !== '-';
      this.#device = stat.dev;
      this.#inode = stat.ino;
      this.#torn = this.#regular && stat.size > 0 && this.#byteAt(stat.size - 1) !== newline;
      this.#error = null;
    } catch (error) {
      this.close();
      this.#error = error as NodeJS.ErrnoException;
    }
  }

  close(): void {
    if (this.#fd > 2) fs.closeSync(this.#fd);
    this.#fd = -1;
  }

  #isCurrent(): boolean {
    if (this.#path === '-') return true;
    try {
      const stat = fs.statSync(this.#path);
      return stat.ino === this.#inode && stat.dev === this.#device;
    } catch {
      return false;
    }
  }

  /** A line that broke off (here, or by the death of an earlier process) must not swallow the next one. */
  #endTornLine(): boolean {
    if (!this.#torn) return true;
    const { error } = writeFully(this.#fd, Buffer.of(newline), 0);
    this.#error = error;
    this.#torn = error !== null;
    return error === null;
  }

  /** The kernel took none: worth waiting only for a pipe that worked until now. */
  #retry(data: Buffer, error: NodeJS.ErrnoException): boolean {
    if (error.code === 'EAGAIN' && this.#error === null) return this.#finish(data, 0);
    return this.#fail(data, 0, error);
  }

  /** The kernel took a part: it is asked to take the rest. */
  #finish(data: Buffer, from: number): boolean {
    const patience = this.#error === null ? pipePatience : 0;
    const { written, error } = writeFully(this.#fd, data.subarray(from), patience);
    if (error !== null) return this.#fail(data, from + written, error);
    this.#error = null;
    return true;
  }

  #fail(data: Buffer, written: number, error: NodeJS.ErrnoException): false {
    this.#error = error;
    if (written === 0 || this.#takeBack(data.subarray(0, written))) return false;
    const wholeLines = data.subarray(0, data.lastIndexOf(newline, written - 1) + 1);
    this.#torn = wholeLines.length < written;
    this.#keptLines = countLines(wholeLines);
    return false;
  }

  /**
   * Cuts a part of a line off the end of the file, so that it neither garbles the next line nor
   * claims what did not happen. Only if it is the end: another worker may have written since.
   */
  #takeBack(part: Buffer): boolean {
    if (!this.#regular) return false;
    try {
      const { size } = fs.fstatSync(this.#fd);
      const end = Buffer.alloc(part.length);
      fs.readSync(this.#fd, end, 0, end.length, size - end.length);
      if (!end.equals(part)) return false;
      fs.ftruncateSync(this.#fd, size - part.length);
      return true;
    } catch {
      return false;
    }
  }

  #byteAt(position: number): number | undefined {
    const byte = Buffer.alloc(1);
    return fs.readSync(this.#fd, byte, 0, 1, position) === 1 ? byte[0] : undefined;
  }
}

/**
 * O_RDWR because a torn line is looked at before it is cut off; a named pipe must be O_WRONLY, or
 * its missing reader would go unnoticed. O_NONBLOCK so that a pipe never stops the event loop.
 */
function openPath(file: string): number {
  makeDirectory(path.dirname(file), directoryMode);
  const pipe = fs.statSync(file, { throwIfNoEntry: false })?.isFIFO() === true;
  const access = pipe ? O_WRONLY : O_RDWR | O_CREAT;
  return fs.openSync(file, access | O_APPEND | O_NONBLOCK | O_NOCTTY, fileMode);
}

/**
 * A pipe on standard output is opened once more for ourselves, non-blocking: the flag would
 * otherwise change for everybody who shares the descriptor. Anything else is used as it is; a socket
 * (journald) cannot be opened again, so that its reader, should it stall, stalls us.
 */
function openStandardOutput(): number {
  if (!fs.fstatSync(1).isFIFO()) return 1;
  try {
    return fs.openSync('/dev/fd/1', O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY);
  } catch {
    return 1;
  }
}

function countLines(data: Buffer): number {
  let lines = 0;
  for (let at = data.indexOf(newline); at !== -1; at = data.indexOf(newline, at + 1)) lines++;
  return lines;
}
