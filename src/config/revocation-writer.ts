import { randomBytes } from 'node:crypto';
import { constants, type FileHandle, open, realpath, rename, stat, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { keyOf, type RevocationEntry } from '../identity/revocations.ts';
import { describeFileError, isMissing } from './file-reader.ts';
import { formatProblem, hasErrors } from './problem.ts';
import { parseRevocations, revocationFileName } from './revocation-file.ts';
import { editList, type ListEdit } from './yaml.ts';

/** An entry that is not in the file yet. */
export type NewRevocation = Omit<RevocationEntry, 'place'>;

/** The file was not changed. The message is for a person, over several lines. */
export class RevocationWriteError extends Error {
  override readonly name = 'RevocationWriteError';
}

export interface AddResult {
  /** As they stand in the file now, with their places. */
  readonly added: readonly RevocationEntry[];
  /** Those that stood there before. */
  readonly known: readonly RevocationEntry[];
}

/** Milliseconds that a writer waits for another one, and after which a lock is left over. */
const patience = 5_000;
const PAUSE = 20;

/**
 * Adds entries to the file of an allowlists directory, which is made if it is not there. Comments and
 * order of what stands there stay. The file is replaced as a whole: a reader sees the old one or the
 * new one, whatever happens to the writer.
 *
 * @param now ms since the epoch
 * @throws RevocationWriteError if the file is broken, or cannot be written: then with the lines to add
 */
export async function addRevocations(
  directory: string,
  wanted: readonly NewRevocation[],
  now: number,
): Promise<AddResult> {
  return await change(directory, now, wanted, (before) => {
    const known = before.filter((entry) => wanted.some((item) => isSame(item, entry)));
    const fresh = wanted.filter((item) => !before.some((entry) => isSame(item, entry)));
    const revoked = fresh.filter(({ kind }) => kind !== 'quarantine');
    const quarantined = fresh.filter(({ kind }) => kind === 'quarantine');
    return {
      edits: [
        { key: 'revoked', add: revoked.map(itemOf), remove: [] },
        { key: 'quarantined', add: quarantined.map(itemOf), remove: [] },
      ],
      result: (after) => ({
        added: after.filter((entry) => fresh.some((item) => isSame(item, entry))),
        known,
      }),
    };
  });
}

/**
 * Takes agents out of quarantine; gives the entries that are gone.
 *
 * @throws RevocationWriteError as `addRevocations`
 */
export async function liftQuarantines(
  directory: string,
  agents: readonly string[],
  now: number,
): Promise<readonly RevocationEntry[]> {
  return await change(directory, now, [], (before) => {
    const quarantined = before.filter(({ kind }) => kind === 'quarantine');
    const lifted = quarantined.filter(({ id }) => agents.includes(id));
    const remove = lifted.map((entry) => quarantined.indexOf(entry));
    return {
      edits: [{ key: 'quarantined', add: [], remove }],
      result: () => lifted,
    };
  });
}

interface Plan<T> {
  readonly edits: readonly ListEdit[];
  readonly result: (after: readonly RevocationEntry[]) => T;
}

async function change<T>(
  directory: string,
  now: number,
  wanted: readonly NewRevocation[],
  plan: (before: readonly RevocationEntry[]) => Plan<T>,
): Promise<T> {
  const path = await targetOf(join(directory, revocationFileName));
  try {
    // What stands there already needs no right to write.
    const idle = carryOut(plan, await readText(path), now);
    return idle.text === null ? idle.value : await write(path, now, plan);
  } catch (error) {
    if (error instanceof RevocationWriteError) throw error;
    throw new RevocationWriteError(
      `${path} cannot be written: ${describeFileError(error)}.${elsewhere(wanted)}`,
      { cause: error },
    );
  }
}

async function write<T>(
  path: string,
  now: number,
  plan: (before: readonly RevocationEntry[]) => Plan<T>,
): Promise<T> {
  const lock = join(dirname(path), `.${revocationFileName}.lock`);
  await takeLock(lock);
  try {
    const { text, value } = carryOut(plan, await readText(path), now);
    if (text !== null) await replaceFile(path, text);
    return value;
  } finally {
    await unlink(lock);
  }
}

/** The new text, null if it is the old one, and what came of it. */
function carryOut<T>(
  plan: (before: readonly RevocationEntry[]) => Plan<T>,
  before: string,
  now: number,
): { readonly text: string | null; readonly value: T } {
  const { edits, result } = plan(entriesOf(before, now));
  const changes = edits.filter(({ add, remove }) => add.length + remove.length > 0);
  const text = changes.reduce(editList, before);
  const value = result(entriesOf(text, now));
  return { text: changes.length === 0 ? null : text, value };
}

/** A directory from git or a config map cannot be written here: what to write there. */
function elsewhere(wanted: readonly NewRevocation[]): string {
  if (wanted.length === 0) return ` Change ${revocationFileName} where it comes from.`;
  const lines = (['revoked', 'quarantined'] as const).flatMap((key) => {
    const items = wanted.filter(({ kind }) => (kind === 'quarantine') === (key === 'quarantined'));
    return items.length === 0 ? [] : [editList('', { key, add: items.map(itemOf), remove: [] })];
  });
  return ` Add this to ${revocationFileName} where it comes from (git, a config map):\n\n${lines.join('')}`;
}

/** The file itself where a link stands in its place. */
async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return path;
  }
}

