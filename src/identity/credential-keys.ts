import { createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto';
import {
  changeSecretFile,
  createSecretFile,
  readSecretFile,
  SecretFileError,
} from '../core/secret-file.ts';
import { maxTtl } from './credential-claims.ts';

/** A key that signs issued credentials. */
export interface CredentialKey {
  /** Eight hexadecimal digits made from the key itself: the same key has the same id everywhere. */
  readonly id: string;
  readonly key: KeyObject;
  /** Ms since the epoch; at and after it the key neither signs nor verifies. Infinity if it has no end. */
  readonly until: number;
}

/** The keys of one installation. Immutable; a rotation is a new object. */
export interface CredentialKeys {
  /** Signs new credentials. */
  readonly signing: CredentialKey;
  /** All of them in the order of the file, the signing one first. */
  readonly all: readonly CredentialKey[];
  /** The key with exactly this id, to verify; undefined if there is none. */
  find(id: string): CredentialKey | undefined;
}

const keyLine = /^([0-9a-f]{64})(?: until (\S+))?$/u;

const keyFileHead = `# Keys of issued credentials, one per line. The first signs, all verify, each until the end that
# may stand behind it. \`sallyport token keys --rotate\` puts a new one on top.
`;

/**
 * Loads the key file, or makes it with one fresh key if it is not there. Processes that start
 * together all get the same key.
 *
 * @throws SecretFileError as `loadCredentialKeys`, or if the file cannot be made
 */
export function openCredentialKeys(path: string): CredentialKeys {
  const text = readSecretFile(path);
  if (text !== null) return parseCredentialKeys(text, path);
  // If another process was faster, its key is the one to load.
  createSecretFile(path, `${keyFileHead}${freshLine()}\n`);
  return loadCredentialKeys(path);
}

/**
 * Loads the key file. Whoever can read it can issue credentials for every agent.
 *
 * @throws SecretFileError if it is missing, open to others, a symbolic link, empty or malformed
 */
export function loadCredentialKeys(path: string): CredentialKeys {
  const text = readSecretFile(path);
  if (text === null) {
    throw new SecretFileError(`${path} does not exist: \`sallyport token issue\` makes it.`);
  }
  return parseCredentialKeys(text, path);
}

/**
 * The keys of a key file: a line of 64 hexadecimal digits each, perhaps with its end behind it
 * (`until 2026-12-31T00:00:00Z`). The first signs, all verify. Empty lines and lines that begin with `#` do not count.
 *
 * @param path for messages
 * @throws SecretFileError if a line is anything else, a key stands twice, or there is none
 */
export function parseCredentialKeys(text: string, path: string): CredentialKeys {
  const keys = new Map<string, CredentialKey>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (!isKeyLine(line)) continue;
    const where = `${path}:${index + 1}`;
    const [, digits, end] = keyLine.exec(line) ?? [];
    if (digits === undefined) {
      throw new SecretFileError(
        `${where} is not a key: write 64 hexadecimal digits, as \`openssl rand -hex 32\` makes them, and behind them, if it has an end, \`until 2026-12-31T00:00:00Z\`.`,
      );
    }
    const key = credentialKey(Buffer.from(digits, 'hex'), endOf(end, where));
    if (keys.has(key.id)) throw new SecretFileError(`${where} repeats a key: remove the line.`);
    keys.set(key.id, key);
  }
  const [signing] = keys.values();
  if (signing === undefined) {
    throw new SecretFileError(
      `${path} holds no key: remove it, and \`sallyport token issue\` makes a new one.`,
    );
  }
  return credentialKeys([...keys.values()], signing);
}

/**
 * Puts a fresh key on top of the file. Those that were there and have no end verify for as long as a
 * credential can live, so that nobody notices and no line has to be remembered.
 *
 * @param nowMs wall clock, milliseconds since the Unix epoch
 * @throws SecretFileError as `loadCredentialKeys`, or if the file cannot be replaced
 */
export function rotateCredentialKeys(path: string, nowMs: number): CredentialKeys {
  const end = new Date((Math.ceil(nowMs / 1000) + maxTtl) * 1000).toISOString();
  changeSecretFile(path, (text) => {
    parseCredentialKeys(text, path);
    const lines = text.trimEnd().split('\n');
    const first = lines.findIndex((line) => isKeyLine(line));
    const ending = lines.map((line) => {
      return isKeyLine(line) && !line.includes(' until ')
        ? `${line.trim()} until ${end.replace('.000Z', 'Z')}`
        : line;
    });
    return `${ending.toSpliced(first, 0, freshLine()).join('\n')}\n`;
  });
  return loadCredentialKeys(path);
}

/** @param all each once, `signing` among them */
export function credentialKeys(
  all: readonly CredentialKey[],
  signing: CredentialKey,
): CredentialKeys {
  const byId = new Map(all.map((key) => [key.id, key]));
  return { signing, all, find: (id) => byId.get(id) };
}

/**
 * @param secret 32 random bytes
 * @param until ms since the epoch
 */
export function credentialKey(secret: Buffer, until = Number.POSITIVE_INFINITY): CredentialKey {
  const named = Buffer.concat([Buffer.from('sallyport credential key id\n'), secret]);
  return { id: hash('sha256', named).slice(0, 8), key: createSecretKey(secret), until };
}

/** Any line that counts: neither empty nor a comment. */
function isKeyLine(line: string): boolean {
  return line.trim() !== '' && !line.trim().startsWith('#');
}

function freshLine(): string {
  return randomBytes(32).toString('hex');
}

/** @throws SecretFileError if it is not a time in UTC to the second */
function endOf(text: string | undefined, where: string): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const time = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/u.test(text) ? Date.parse(text) : Number.NaN;
  // What the calendar does not have, such as 31 November, comes back as another day or not at all.
  if (!Number.isNaN(time) && new Date(time).toISOString() === text.replace('Z', '.000Z'))
    return time;
  throw new SecretFileError(
    `${where}: behind \`until\` belongs a time in UTC, such as 2026-12-31T00:00:00Z.`,
  );
}
