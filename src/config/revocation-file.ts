import { join } from 'node:path';
import { isAgentId } from '../core/agent-id.ts';
import { keyOf, parseSerial, parseTokenId, type RevocationEntry } from '../identity/revocations.ts';
import { clip } from './clip.ts';
import {
  type Complaint,
  expected,
  type FieldValues,
  fieldsOf,
  type Located,
  listOf,
  located,
  parsed,
  prose,
  type Report,
  readFields,
} from './fields.ts';
import { describeFileError, type FileReader, isMissing, systemFiles } from './file-reader.ts';
import { formatPlace, hasErrors, type Problem, problemAt, sortProblems } from './problem.ts';
import { didYouMean } from './spelling.ts';
import { parseTime } from './units.ts';
import { readYaml, type YamlNode } from './yaml.ts';
import { MAX_YAML_BYTES } from './yaml-text.ts';

/** At the root of the allowlists directory; never read as an allowlist. */
export const revocationFileName = 'revocations.yaml';

/** UTF-16 code units. The egress log shows the first 256 bytes of each. */
export const longestBy = 256;
export const longestWhy = 512;

export interface RevocationFile {
  /** Null if there is any error: then what was in force stays in force. */
  readonly entries: readonly RevocationEntry[] | null;
  readonly problems: readonly Problem[];
  /** False if there is no such file: nothing is revoked. */
  readonly exists: boolean;
}

const common = { at: parsed(parseTime), by: prose(longestBy), why: prose(longestWhy) };
const revokedFields = {
  token: located(parsed(readTokenId)),
  certificate: located(parsed(readSerial)),
  agent: located(parsed(readAgentId)),
  ...common,
};
const quarantinedFields = { agent: located(parsed(readAgentId)), ...common };

const REVOKED = '{token: 01JD8Q6Z0000000000000000AB, by: alice@example.com, why: laptop lost}';
const QUARANTINED = '{agent: demo, by: alice@example.com, why: odd uploads}';

/** Unknown agents for which a known one is looked for: each costs a look at all of them. */
const MOST_GUESSED = 10;

const TOO_LARGE =
  'Take out what has expired by itself: an issued credential lives for 30 days at most.';

const fileFields = {
  revoked: listOf(fieldsOf(revokedFields, REVOKED), 'credentials', `[${REVOKED}]`),
  quarantined: listOf(fieldsOf(quarantinedFields, QUARANTINED), 'agents', `[${QUARANTINED}]`),
};

/**
 * Reads what is revoked and quarantined, once. A directory without the file revokes nothing; one that
 * cannot be read is an error. Never rejects.
 *
 * @param now ms since the epoch: times after it are warned about
 */
export async function readRevocationFile(
  directory: string,
  now: number,
  reader: FileReader = systemFiles,
): Promise<RevocationFile> {
  return await createRevocationReader(directory, () => now, reader)();
}

/** The same for a file that is read again and again: bytes that have not changed are not parsed again. */
export function createRevocationReader(
  directory: string,
  now: () => number,
  reader: FileReader = systemFiles,
): () => Promise<RevocationFile> {
  const path = join(directory, revocationFileName);
  let last: { readonly bytes: Uint8Array; readonly file: RevocationFile } | null = null;
  return async () => {
    try {
      // A pipe in the file's place would never be read to its end.
      if ((await reader.stat(path)).kind !== 'file') return refused('this is no file');
      const bytes = await reader.read(path, MAX_YAML_BYTES + 1);
      if (last === null || Buffer.compare(bytes, last.bytes) !== 0) {
        last = { bytes, file: parseRevocations(bytes, now()) };
      }
      return last.file;
    } catch (error) {
      return isMissing(error) ? await missing(directory, reader) : unreadable(error);
    }
  };
}

/** Nothing of that name, or something that leads nowhere: only the first one revokes nothing. */
async function missing(directory: string, reader: FileReader): Promise<RevocationFile> {
  try {
    const names = await reader.list(directory);
    if (names.includes(revocationFileName)) return refused('it is a link that leads nowhere');
    return { entries: [], problems: [], exists: false };
  } catch (error) {
    return unreadable(error);
  }
}

function unreadable(error: unknown): RevocationFile {
  return refused(`cannot be read: ${describeFileError(error)}`);
}

function refused(message: string): RevocationFile {
  const problem = problemAt(
    { file: revocationFileName, line: 1, column: 1 },
    'file-unreadable',
    message,
    'Put a file there that the user can read whom Sallyport runs as; what was revoked before stays revoked.',
  );
  return { entries: null, problems: [problem], exists: true };
}

/** The same for bytes that are at hand. */
export function parseRevocations(bytes: Uint8Array, now: number): RevocationFile {
  const yaml = readYaml(revocationFileName, bytes);
  const problems = yaml.problems.map((problem) =>
    problem.code === 'yaml-size' ? { ...problem, hint: TOO_LARGE } : problem,
  );
  const report: Report = (at, code, message, hint) => {
    problems.push(problemAt(at, code, message, hint));
  };
  const entries = readEntries(yaml.root, now, report);
  return {
    entries: hasErrors(problems) ? null : entries,
    problems: sortProblems(problems),
    exists: true,
  };
}