async function readText(path: string): Promise<string> {
  let file: FileHandle;
  try {
    // Not blocking, so that a pipe in the file's place cannot hold the command.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (isMissing(error)) return head;
    throw error;
  }
  try {
    if (!(await file.stat()).isFile()) throw new RevocationWriteError(`${path} is no file.`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

const head = `# Credentials and agents that were stopped before their time. A running proxy takes changes up at
# once. \`sallyport revoke\`, \`quarantine\` and \`unquarantine\` write here; so may you.
`;

function entriesOf(text: string, now: number): readonly RevocationEntry[] {
  const { entries, problems } = parseRevocations(Buffer.from(text), now);
  if (entries !== null) return entries;
  const errors = problems.filter((problem) => hasErrors([problem])).map(formatProblem);
  throw new RevocationWriteError(
    `${revocationFileName} has errors and is not written to; correct it first:\n${errors.join('\n')}`,
  );
}

/** Old or new, never half: written beside it, brought to the disk, then renamed. */
async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${revocationFileName}.${randomBytes(6).toString('hex')}`);
  const old = await stat(path).catch(() => null);
  const owner = old ?? (await stat(dirname(path)));
  const file = await open(temporary, 'wx', (old?.mode ?? 0o644) & 0o777);
  try {
    await file.writeFile(text);
    // Who may read the directory must still be able to read what root has written there.
    if (process.getuid?.() === 0) await file.chown(owner.uid, owner.gid);
    if (old !== null) await file.chmod(old.mode & 0o777);
    await file.sync();
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary);
    throw error;
  } finally {
    await file.close();
  }
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** One writer at a time: of two that read the same text, the second would undo the first. */
async function takeLock(lock: string): Promise<void> {
  let until = performance.now() + patience;
  for (;;) {
    try {
      const file = await open(lock, 'wx', 0o644);
      await file.writeFile(`${hostname()} ${process.pid}\n`);
      await file.close();
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if ((await isLeftOver(lock)) || performance.now() > until) {
      // Whoever held it is gone, or stuck for longer than any write takes.
      await unlink(lock).catch(() => {});
      until = performance.now() + patience;
    } else await sleep(PAUSE);
  }
}

async function isLeftOver(lock: string): Promise<boolean> {
  const [host, pid] = (await readText(lock)).trim().split(' ');
  if (host !== hostname() || !/^[1-9][0-9]*$/u.test(pid ?? '')) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function isSame(wanted: NewRevocation, entry: RevocationEntry): boolean {
  return keyOf({ ...wanted, place: '' }) === keyOf(entry);
}

/** An entry as an item of its list. */
function itemOf({ kind, id, at, by, why }: NewRevocation): Record<string, string | undefined> {
  const key = kind === 'quarantine' ? 'agent' : kind;
  return { [key]: id, at: at === undefined ? undefined : new Date(at).toISOString(), by, why };
}
