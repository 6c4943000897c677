import type { Clock } from '../core/clock.ts';
import { FileStamp } from '../core/file-stamp.ts';
import { SecretFileError } from '../core/secret-file.ts';
import { type CredentialKeys, loadCredentialKeys } from '../identity/credential-keys.ts';
import type { OperationsLog } from '../observe/operations-log.ts';

/** Milliseconds between two looks; the file itself is asked once a second at most. */
const lookEvery = 250;

/**
 * Tells when the keys of issued credentials are others: the file has changed and is whole and right,
 * or a key in it has come to its end. A file that cannot be used changes nothing, and is reported.
 */
export class KeyWatch {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #operations: OperationsLog;
  readonly #stamp: FileStamp;
  readonly #changed: () => void;
  #keys: CredentialKeys;
  #lookedAt: number;
  #timer: NodeJS.Timeout | null = null;

  /** @param keys those that the file held at the start; the first look compares with them */
  constructor(
    path: string,
    keys: CredentialKeys,
    clock: Clock,
    operations: OperationsLog,
    changed: () => void,
  ) {
    this.#path = path;
    this.#keys = keys;
    this.#clock = clock;
    this.#operations = operations;
    this.#changed = changed;
    this.#stamp = new FileStamp(path, clock);
    this.#lookedAt = clock.now();
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), lookEvery);
    this.#timer.unref();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  look(): void {
    const now = this.#clock.now();
    const ended = this.#keys.all.filter(({ until }) => this.#lookedAt < until && until <= now);
    this.#lookedAt = now;
    const read = this.#stamp.changed() && this.#read();
    for (const { id } of ended) this.#operations.info('a credential key has ended', { key: id });
    if (read || ended.length > 0) this.#changed();
  }

  /** True if the file holds other keys than before. */
  #read(): boolean {
    const before = this.#keys;
    try {
      this.#keys = loadCredentialKeys(this.#path);
    } catch (error) {
      if (!(error instanceof SecretFileError)) throw error;
      this.#operations.error('credential keys not read again: the old ones stay in force', {
        problem: error.message,
      });
      return false;
    }
    if (describe(before) === describe(this.#keys)) return false;
    this.#operations.info('credential keys read again', {
      signs: this.#keys.signing.id,
      keys: this.#keys.all.map(({ id }) => id),
    });
    return true;
  }
}

/** The keys, their order and their ends, without the keys themselves. */
function describe({ all }: CredentialKeys): string {
  return all.map(({ id, until }) => `${id} ${until}`).join('\n');
}
