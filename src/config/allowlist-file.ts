import { agentId } from '../core/agent-id.ts';
import type { AgentLimits } from '../policy/policy.ts';
import { clip } from './clip.ts';
import { type CredentialLines, defaultCredentials, readCredentials } from './credentials.ts';
import { type EntryLine, type GroupLine, type ListKind, readEntry } from './entry.ts';
import {
  expected,
  type FieldValues,
  fieldsOf,
  integer,
  listOf,
  oneOf,
  parsed,
  prose,
  type Reader,
  type Report,
  readFields,
} from './fields.ts';
import { type IssuerDefinition, readIssuer } from './issuers.ts';
import type { Position } from './problem.ts';
import { parseSize } from './units.ts';
import type { YamlNode } from './yaml.ts';

/** What one file says (contract §3). Names are unique inside a file; between files nothing is checked yet. */
export interface AllowlistFile {
  readonly groups: readonly GroupDefinition[];
  readonly agents: readonly AgentDefinition[];
  /** Top level: for every agent. */
  readonly deny: readonly EntryLine[];
  readonly issuers: readonly IssuerDefinition[];
}

export interface GroupDefinition {
  readonly name: string;
  readonly about: string | undefined;
  readonly allow: readonly EntryLine[];
  readonly deny: readonly EntryLine[];
  readonly at: Position;
}

export interface AgentDefinition {
  readonly id: string;
  readonly owner: string;
  readonly purpose: string;
  readonly mode: 'enforce' | 'report';
  readonly credentials: CredentialLines;
  readonly limits: AgentLimits;
  readonly groups: readonly GroupLine[];
  readonly allow: readonly EntryLine[];
  readonly deny: readonly EntryLine[];
  readonly at: Position;
}

const MILLION = 1_000_000;

const groupName = /^[a-z0-9][a-z0-9._/-]{0,62}$/u;

const limitFields = {
  connections: integer(1, MILLION),
  'connections-per-second': integer(1, MILLION),
  'upload-per-tunnel': parsed(parseSize),
};

const groupFields = {
  about: prose(1000),
  allow: entryList('group-allow'),
  deny: entryList('deny'),
};

const agentFields = {
  owner: prose(200),
  purpose: prose(1000),
  credentials: readCredentials,
  allow: entryList('agent-allow'),
  deny: entryList('deny'),
  mode: oneOf(['enforce', 'report']),
  limits: fieldsOf(
    limitFields,
    '{connections: 64, connections-per-second: 50, upload-per-tunnel: 50MB}',
  ),
};

const fileFields = {
  groups: namedMap(groupName, 'a group name', 'registry/npm', readGroup),
  agents: namedMap(agentId, 'an agent id', 'storefront-refactor', readAgent),
  deny: entryList('deny'),
  issuers: namedMap(agentId, 'an issuer name', 'github-actions', readIssuer),
};

/**
 * Reads the schema of one allowlist file. Problems go to `report`; what could be read comes back,
 * so that later checks see it too. An empty file is an empty result.
 */
export function readAllowlistFile(root: YamlNode | null, report: Report): AllowlistFile {
  if (root === null) return { groups: [], agents: [], deny: [], issuers: [] };
  if (root.kind !== 'map') {
    expected(
      root,
      'an allowlist file',
      'a map',
      'Write `groups:`, `agents:`, `issuers:` or `deny:` at the top level.',
      report,
    );
    return { groups: [], agents: [], deny: [], issuers: [] };
  }
  const { values } = readFields(root, fileFields, report);
  return {
    groups: values.groups ?? [],
    agents: values.agents ?? [],
    deny: entriesOf(values.deny),
    issuers: values.issuers ?? [],
  };
}

function entryList(list: ListKind): Reader<readonly (EntryLine | GroupLine)[]> {
  return listOf(
    readEntry(list),
    'entries',
    list === 'deny' ? '["*.example.com"]' : '[example.com]',
  );
}

