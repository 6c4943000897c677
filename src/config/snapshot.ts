import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeFileError, type FileReader, type FileStat, isMissing } from './file-reader.ts';
import { compareText, type Problem, problemAt } from './problem.ts';
import type { ProblemCode } from './problem-codes.ts';
import { revocationFileName } from './revocation-file.ts';
import { MAX_YAML_BYTES } from './yaml-text.ts';

/** The files of one directory as they stood at one moment. */
export interface Snapshot {
  /** Path relative to the directory → content, in path order. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly problems: readonly Problem[];
}

/** One byte more than the YAML reader takes: enough for it to see that a file is too large. */
const READ_LIMIT = MAX_YAML_BYTES + 1;
const MAX_DEPTH = 16;
const ATTEMPTS = 5;
/** Milliseconds; an editor's save or a config map's swap is over by then. */
const PAUSE = 20;

/**
 * Reads every `*.yaml` and `*.yml` below a directory, names that begin with a dot left out, links
 * followed (a Kubernetes config map is links into `..data`), without the revocations, which neither
 * hold up an allowlist nor wait for one. What is read belongs together: if anything changed
 * meanwhile, it is read again. Never rejects.
 */
export async function readSnapshot(directory: string, reader: FileReader): Promise<Snapshot> {
  for (let attempt = 1; ; attempt++) {
    const before = await walk(directory, reader);
    const stood = before.fingerprint;
    const files = await readFiles(directory, before, reader);
    const settled = stood === (await walk(directory, reader)).fingerprint;
    if (settled && before.problems.length === 0) return { files, problems: before.problems };
    if (attempt === ATTEMPTS) {
      return { files, problems: settled ? before.problems : [...before.problems, changing()] };
    }
    await sleep(PAUSE);
  }
}

function changing(): Problem {
  return problemAt(
    { file: '.', line: 1, column: 1 },
    'file-changed',
    'the files changed each time that they were read',
    'Write them elsewhere, then move the whole directory or file into place.',
  );
}

class Walk {
  /** Relative path → version, in no order. */
  readonly found = new Map<string, string>();
  readonly problems: Problem[] = [];

  get fingerprint(): string {
    const lines = [...this.found].map(([path, version]) => `${path}\0${version}`);
    return [...lines, ...this.problems.map(({ file, code }) => `${file}\0${code}`)]
      .sort()
      .join('\n');
  }

  refuse(file: string, code: ProblemCode, message: string, hint: string): void {
    this.problems.push(problemAt({ file, line: 1, column: 1 }, code, message, hint));
  }

  refuseUnreadable(file: string, error: unknown): void {
    const reason = describeFileError(error);
    this.refuse(
      file,
      'file-unreadable',
      `cannot be read: ${reason}`,
      'Make it readable for the user that Sallyport runs as, or take it away.',
    );
  }
}

async function walk(directory: string, reader: FileReader): Promise<Walk> {
  const result = new Walk();
  try {
    const root = await reader.stat(directory);
    if (root.kind === 'directory') await walkInto(directory, '', [root.id], reader, result);
    else
      result.refuse(
        '.',
        'file-type',
        `${directory} is not a directory`,
        'Name the directory that holds the allowlist files.',
      );
  } catch (error) {
    result.refuse(
      '.',
      isMissing(error) ? 'file-missing' : 'file-unreadable',
      `${directory} cannot be read: ${describeFileError(error)}`,
      'Create it, or name another with --allowlists DIR.',
    );
  }
  return result;
}

/** `above`: the directories that lead here, so that a link back into one of them is seen. */
async function walkInto(
  directory: string,
  path: string,
  above: readonly string[],
  reader: FileReader,
  result: Walk,
): Promise<void> {
  let names: readonly string[];
  try {
    names = await reader.list(join(directory, path));
  } catch (error) {
    result.refuseUnreadable(path === '' ? '.' : path, error);
    return;
  }
  for (const name of names) {
    if (name.startsWith('.')) continue;
    const child = path === '' ? name : `${path}/${name}`;
    try {
      const found = await reader.stat(join(directory, child));
      if (found.kind === 'directory') await enter(directory, child, found, above, reader, result);
      else takeFile(child, found, result);
    } catch (error) {
      result.refuseUnreadable(child, error);
    }
  }
}

async function enter(
  directory: string,
  child: string,
  found: FileStat,
  above: readonly string[],
  reader: FileReader,
  result: Walk,
): Promise<void> {
  if (above.includes(found.id) || above.length > MAX_DEPTH) {
    result.refuse(
      child,
      'file-type',
      'this directory leads back into itself, or is too deep',
      'Remove the link.',
    );
    return;
  }
  await walkInto(directory, child, [...above, found.id], reader, result);
}

function takeFile(path: string, found: FileStat, result: Walk): void {
  if (!/\.ya?ml$/iu.test(path) || path === revocationFileName) return;
  if (/^revocations\.ya?ml$/iu.test(path)) {
    result.refuse(
      path,
      'file-type',
      'what is revoked stands in a file of another name, so that this one would revoke nothing',
      `Rename it to ${revocationFileName}.`,
    );
    return;
  }
  if (!/\.ya?ml$/u.test(path)) {
    result.refuse(
      path,
      'file-type',
      'the ending is not in lower case, so that the file would be passed over',
      'Rename it to end with .yaml.',
    );
  } else if (found.kind === 'other') {
    result.refuse(path, 'file-type', 'this is neither a file nor a directory', 'Take it away.');
  } else {
    result.found.set(path, found.version);
  }
}

async function readFiles(
  directory: string,
  from: Walk,
  reader: FileReader,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const path of [...from.found.keys()].sort(compareText)) {
    try {
      files.set(path, await reader.read(join(directory, path), READ_LIMIT));
    } catch (error) {
      from.refuseUnreadable(path, error);
    }
  }
  return files;
}
