import { nameCredential, wordsOf } from './credential-names.ts';

/** Whole keys, without what separates their words, that carry one and do not say so in a word. */
const known: ReadonlySet<string> = new Set(['appid', 'awsaccesskeyid', 'googleaccessid', 'key']);

/** Before `key`: a credential. Elsewhere a query's keys name things: `sort_key`, `issueKey`. */
const secretKeys: ReadonlySet<string> = new Set([
  'access',
  'account',
  'admin',
  'api',
  'app',
  'application',
  'auth',
  'client',
  'developer',
  'license',
  'master',
  'private',
  'service',
  'shared',
  'subscription',
  'user',
]);

/**
 * The keys in the query of a request target that usually carry a credential, each once, decoded: where
 * the proxy puts a credential into a header, one beside it in the query could be an attacker's own.
 * Servers differ about what separates pairs (`&`, `;`) and about brackets, dots and spaces in keys
 * (PHP: `auth[token]`, `access.token`): any reading counts. An escape that is none stays as it is.
 */
export function credentialQueryKeys(path: string): string[] {
  const start = path.indexOf('?');
  if (start === -1) return [];
  const keys = new Set<string>();
  for (const pair of path.slice(start + 1).split(/[&;?#]/u)) {
    const key = decode(pair.split('=', 1)[0] ?? '');
    if (isCredentialKey(key)) keys.add(key);
  }
  return [...keys];
}

/**
 * In the case that it has, which may tell its words apart (`apiKey`), and without, because a server may
 * not mind case and a client may write `toKen`. `data[key]` may be a `key` to somebody.
 */
function isCredentialKey(key: string): boolean {
  if (key.split(/[[\]]+/u).some((part) => known.has(wordsOf(part).join('')))) return true;
  const apart = key.replace(/([a-z0-9])([A-Z])/gu, '$1-$2');
  return [key, apart].some((spelled) => {
    const words = wordsOf(spelled);
    return nameCredential(words) || words.some((word, at) => isSecretKey(word, words[at - 1]));
  });
}

function isSecretKey(word: string, before: string | undefined): boolean {
  return word === 'key' && secretKeys.has(before ?? '');
}

function decode(key: string): string {
  const spaced = key.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    // Byte by byte, so that one bad escape hides none of the others.
    return spaced.replace(/%([0-9a-f]{2})/giu, (_escape, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  }
}