/** Warns about agents that no allowlist has: a slip, or an agent that is gone or still to come. */
export function checkAgents(
  entries: readonly RevocationEntry[],
  agents: ReadonlyMap<string, unknown>,
): Problem[] {
  return entries
    .filter(({ kind, id }) => (kind === 'agent' || kind === 'quarantine') && !agents.has(id))
    .map(({ id, place }, index) => {
      const meant = index < MOST_GUESSED ? didYouMean(id, agents.keys()) : '';
      const line = Number(place.slice(place.lastIndexOf(':') + 1));
      return problemAt(
        { file: revocationFileName, line, column: 1 },
        'unknown-agent',
        `there is no agent \`${id}\` in the allowlists${meant}`,
        'Correct the id, or leave the line if the agent is gone.',
      );
    });
}

function readEntries(root: YamlNode | null, now: number, report: Report): RevocationEntry[] {
  if (root === null) return [];
  if (root.kind !== 'map') {
    expected(root, revocationFileName, 'a map', `Write \`revoked: [${REVOKED}]\`.`, report);
    return [];
  }
  const { values } = readFields(root, fileFields, report);
  const found = [
    ...(values.revoked ?? []).map((item) => revokedEntry(item, report)),
    ...(values.quarantined ?? []).map((item) => quarantinedEntry(item, report)),
  ].filter((item) => item !== undefined);
  warn(found, now, report);
  return found.map(({ value }) => value);
}

function warn(found: readonly Located<RevocationEntry>[], now: number, report: Report): void {
  const seen = new Map<string, string>();
  for (const { value, at } of found) {
    const first = seen.get(keyOf(value));
    if (first === undefined) seen.set(keyOf(value), value.place);
    else {
      const message = `${clip(value.id)} stands here a second time; it is already at ${first}`;
      report(at, 'duplicate-revocation', message, 'Write it once.');
    }
    if (value.kind === 'agent' && (value.at ?? 0) > now) {
      const message = `\`at\` is in the future: what is issued to ${value.id} until then is revoked too`;
      const hint =
        'Write the time up to which credentials are revoked; to stop an agent, quarantine it.';
      report(at, 'future-revocation', message, hint);
    }
  }
}

function revokedEntry(
  { values, keys, at }: FieldValues<typeof revokedFields>,
  report: Report,
): Located<RevocationEntry> | undefined {
  const named = (['token', 'certificate', 'agent'] as const).filter((key) => keys.has(key));
  const [kind, second] = named;
  if (kind === undefined || second !== undefined) {
    const message =
      kind === undefined
        ? 'this item does not say what is revoked'
        : `\`${kind}\` and \`${second}\` cannot stand together`;
    const code = kind === undefined ? 'missing-key' : 'conflicting-keys';
    report(at, code, message, 'Write one of `token`, `certificate` and `agent` in each item.');
    return undefined;
  }
  if (kind === 'agent' && !keys.has('at')) {
    const message = 'an agent is revoked without `at`, the time until which its credentials end';
    const hint =
      'Write `at: 2026-11-22T23:10:00Z`; to stop the agent itself, list it under `quarantined`.';
    report(at, 'missing-key', message, hint);
    return undefined;
  }
  const id = values[kind];
  if (id === undefined) return undefined;
  return entryOf(values, ...revoked(kind, id));
}

/** A certificate may be named as the log names it: `token: cert:0a1b`. */
function revoked(
  kind: 'token' | 'certificate' | 'agent',
  id: Located<string>,
): [RevocationEntry['kind'], Located<string>] {
  if (kind !== 'token' || !id.value.startsWith('cert:')) return [kind, id];
  return ['certificate', { ...id, value: id.value.slice('cert:'.length) }];
}

function quarantinedEntry(
  { values, keys, at }: FieldValues<typeof quarantinedFields>,
  report: Report,
): Located<RevocationEntry> | undefined {
  if (!keys.has('agent')) {
    report(at, 'missing-key', 'this item has no `agent`', `Write \`${QUARANTINED}\`.`);
  }
  return values.agent === undefined ? undefined : entryOf(values, 'quarantine', values.agent);
}

function entryOf(
  values: Pick<FieldValues<typeof revokedFields>['values'], 'at' | 'by' | 'why'>,
  kind: RevocationEntry['kind'],
  { value: id, at }: Located<string>,
): Located<RevocationEntry> {
  const { by, why } = values;
  return { value: { kind, id, at: values.at, by, why, place: formatPlace(at) }, at };
}

function readTokenId(text: string): { value: string } | Complaint {
  const serial = text.startsWith('cert:') ? parseSerial(text.slice('cert:'.length)) : null;
  const value = serial === null ? parseTokenId(text) : `cert:${serial}`;
  if (value !== null) return { value };
  return {
    code: 'bad-revocation',
    message: `\`${clip(text)}\` is not the id of a credential`,
    hint: 'Write the `token` of a log line: 01JD… (26 characters), sha256:…, jwt:… or cert:…; never the credential itself.',
  };
}

function readSerial(text: string): { value: string } | Complaint {
  const value = parseSerial(text);
  if (value !== null) return { value };
  return {
    code: 'bad-revocation',
    message: `\`${clip(text)}\` is not the serial number of a certificate`,
    hint: 'Write its hexadecimal digits, as `openssl x509 -noout -serial` prints them: "0a:1b:2c" or 0a1b2c.',
  };
}

function readAgentId(text: string): { value: string } | Complaint {
  if (isAgentId(text)) return { value: text };
  return {
    code: 'bad-name',
    message: `\`${clip(text)}\` is not an agent id`,
    hint: 'Write the id of the agent as the allowlists have it: lower-case letters, digits, dots, dashes and underscores.',
  };
}
