import { createHash } from 'node:crypto';
import { systemClock } from '../core/clock.ts';
import { type AgentSpec, buildPolicy, type GroupSpec } from '../policy/build.ts';
import type { Policy } from '../policy/policy.ts';
import {
  type AgentDefinition,
  type AllowlistFile,
  type GroupDefinition,
  readAllowlistFile,
} from './allowlist-file.ts';
import { checkPresence, crossCheck } from './cross-check.ts';
import type { Report } from './fields.ts';
import { type FileReader, systemFiles } from './file-reader.ts';
import { type IssuerDefinition, issuerOf } from './issuers.ts';
import { keyFileProblems } from './key-files.ts';
import { lint } from './lint.ts';
import type { LintContext } from './lint-entry.ts';
import {
  compareText,
  formatPlace,
  hasErrors,
  type Problem,
  problemAt,
  sortProblems,
} from './problem.ts';
import { readSnapshot } from './snapshot.ts';
import { readYaml } from './yaml.ts';

/** Keeps a byte order mark, so that the text stands for the same bytes. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export interface CompileResult {
  /** Null if there is any error: a broken file never weakens anything. */
  readonly policy: Policy | null;
  /** All of them, in the order of files and lines. */
  readonly problems: readonly Problem[];
  /** Path relative to the allowlists directory → text, in path order. Exact if the files compile. */
  readonly files: ReadonlyMap<string, string>;
  /** Twelve hexadecimal digits, of these files whether or not they compile. */
  readonly digest: string;
  readonly counts: Counts;
}

export interface Counts {
  readonly files: number;
  readonly agents: number;
  readonly groups: number;
  /** Allow and deny entries of agents, groups and the top level; references to groups not counted. */
  readonly entries: number;
}

/**
 * Reads and compiles a directory of allowlists (contract §3). `now`, ms since the epoch, only decides
 * which entries are warned about as expired; with `isOwnListener`, entries that name a listener of
 * the proxy are errors. Never rejects: what goes wrong is a problem.
 */
export async function compileDirectory(
  directory: string,
  now: number,
  reader: FileReader = systemFiles,
  isOwnListener: LintContext['isOwnListener'] = () => false,
): Promise<CompileResult> {
  const snapshot = await readSnapshot(directory, reader);
  const { issuers, ...result } = compile(snapshot.files, snapshot.problems, { now, isOwnListener });
  const problems = await keyFileProblems(directory, issuers, reader);
  return { ...result, problems: sortProblems([...result.problems, ...problems]) };
}

/** The same for texts that are at hand: path → content. */
export function compileTexts(
  texts: ReadonlyMap<string, string | Uint8Array>,
  now: number = systemClock.now(),
): CompileResult {
  const files = new Map<string, Uint8Array>();
  for (const path of [...texts.keys()].sort(compareText)) {
    const text = texts.get(path) ?? '';
    files.set(path, typeof text === 'string' ? new TextEncoder().encode(text) : text);
  }
  const { issuers: _, ...result } = compile(files, [], { now, isOwnListener: () => false });
  return result;
}

interface Compiled extends CompileResult {
  readonly issuers: readonly IssuerDefinition[];
}

function compile(
  files: ReadonlyMap<string, Uint8Array>,
  earlier: readonly Problem[],
  context: LintContext,
): Compiled {
  const problems = [...earlier];
  const report: Report = (at, code, message, hint) => {
    problems.push(problemAt(at, code, message, hint));
  };
  const documents: AllowlistFile[] = [];
  let complete = !hasErrors(earlier);
  for (const [path, bytes] of files) {
    const yaml = readYaml(path, bytes);
    problems.push(...yaml.problems);
    complete &&= yaml.root !== null || yaml.problems.length === 0;
    documents.push(readAllowlistFile(yaml.root, report));
  }
  crossCheck(documents, report);
  lint(documents, context, report);
  // What is missing may stand in the file that could not be read.
  if (complete) checkPresence(documents, report);
  const digest = digestOf(files);
  return {
    policy: hasErrors(problems) ? null : build(documents, digest),
    problems: sortProblems(problems),
    files: new Map([...files].map(([path, bytes]) => [path, decoder.decode(bytes)])),
    digest,
    counts: countsOf(files, documents),
    issuers: documents.flatMap((document) => document.issuers),
  };
}

/** First 12 hexadecimal digits of SHA-256 over (path, length, bytes) of every file in path order. */
function digestOf(files: ReadonlyMap<string, Uint8Array>): string {
  const hash = createHash('sha256');
  for (const [path, bytes] of files) hash.update(`${path}\0${bytes.length}\0`).update(bytes);
  return hash.digest('hex').slice(0, 12);
}

function build(documents: readonly AllowlistFile[], digest: string): Policy {
  return buildPolicy({
    digest,
    groups: documents.flatMap(({ groups }) => groups.map(groupSpec)),
    agents: documents.flatMap(({ agents }) => agents.map(agentSpec)),
    deny: documents.flatMap(({ deny }) => deny),
    issuers: documents.flatMap(({ issuers }) => issuers.map(issuerOf)),
  });
}

function groupSpec(group: GroupDefinition): GroupSpec {
  return { ...group, at: formatPlace(group.at) };
}

function agentSpec(agent: AgentDefinition): AgentSpec {
  return { ...agent, at: formatPlace(agent.at) };
}

function countsOf(
  files: ReadonlyMap<string, Uint8Array>,
  documents: readonly AllowlistFile[],
): Counts {
  const groups = documents.flatMap((document) => document.groups);
  const agents = documents.flatMap((document) => document.agents);
  const lists = [...groups, ...agents].flatMap(({ allow, deny }) => [allow, deny]);
  const top = documents.map(({ deny }) => deny);
  return {
    files: files.size,
    agents: agents.length,
    groups: groups.length,
    entries: [...lists, ...top].reduce((sum, list) => sum + list.length, 0),
  };
}
