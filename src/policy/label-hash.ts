import { randomBytes } from 'node:crypto';

/**
 * Keyed hashing of one DNS label. The key is drawn once per process: who writes an allowlist or
 * asks for a host cannot know which labels collide.
 */
const key = randomBytes(8);
const SEED = key.readInt32LE(0);
/** Odd, so that multiplication loses nothing. */
const MULTIPLIER = key.readInt32LE(4) | 1;

/** The state before the first character; int32. */
export const EMPTY_HASH = SEED;

/** Adds one UTF-16 code unit. Callers feed a label from its last character to its first. */
export function addToHash(hash: number, code: number): number {
  const mixed = Math.imul(hash ^ code, MULTIPLIER);
  return mixed ^ (mixed >>> 15);
}

/** The hash of `text[start…end)` as int32. */
export function hashLabel(text: string, start: number, end: number): number {
  let hash = EMPTY_HASH;
  for (let at = end - 1; at >= start; at--) hash = addToHash(hash, text.charCodeAt(at));
  return hash;
}
