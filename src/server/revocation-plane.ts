import { setTimeout as sleep } from 'node:timers/promises';
import { formatPlace, hasErrors, type Problem } from '../config/problem.ts';
import { checkAgents, type RevocationFile, revocationFileName } from '../config/revocation-file.ts';
import { keyOf, type RevocationEntry, reasonOf } from '../identity/revocations.ts';
import type { OperationsLog } from '../observe/operations-log.ts';
import type { Policy } from '../policy/policy.ts';

/** One entry that has just taken effect, or has just been lifted. */
export interface RevocationChange {
  readonly entry: RevocationEntry;
  readonly lifted: boolean;
}

/** What the revocations need of a worker. */
export interface RevokingWorker {
  /**
   * Puts these entries in force and judges everything live by them, at once.
   * @param changes what this worker tells the egress log.
   * @returns how many live connections ended.
   */
  revoke(
    entries: readonly RevocationEntry[],
    changes: readonly RevocationChange[],
  ): Promise<number>;
  refuseReload(entry: string | undefined): void;
}

export interface RevocationPlaneOptions {
  readonly read: () => Promise<RevocationFile>;
  readonly workers: readonly RevokingWorker[];
  readonly operations: OperationsLog;
  /** The policy in force, for agents that it does not have. */
  readonly policy: () => Policy;
}

/** Milliseconds for which a file must stand before it may lift anything, or count as broken. */
const PAUSE = 150;
const ATTEMPTS = 5;
/** Milliseconds until a file that would not stand still is read again. */
const LATER = 500;
/** Changes that the operations log names one by one; the egress log has all of them. */
const MOST_TOLD = 100;

/**
 * Takes revocations from their file to every worker, apart from the allowlists, so that neither waits
 * for the other nor is held up by its mistakes. What is added takes effect at once; what is missing
 * is lifted only if it is still missing a moment later, because `git checkout` and editors that
 * write in place show an absent or half a file in between. A broken file changes nothing.
 */
export class RevocationPlane {
  readonly #options: RevocationPlaneOptions;
  #entries: readonly RevocationEntry[];
  #errors: readonly Problem[] = [];
  #running: Promise<number> | null = null;
  #next: Promise<number> | null = null;

  constructor(options: RevocationPlaneOptions, initial: readonly RevocationEntry[]) {
    this.#options = options;
    this.#entries = initial;
  }

  /** In force now. */
  get entries(): readonly RevocationEntry[] {
    return this.#entries;
  }

  /** Errors of the file as it was last read; empty if it is in force. */
  get errors(): readonly Problem[] {
    return this.#errors;
  }

