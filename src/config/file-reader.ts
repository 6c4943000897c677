import { open, readdir, stat } from 'node:fs/promises';

/**
 * The file system as far as configuration reads it. Every method rejects with an error whose
 * `code` is that of the system (`ENOENT`, `EACCES`); links are followed.
 */
export interface FileReader {
  stat(path: string): Promise<FileStat>;
  /** Names in a directory, in any order. */
  list(path: string): Promise<readonly string[]>;
  /** The first `limit` bytes. */
  read(path: string, limit: number): Promise<Uint8Array>;
}

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'other';
  /** Which file it is, in whatever place. */
  readonly id: string;
  /** Differs whenever the content may differ: identity, size and times. */
  readonly version: string;
}

export const systemFiles: FileReader = {
  async stat(path) {
    const found = await stat(path, { bigint: true });
    const id = `${found.dev}:${found.ino}`;
    return {
      kind: kindOf(found),
      id,
      version: `${id}:${found.size}:${found.mtimeNs}:${found.ctimeNs}`,
    };
  },
  async list(path) {
    return await readdir(path);
  },
  async read(path, limit) {
    const file = await open(path, 'r');
    try {
      const bytes = new Uint8Array(limit);
      let length = 0;
      for (;;) {
        const { bytesRead } = await file.read(bytes, length, limit - length);
        if (bytesRead === 0) return bytes.slice(0, length);
        length += bytesRead;
      }
    } finally {
      await file.close();
    }
  },
};

function kindOf(found: { isFile(): boolean; isDirectory(): boolean }): FileStat['kind'] {
  if (found.isFile()) return 'file';
  return found.isDirectory() ? 'directory' : 'other';
}

/** True if what was to be read is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** What a system error means, in words. */
export function describeFileError(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
      return 'it does not exist';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EISDIR':
      return 'it is a directory';
    case 'ENOTDIR':
      return 'a part of its path is not a directory';
    case 'ELOOP':
      return 'its links lead in a circle';
    default:
      return typeof code === 'string' ? code : 'it cannot be read';
  }
}