/** A map from names to definitions. */
function namedMap<T>(
  grammar: RegExp,
  what: string,
  example: string,
  read: (name: string, at: Position, node: YamlNode, report: Report) => T | undefined,
): Reader<readonly T[]> {
  return (node, name, report) => {
    if (node.kind !== 'map') {
      return expected(
        node,
        name,
        `a map with ${what} as each key`,
        `Write \`${name.replaceAll('`', '')}: {${example}: {…}}\`, or leave the key out.`,
        report,
      );
    }
    const definitions: T[] = [];
    for (const { key, at, value } of node.entries.values()) {
      if (!grammar.test(key)) reportName(key, at, what, example, report);
      const definition = read(key, at, value, report);
      if (definition !== undefined) definitions.push(definition);
    }
    return definitions;
  };
}

function reportName(
  key: string,
  at: Position,
  what: string,
  example: string,
  report: Report,
): void {
  const lower = key.toLowerCase();
  const hint =
    lower !== key && groupName.test(lower)
      ? `Write \`${lower}\`.`
      : `Write a name such as \`${example}\`.`;
  const slash = what === 'a group name' ? ' and slashes' : '';
  const message = `\`${clip(key)}\` is not ${what}: 1 to 63 lower-case letters, digits, dots, hyphens, underscores${slash}, a letter or digit first`;
  report(at, 'bad-name', message, hint);
}

function readGroup(
  name: string,
  at: Position,
  node: YamlNode,
  report: Report,
): GroupDefinition | undefined {
  if (node.kind !== 'map') {
    return expected(
      node,
      `the group \`${clip(name)}\``,
      'a map',
      'Write `allow: [example.com]` below it.',
      report,
    );
  }
  const { values } = readFields(node, groupFields, report);
  return {
    name,
    about: values.about,
    allow: entriesOf(values.allow),
    deny: entriesOf(values.deny),
    at,
  };
}

function readAgent(
  id: string,
  at: Position,
  node: YamlNode,
  report: Report,
): AgentDefinition | undefined {
  if (node.kind !== 'map') {
    return expected(
      node,
      `the agent \`${clip(id)}\``,
      'a map',
      'Write `owner:`, `purpose:` and `allow:` below it.',
      report,
    );
  }
  const fields = readFields(node, agentFields, report);
  reportMissingKeys(id, at, fields, report);
  const { values } = fields;
  const allow = values.allow ?? [];
  return {
    id,
    // Never seen by anybody if it is not there: a file with a problem makes no policy.
    owner: values.owner ?? '',
    purpose: values.purpose ?? '',
    mode: values.mode ?? 'enforce',
    credentials: values.credentials ?? defaultCredentials(at),
    limits: {
      connections: values.limits?.values.connections,
      connectionsPerSecond: values.limits?.values['connections-per-second'],
      uploadPerTunnel: values.limits?.values['upload-per-tunnel'],
    },
    groups: allow.filter((line) => line.kind === 'group'),
    allow: entriesOf(allow),
    deny: entriesOf(values.deny),
    at,
  };
}

function reportMissingKeys(
  id: string,
  at: Position,
  fields: FieldValues<typeof agentFields>,
  report: Report,
): void {
  if (!fields.keys.has('owner')) {
    report(
      at,
      'missing-key',
      `the agent \`${clip(id)}\` has no \`owner\``,
      'Write `owner:`, who answers for it: team@example.com.',
    );
  }
  if (!fields.keys.has('purpose')) {
    report(
      at,
      'missing-key',
      `the agent \`${clip(id)}\` has no \`purpose\``,
      'Write `purpose:`, what it is for, in a sentence.',
    );
  }
}

function entriesOf(lines: readonly (EntryLine | GroupLine)[] | undefined): readonly EntryLine[] {
  return (lines ?? []).filter((line) => line.kind === 'entry');
}