  /**
   * Reads the file again. One read at a time; what is asked for meanwhile follows as one.
   * @returns how many live connections ended.
   */
  reload(): Promise<number> {
    if (this.#running !== null) {
      this.#next ??= this.#running.then(() => {
        this.#next = null;
        return this.reload();
      });
      return this.#next;
    }
    this.#running = this.#reloadOnce().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #reloadOnce(): Promise<number> {
    let cut = 0;
    let file = await this.#options.read();
    for (let attempt = 1; attempt < ATTEMPTS && this.#isDoubtful(file); attempt++) {
      // Nothing is lifted yet, but what came with it does not wait.
      cut += await this.#putAll(file);
      await sleep(PAUSE);
      const again = await this.#options.read();
      const settled = fingerprint(again) === fingerprint(file);
      file = again;
      if (settled) return cut + (await this.#accept(file));
    }
    if (!this.#isDoubtful(file)) return cut + (await this.#accept(file));
    // It still changes. Whoever watches it may have seen it last as it will be in the end, and say
    // nothing more: this looks again by itself.
    setTimeout(() => void this.reload(), LATER).unref();
    return cut + (await this.#putAll(file));
  }

  /** Puts in force what the file has, and keeps what it has no longer. */
  async #putAll(file: RevocationFile): Promise<number> {
    return file.entries === null ? 0 : await this.#put([...file.entries, ...this.#missingIn(file)]);
  }

  #isDoubtful(file: RevocationFile): boolean {
    return file.entries === null || this.#missingIn(file).length > 0;
  }

  /** What is in force and no longer in the file. */
  #missingIn({ entries }: RevocationFile): RevocationEntry[] {
    const keys = new Set(entries?.map(keyOf));
    return this.#entries.filter((entry) => !keys.has(keyOf(entry)));
  }

  async #accept({ entries, problems, exists }: RevocationFile): Promise<number> {
    const { operations } = this.#options;
    if (entries === null) {
      this.#refuse(problems);
      return 0;
    }
    if (!exists && this.#entries.length > 0) {
      operations.warn(`${revocationFileName} is gone: nothing is revoked or quarantined any more`);
    }
    if (this.#errors.length > 0) operations.info(`${revocationFileName} is in force again`);
    this.#errors = [];
    return await this.#put(entries);
  }

  async #put(entries: readonly RevocationEntry[]): Promise<number> {
    const changes = changesBetween(this.#entries, entries);
    this.#entries = entries;
    if (changes.length === 0) return 0;
    const cut = await Promise.all(
      this.#options.workers.map((worker, index) =>
        worker.revoke(entries, index === 0 ? changes : []),
      ),
    );
    const sum = cut.reduce((total, count) => total + count, 0);
    // Said only now: who reads the operations log slowly must not hold it up.
    this.#tell(changes, sum);
    return sum;
  }

  #tell(changes: readonly RevocationChange[], cut: number): void {
    const { operations, policy } = this.#options;
    for (const change of changes.slice(0, MOST_TOLD)) {
      operations.warn(messageOf(change), fieldsOf(change.entry));
    }
    const added = changes.filter(({ lifted }) => !lifted).map(({ entry }) => entry);
    for (const problem of checkAgents(added, policy().agents).slice(0, MOST_TOLD)) {
      operations.warn(problem.message, { entry: formatPlace(problem) });
    }
    operations.info('revocations in force', {
      entries: this.#entries.length,
      changes: changes.length,
      cut,
    });
  }

  #refuse(problems: readonly Problem[]): void {
    const errors = problems.filter((problem) => hasErrors([problem]));
    const known = JSON.stringify(errors) === JSON.stringify(this.#errors);
    this.#errors = errors;
    if (known) return;
    const [first] = errors;
    const place = first === undefined ? undefined : formatPlace(first);
    for (const worker of this.#options.workers) worker.refuseReload(place);
    this.#options.operations.error('revocations not reloaded: what was revoked stays revoked', {
      errors: errors.length,
      first: first && `${place}:${first.column} ${first.code} ${first.message}`,
    });
  }
}

function changesBetween(
  before: readonly RevocationEntry[],
  after: readonly RevocationEntry[],
): RevocationChange[] {
  const old = new Map(before.map((entry) => [keyOf(entry), entry]));
  const now = new Map(after.map((entry) => [keyOf(entry), entry]));
  const added = [...now].filter(([key]) => !old.has(key));
  const lifted = [...old].filter(([key]) => !now.has(key));
  return [
    ...added.map(([, entry]) => ({ entry, lifted: false })),
    ...lifted.map(([, entry]) => ({ entry, lifted: true })),
  ];
}

function fingerprint({ entries, problems, exists }: RevocationFile): string {
  return JSON.stringify([entries, problems, exists]);
}

function messageOf({ entry, lifted }: RevocationChange): string {
  if (reasonOf(entry) === 'agent_quarantined') {
    return lifted ? 'quarantine lifted' : 'agent quarantined';
  }
  return lifted ? 'revocation lifted' : 'revoked';
}

function fieldsOf({ kind, id, at, by, why, place }: RevocationEntry): object {
  const until = at === undefined ? undefined : new Date(at).toISOString();
  return { kind, id, at: until, by, why, entry: place };
}
