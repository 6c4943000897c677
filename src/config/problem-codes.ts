interface CodeInfo {
  readonly severity: 'error' | 'warning';
  /** What the code stands for, as the README's table says it. */
  readonly summary: string;
  /** A `note` on the entry says "I am sure" and silences the warning. */
  readonly noteSilences?: true;
}

const error = (summary: string): CodeInfo => ({ severity: 'error', summary });
const warning = (summary: string): CodeInfo => ({ severity: 'warning', summary });
const unlessNoted = (summary: string): CodeInfo => ({
  severity: 'warning',
  summary,
  noteSilences: true,
});

/**
 * Every code of `sallyport check`, and of the problems in any file that the program reads. Codes
 * are stable: other programs compare them.
 */
export const problemCodes = {
  // The text
  'file-unreadable': error('a file or directory cannot be read'),
  'file-missing': error('a file or directory does not exist'),
  'file-changed': error('the files kept changing while they were read'),
  'file-type': error('what should be a file or directory is something else'),
  'yaml-size': error('a file of more than 1 MiB'),
  'yaml-encoding': error('bytes that are not UTF-8'),
  'yaml-characters': error('characters that cannot be seen or that reorder a line'),
  'yaml-syntax': error('not YAML'),
  'yaml-depth': error('nested deeper than 20 levels'),
  'yaml-documents': error('more than one document in a file'),
  'yaml-directive': error('a YAML directive (%YAML, %TAG)'),
  'yaml-alias': error('a YAML alias; often a star that needs quotes'),
  'yaml-anchor': error('a YAML anchor'),
  'yaml-merge-key': error('a YAML merge key'),
  'yaml-tag': error('a tag outside the core schema'),
  'yaml-duplicate-key': error('the same key twice in one map'),
  // The document
  'unknown-key': error('a key that means nothing here'),
  'missing-key': error('a required key is not there'),
  'wrong-type': error('a list where text belongs, and the like'),
  'bad-value': error('a value of the right type that cannot be used'),
  'bad-name': error('an agent id or group name outside its grammar'),
  'bad-time': error('a time without a zone, or not RFC 3339'),
  'bad-duration': error('a duration without a unit, or out of range'),
  'bad-size': error('a size without a unit, or out of range'),
  'bad-address': error('not an IP address or CIDR'),
  'bad-port': error('not a port from 1 to 65535'),
  'bad-token': error('a token that is not `sha256:` and 64 hexadecimal digits'),
  'bad-certificate': error('a certificate name that is neither a SPIFFE id nor an exact subject'),
  'bad-issuer': error('an issuer or trust domain that no token can have'),
  'bad-algorithm': error('an algorithm with which no issuer may sign'),
  'bad-keys': error("a place from which an issuer's keys cannot be taken"),
  'bad-claim': error('a claim, or a pattern for it, that cannot be used'),
  'bad-method': error('not an HTTP method'),
  'bad-path': error('not a path pattern'),
  'bad-query': error('a key or value of `query` that no query can have'),
  'bad-header': error('a header that an entry cannot name, or no value of a header'),
  'bad-content-type': error('not a media type'),
  'bad-tool': error('not a pattern for names of tools, or not the name of an argument'),
  'bad-inject': error('an `inject` item that cannot be used'),
  'duplicate-value': error('the same value twice in one list'),
  'empty-list': error('an empty list of conditions, which nothing could meet'),
  'conflicting-keys': error('keys that cannot stand together'),
  'nested-group': error('a group inside a group'),
  'deny-until': error('a deny entry with an end: it would open access when it ends'),
  'deny-condition': error('a key on a deny entry that only an allow entry can have'),
  // Host patterns and targets
  'url-form': error('a URL where a host pattern belongs'),
  'bad-scheme': error('a scheme other than https, http and tcp'),
  'missing-port': error('a tcp entry without a port'),
  'bad-pattern': error('a host pattern outside the grammar, or not in canonical spelling'),
  // Between entries and files
  'duplicate-agent': error('one agent in two places'),
  'duplicate-group': error('one group in two places'),
  'unknown-group': error('a reference to a group that is nowhere'),
  'duplicate-issuer': error('one issuer in two places, or two with the same tokens'),
  'unknown-issuer': error('a reference to an issuer that is nowhere'),
  'duplicate-token': error('one token digest for two agents'),
  'duplicate-certificate': error('one certificate name for two agents'),
  'overlapping-sources': error('two agents that the same source address would identify'),
  'open-sources': error('an agent that any source address would identify'),
  // Reach: errors
  'broad-wildcard': error('a wildcard over names that strangers can register'),
  'metadata-entry': error('an entry that names a metadata service'),
  'own-listener': error('an entry that names a listener of the proxy itself'),
  'never-granted': error('an entry or range that can never be granted'),
  'broad-claim': error("claims that strangers' tokens fit"),
  'broad-inject': error('a secret given to every name of a broad wildcard'),
  // Reach: warnings
  'no-agents': warning('no agent at all: everything is blocked'),
  'no-way-in': warning('an agent that no credential can identify'),
  'unused-group': warning('a group that no agent names'),
  'unused-issuer': warning('an issuer whose tokens no agent takes'),
  'unusable-keys': warning('a key file with which no token can be checked'),
  'duplicate-entry': warning('the same entry twice in one list'),
  'shadowed-entry': warning('an entry that a wider one of the same list makes superfluous'),
  'denied-entry': warning('an allow entry that a deny entry covers completely'),
  'expired-entry': warning('an entry or grant whose `until` has passed'),
  'broad-not-needed': warning('`broad` on an entry that is not broad'),
  'doh-host': unlessNoted('a DNS-over-HTTPS host: names can be smuggled out in queries'),
  'upload-host': unlessNoted('a host made for uploads and publishing'),
  'shared-host': unlessNoted("a host where strangers' content lives beside what is wanted"),
  'webhook-host': unlessNoted('a host that takes messages from anybody'),
  'wide-range': unlessNoted('a range of addresses as wide as a large part of the Internet'),
  'relay-port': unlessNoted('a port on which proxies listen: it may lead anywhere'),
  'fork-claim': unlessNoted('claims that tokens of pull requests fit'),
  'inject-in-clear': unlessNoted('a secret sent over plain HTTP'),
  'inject-wildcard': unlessNoted('a secret given to every name of a wildcard'),
  'tools-wildcard': unlessNoted('tools of every path and every name of a wildcard'),
  'unread-conditions': unlessNoted('an entry that opens unread what another has conditions for'),
  'unread-inject': warning('an entry that opens unread what another injects a credential into'),
  // What is revoked
  'bad-revocation': error('an id that names no credential or certificate'),
  'duplicate-revocation': warning('the same revocation or quarantine twice'),
  'future-revocation': warning('a revocation of what is yet to be issued'),
  'unknown-agent': warning('a revocation or quarantine of an agent that is nowhere'),
  // Settings and test files
  'bad-setting': error('a setting that cannot be used'),
  'bad-expectation': error('an expectation that cannot be run'),
} as const satisfies Readonly<Record<string, CodeInfo>>;

export type ProblemCode = keyof typeof problemCodes;

/** True if a `note` on the entry silences this warning. */
export function noteSilences(code: ProblemCode): boolean {
  return 'noteSilences' in problemCodes[code];
}
