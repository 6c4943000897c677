import { createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** A key that signs issued credentials. */
export interface CredentialKey {
  /** Eight hexadecimal digits made from the key itself: the same key has the same id everywhere. */
  readonly id: string;
  readonly key: KeyObject;
}

/** The keys of one installation. Immutable; a rotation is a new object. */
export interface CredentialKeys {
  /** Signs new credentials. */
  readonly signing: CredentialKey;
  /** The key with exactly this id, to verify; undefined if there is none. */
  find(id: string): CredentialKey | undefined;
}

/** A key file that cannot be used. The message names the file and says what to do. */
export class CredentialKeyError extends Error {
  override readonly name = 'CredentialKeyError';
}

const MAX_FILE = 65_536;
const keyLine = /^[0-9a-f]{64}$/u;

/**
 * Loads the key file, or makes it with one fresh key if it is not there: mode 0600, its directory
 * 0700 if that has to be made too. Of processes that start together one makes the file and all
 * load the same key: it is linked into place whole, which only works once.
 *
 * @throws CredentialKeyError as `loadCredentialKeys`, or if the file cannot be made
 */
export function openCredentialKeys(path: string): CredentialKeys {
  const existing = readKeyFile(path);
  if (existing !== null) return parseCredentialKeys(existing, path);
  createKeyFile(path);
  return loadCredentialKeys(path);
}

/**
 * Loads the key file. It must be a regular file, not a symbolic link, and nobody but its owner may
 * read or write it: whoever reads it can issue credentials for every agent.
 *
 * @throws CredentialKeyError if it is missing, unsafe, empty or malformed
 */
export function loadCredentialKeys(path: string): CredentialKeys {
  const text = readKeyFile(path);
  if (text === null) {
    throw new CredentialKeyError(`${path} does not exist: \`sallyport token issue\` makes it.`);
  }
  return parseCredentialKeys(text, path);
}

/**
 * The keys of a key file: a line of 64 hexadecimal digits each, the first signs, all verify. Empty
 * lines and lines that begin with `#` do not count.
 *
 * @param path for messages
 * @throws CredentialKeyError if a line is anything else, a key stands twice, or there is none
 */
export function parseCredentialKeys(text: string, path: string): CredentialKeys {
  const keys = new Map<string, CredentialKey>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const where = `${path}:${index + 1}`;
    if (!keyLine.test(line)) {
      throw new CredentialKeyError(
        `${where} is not a key: write 64 hexadecimal digits, as \`openssl rand -hex 32\` makes them.`,
      );
    }
    const key = credentialKey(Buffer.from(line, 'hex'));
    if (keys.has(key.id)) throw new CredentialKeyError(`${where} repeats a key: remove the line.`);
    keys.set(key.id, key);
  }
  const [signing] = keys.values();
  if (signing === undefined) {
    throw new CredentialKeyError(
      `${path} holds no key: remove it, and \`sallyport token issue\` makes a new one.`,
    );
  }
  return { signing, find: (id) => keys.get(id) };
}

/** @param secret 32 random bytes */
export function credentialKey(secret: Buffer): CredentialKey {
  const digest = hash(
    'sha256',
    Buffer.concat([Buffer.from('sallyport credential key id\n'), secret]),
  );
  return { id: digest.slice(0, 8), key: createSecretKey(secret) };
}

/** Null if there is no such file. */
function readKeyFile(path: string): string | null {
  let fd: number;
  try {
    // Not blocking, so that a named pipe in the file's place cannot hold the start.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    if (code === 'ELOOP') {
      throw new CredentialKeyError(`${path} is a symbolic link: put the file itself there.`);
    }
    throw new CredentialKeyError(`${path} cannot be read (${code}).`, { cause: error });
  }
  try {
    checkKeyFile(fd, path);
    return readFileSync(fd, 'latin1');
  } finally {
    closeSync(fd);
  }
}

function checkKeyFile(fd: number, path: string): void {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new CredentialKeyError(`${path} is not a regular file.`);
  if ((stat.mode & 0o077) !== 0) {
    const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
    throw new CredentialKeyError(
      `${path} can be read or written by others (mode ${mode}): run \`chmod 600 ${path}\`, and if anyone may have read it, put a new key in its place.`,
    );
  }
  if (stat.size > MAX_FILE) throw new CredentialKeyError(`${path} is too large for a key file.`);
}

function createKeyFile(path: string): void {
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeWhole(temporary, `${keyFileHead}${randomBytes(32).toString('hex')}\n`);
    try {
      linkSync(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      unlinkSync(temporary);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CredentialKeyError(`${path} cannot be made (${code}).`, { cause: error });
  }
}

function writeWhole(path: string, text: string): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const keyFileHead = `# Keys of issued credentials. The first signs, all verify: to rotate, put a new line on top
# (openssl rand -hex 32), and remove the old one when the credentials it signed have expired.
`;
