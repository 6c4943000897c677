import { randomBytes } from 'node:crypto';

/** Crockford's base 32: no I, L, O, U. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const TIME_CHARACTERS = 10;
const SOURCE_CHARACTERS = 12;
/** The last four characters count: 2^20 ids within one millisecond. */
const COUNTER_LIMIT = 2 ** 20;

/** Every two characters of the alphabet, so that an id is put together from three pieces. */
const pairs: readonly string[] = Array.from(
  { length: 1024 },
  (_, value) => character(value >>> 5) + character(value),
);

/**
 * Makes a source of ULIDs (github.com/ulid/spec): 48 bits of time, 60 bits that name the source,
 * 20 bits that count within a millisecond. Ids of one source rise strictly, also while the clock
 * stands still or goes back; sources differ by their random bytes, so that threads and processes
 * that start in the same millisecond do not meet.
 *
 * @param random at least 12 random bytes
 */
export function createIdSource(random: Uint8Array): (nowMs: number) => string {
  const source = Array.from(random.subarray(0, SOURCE_CHARACTERS), character).join('');
  let time = 0;
  let head = formatTime(time) + source;
  let counter = 0;
  return (nowMs) => {
    if (nowMs >= time + 1 || counter === COUNTER_LIMIT) {
      // Past the counter's end the id borrows the next millisecond rather than repeat itself.
      time = nowMs >= time + 1 ? Math.floor(nowMs) : time + 1;
      head = formatTime(time) + source;
      counter = 0;
    }
    const id = head + (pairs[counter >>> 10] as string) + (pairs[counter & 1023] as string);
    counter++;
    return id;
  };
}

/**
 * A fresh id for a connection, request or log line: 26 characters, rising within this thread.
 * `nowMs` is wall-clock milliseconds since the Unix epoch. Does not throw.
 */
export const newId: (nowMs: number) => string = createIdSource(randomBytes(SOURCE_CHARACTERS));

/** Ms since the epoch that an id begins with. `id` is a ULID; of another text the answer means nothing. */
export function ulidTime(id: string): number {
  let time = 0;
  for (let i = 0; i < TIME_CHARACTERS; i++) time = time * 32 + ALPHABET.indexOf(id.charAt(i));
  return time;
}

function character(value: number): string {
  return ALPHABET.charAt(value & 31);
}

function formatTime(ms: number): string {
  let text = '';
  let rest = ms;
  for (let i = 0; i < TIME_CHARACTERS; i++) {
    text = character(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}
