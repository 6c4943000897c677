import { nameCredential, wordsOf } from './credential-names.ts';

/** Header fields that carry a credential, or say who somebody is, and do not say so in their name. */
const known: ReadonlySet<string> = new Set([
  'client-cert',
  'client-cert-chain',
  'dpop',
  'remote-user',
  'x-client-cert',
  'x-forwarded-client-cert',
  'x-forwarded-email',
  'x-forwarded-user',
  'x-honeycomb-team',
  'x-jfrog-art-api',
  'x-remote-user',
  'x-ssl-client-cert',
]);

/**
 * What the words would take for one, and what is needed: MCP forbids to authenticate by its session
 * (MCP 2025-06-18, "Security Best Practices"), and the server names it in its first answer.
 */
const harmless: ReadonlySet<string> = new Set(['mcp-session-id']);

/** Before `key`: no credential. Everything else that ends so may be one. */
const harmlessKeys: ReadonlySet<string> = new Set([
  'cache',
  'customer',
  'dedup',
  'deduplication',
  'encryption',
  'group',
  'idempotency',
  'kms',
  'ordering',
  'partition',
  'routing',
  'sort',
  'surrogate',
  'websocket',
]);

/**
 * Does a request header of this name usually carry a credential? Then a client's own goes no further
 * where the proxy puts one in, so that an attacker's key does not work at an API that is allowed. An
 * underscore counts as a hyphen. Lower case is expected and not needed. A date that a signature covers
 * (`x-amz-date`, `x-ms-date`) is none: without its signature it proves nothing.
 */
export function isCredentialHeader(name: string): boolean {
  const plain = name.toLowerCase().replaceAll('_', '-');
  if (harmless.has(plain)) return false;
  const words = wordsOf(plain);
  return known.has(plain) || nameCredential(words) || hasSecretKey(words) || words.some(isJoined);
}

/** `X-TrackerToken`, `X-MyApiKey`: whoever names a header so means a credential, but for positions. */
function isJoined(word: string): boolean {
  return /^(?!(?:continuation|cursor|next|page|pagination|previous|resume|skip|sync)token$).+(?:apikey|authkey|token|secret|password)$/u.test(
    word,
  );
}

function hasSecretKey(words: readonly string[]): boolean {
  return words.some((word, at) => {
    return word === 'key' && !harmlessKeys.has(words[at - 1] ?? '');
  });
}
