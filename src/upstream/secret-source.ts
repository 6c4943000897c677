import type { SecretSource } from '../policy/injection.ts';

/** A secret, kept as fresh as its source allows. */
export interface HeldSecret {
  /** Null if it cannot be had. Calls at once if that is known, and exactly once. */
  get(done: SecretReceiver): void;
  /** Reads it again now, whether or not it seems to have changed. */
  reload(): void;
  /** Forgets it: whoever waits gets null. */
  close(): void;
}

export type SecretReceiver = (secret: string | null) => void;

/**
 * Hears what an operator wants to know, each of it once for each change. Nothing that it is told
 * holds a secret, or what a command printed.
 */
export interface SecretObserver {
  /** @param why the end of a sentence that begins with the source. @param kept the last one is still in use. */
  failed(source: string, why: string, kept: boolean): void;
  /** After a failure it is there again. */
  recovered(source: string): void;
  /** It is in use, but others may know it. @param why the end of a sentence, and what to do. */
  exposed(source: string, why: string): void;
}

const longest = 8192;

/** What a source is called in messages. Of a command only the program: an argument may be a secret. */
export function describeSource(source: SecretSource): string {
  if (source.kind === 'env') return `the variable ${source.name}`;
  if (source.kind === 'file') return `the file ${source.path}`;
  return `the command ${source.argv[0]}`;
}

/** Two sources with the same key are the same. */
export function keyOfSource(source: SecretSource): string {
  if (source.kind === 'env') return JSON.stringify(['env', source.name]);
  if (source.kind === 'file') return JSON.stringify(['file', source.path]);
  return JSON.stringify(['command', source.refresh, ...source.argv]);
}

/**
 * Why this cannot be put into a header, as the end of a sentence about its source; null if it can. A
 * line end would begin another header, and servers differ about bytes outside ASCII (RFC 9110 §5.5).
 */
export function secretProblem(secret: string): string | null {
  if (secret === '') return 'is empty';
  if (secret.length > longest) return `is longer than ${longest} bytes`;
  if (/^[\x20-\x7e]*$/u.test(secret)) return null;
  return 'holds more than one line, or a byte outside visible ASCII';
}

/** Without the one line end that files and the output of commands have behind the secret. */
export function withoutLineEnd(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/\r?\n$/u, '');
}
