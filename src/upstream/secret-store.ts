import { resolve } from 'node:path';
import type { Clock } from '../core/clock.ts';
import type { SecretSource } from '../policy/injection.ts';
import { CommandSecret } from './command-secret.ts';
import { FileSecret } from './file-secret.ts';
import { SecretReports } from './secret-reports.ts';
import {
  describeSource,
  type HeldSecret,
  keyOfSource,
  type SecretObserver,
  type SecretReceiver,
  secretProblem,
} from './secret-source.ts';

export interface SecretStoreOptions {
  /** The variables that sources name, and that commands get some of; as they were at the start. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Against which paths of files count, and where commands run: the allowlists directory. */
  readonly directory: string;
  readonly clock: Clock;
  readonly observer: SecretObserver;
  /** Milliseconds that a command may take. Default 10,000. */
  readonly commandTimeoutMs?: number;
}

/**
 * All that a command gets of the environment: what programs need to be found and to find their own
 * settings. Other variables hold other secrets.
 */
const passedOn: readonly string[] = ['PATH', 'HOME', 'LANG'];

/**
 * The secrets that the policy in force puts into requests. Fails closed: a source that the policy does
 * not name, or that is no good, has none.
 */
export class SecretStore {
  readonly #options: SecretStoreOptions;
  #held: ReadonlyMap<string, HeldSecret> = new Map();

  constructor(options: SecretStoreOptions) {
    this.#options = options;
  }

  /**
   * Takes over what a policy needs, and begins to load it. What is known of sources that stay is kept,
   * the rest is forgotten.
   */
  use(sources: readonly SecretSource[]): void {
    const before = this.#held;
    const held = new Map<string, HeldSecret>();
    for (const source of sources) {
      const key = keyOfSource(source);
      if (!held.has(key)) held.set(key, before.get(key) ?? this.#begin(source));
    }
    this.#held = held;
    for (const [key, secret] of before) if (!held.has(key)) secret.close();
  }

  /**
   * The secret, or null if it cannot be had: at once if that is known, otherwise when the command that
   * is under way has ended.
   */
  get(source: SecretSource, done: SecretReceiver): void {
    const held = this.#held.get(keyOfSource(source));
    if (held === undefined) done(null);
    else held.get(done);
  }

  /** Reads all files again, and runs all commands. */
  reload(): void {
    for (const secret of this.#held.values()) secret.reload();
  }

  /** Forgets everything and ends what runs; there are no secrets any more. */
  close(): void {
    this.use([]);
  }

  #begin(source: SecretSource): HeldSecret {
    const { directory, clock, observer, commandTimeoutMs } = this.#options;
    const reports = new SecretReports(describeSource(source), observer);
    if (source.kind === 'env') return this.#variable(source.name, reports);
    if (source.kind === 'file') {
      return new FileSecret(resolve(directory, source.path), clock, reports);
    }
    const command = {
      argv: source.argv,
      directory,
      environment: this.#commandEnvironment(),
      timeout: commandTimeoutMs ?? 10_000,
    };
    return new CommandSecret(command, source.refresh, clock, reports);
  }

  /** It stays as it is for as long as the process lives. */
  #variable(name: string, reports: SecretReports): HeldSecret {
    const value = this.#variableNamed(name);
    const problem = value === undefined ? 'is not set' : secretProblem(value);
    if (problem !== null) reports.failed(problem, false);
    const secret = problem === null ? (value as string) : null;
    return { get: (done) => done(secret), reload: () => {}, close: () => {} };
  }

  #commandEnvironment(): Record<string, string> {
    const passed: Record<string, string> = {};
    for (const name of passedOn) {
      const value = this.#variableNamed(name);
      if (value !== undefined) passed[name] = value;
    }
    return passed;
  }

  #variableNamed(name: string): string | undefined {
    const { environment } = this.#options;
    return Object.hasOwn(environment, name) ? environment[name] : undefined;
  }
}
