/**
 * Names that usually stand for a credential, in headers and in queries, by the words that they are made
 * of. Wrong in both directions for some name of some service: what is taken for one by mistake, an
 * entry can `pass`.
 */

/** Each of these words alone makes a name one of a credential. */
const secretWords: ReadonlySet<string> = new Set([
  'auth',
  'authenticated',
  'authentication',
  'authorization',
  'bearer',
  'cookie',
  'cookie2',
  'credential',
  'credentials',
  'jwt',
  'oauth',
  'otp',
  'passphrase',
  'passwd',
  'password',
  'pwd',
  'secret',
  'secrets',
  'session',
  'sessionid',
  'sid',
  'sig',
  'sign',
  'signature',
  'token',
  'tokens',
]);

/** `accesskey`, `authtoken` and the like, written as one word. */
const joined =
  /^(?:access|account|admin|api|app|application|auth|bearer|client|csrf|id|job|login|master|oauth|private|refresh|secret|security|service|session|shared|subscription|user|xsrf)(?:auth|cookie|jwt|keyid|keys?|pass|passwd|password|secret|signature|tokens?)$/u;

/** A token behind one of these says where a reader stands in a list, not who reads. */
const positions: ReadonlySet<string> = new Set([
  'continuation',
  'cursor',
  'next',
  'page',
  'pagination',
  'previous',
  'resume',
  'skip',
  'sync',
]);

/** `X-Api_Key` → x, api, key. */
export function wordsOf(name: string): string[] {
  return name
    .toLowerCase()
    .split(/[^a-z0-9]+/u)
    .filter((word) => word !== '');
}

/** Do these words, whatever stands beside them, name a credential? Says nothing about `key`. */
export function nameCredential(words: readonly string[]): boolean {
  return words.some((word, at) => {
    if (word === 'token' && positions.has(words[at - 1] ?? '')) return false;
    return secretWords.has(word) || joined.test(word);
  });
}
