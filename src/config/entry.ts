import type { EntrySpec } from '../policy/build.ts';
import { unconditional } from '../policy/entry-conditions.ts';
import { type HostPattern, parsePattern } from '../policy/pattern.ts';
import type { Scheme } from '../policy/policy.ts';
import { clip } from './clip.ts';
import { type EntryFields, entryFields, readConditions } from './entry-fields.ts';
import { parseEntryForm } from './entry-form.ts';
import { expected, type Reader, type Report, readFields } from './fields.ts';
import type { Position } from './problem.ts';
import type { YamlMap } from './yaml.ts';

/** One host entry of an allow or deny list, as written and checked by itself. */
export interface EntryLine extends EntrySpec {
  readonly kind: 'entry';
  readonly at: Position;
  /** The author says that a wildcard over strangers' names is meant. */
  readonly broad: boolean;
}

/** `- group: NAME` in an agent's allow list. */
export interface GroupLine {
  readonly kind: 'group';
  readonly group: string;
  /** Ms since the epoch; Infinity if the grant has no end. */
  readonly until: number;
  readonly note: string | undefined;
  readonly at: Position;
}

export type ListKind = 'agent-allow' | 'group-allow' | 'deny';

const defaultPorts = { https: [443], http: [80] } as const;

const EXAMPLES =
  '`example.com`, `"*.example.com"`, `http://example.com`, `tcp://example.com:22` or `{host: example.com, …}`';

/** One item of a list of entries. */
export function readEntry(list: ListKind): Reader<EntryLine | GroupLine> {
  return (node, name, report) => {
    // `127.1` is a number to YAML; as a pattern it gets the better answer.
    if (node.kind === 'scalar' && ['string', 'number'].includes(typeof node.value)) {
      const source = typeof node.value === 'string' ? node.value : node.source;
      return readShortForm(source, node.at, list, report);
    }
    if (node.kind === 'map') return readLongForm(node, list, report);
    return expected(node, name, 'a host or a map', `Write ${EXAMPLES}.`, report);
  };
}

function readShortForm(
  text: string,
  at: Position,
  list: ListKind,
  report: Report,
): EntryLine | undefined {
  const form = parseEntryForm(text);
  if ('code' in form) {
    report(at, form.code, form.message, form.hint);
    return undefined;
  }
  const pattern = readPattern(form.host, at, (hint) => text.replace(form.host, () => hint), report);
  if (pattern === undefined) return undefined;
  const scheme = form.scheme ?? (list === 'deny' ? undefined : 'https');
  const ports = form.port === undefined ? portsOf(scheme, list) : [form.port];
  if (ports === 'missing') {
    reportMissingPort(at, `tcp://${form.host}:22`, report);
    return undefined;
  }
  return { ...plainEntry(at), pattern, scheme, ports };
}

function readLongForm(
  map: YamlMap,
  list: ListKind,
  report: Report,
): EntryLine | GroupLine | undefined {
  const fields = readFields(map, entryFields, report);
  if (fields.keys.has('group')) return readGroupLine(fields, list, report);
  const { host, scheme: written, ports: givenPorts } = fields.values;
  if (!fields.keys.has('host')) {
    report(
      map.at,
      'missing-key',
      '`host` is missing',
      'Write `{host: example.com, …}` or `{group: NAME}`.',
    );
  }
  const scheme = written ?? (list === 'deny' ? undefined : 'https');
  const conditions = readConditions(fields, scheme, list === 'deny', report);
  if (host === undefined) return undefined;
  const pattern = readLongHost(host.value, host.at, report);
  const schemeIsBad = fields.keys.has('scheme') && written === undefined;
  const ports = givenPorts ?? portsOf(schemeIsBad ? undefined : scheme, list);
  if (ports === 'missing' && !fields.keys.has('ports')) {
    reportMissingPort(map.at, `{host: ${clip(host.value)}, scheme: tcp, ports: [22]}`, report);
  }
  if (pattern === undefined || ports === 'missing') return undefined;
  return { ...plainEntry(map.at), ...conditions, pattern, scheme, ports };
}

/** In the long form scheme and port have keys of their own. */
function readLongHost(host: string, at: Position, report: Report): HostPattern | undefined {
  const form = parseEntryForm(host);
  if ('code' in form) {
    report(at, form.code, `\`host\`: ${form.message}`, form.hint);
    return undefined;
  }
  if (form.scheme !== undefined || form.port !== undefined) {
    const parts = [`host: ${form.host}`];
    if (form.scheme !== undefined) parts.push(`scheme: ${form.scheme}`);
    if (form.port !== undefined) parts.push(`ports: [${form.port}]`);
    const message = `\`host\`: \`${clip(host)}\` is a short form; a map has keys for scheme and ports`;
    report(at, 'url-form', message, `Write \`{${parts.join(', ')}}\`.`);
    return undefined;
  }
  return readPattern(form.host, at, (hint) => hint, report);
}

function readPattern(
  host: string,
  at: Position,
  whole: (hint: string) => string,
  report: Report,
): HostPattern | undefined {
  const pattern = parsePattern(host);
  if ('kind' in pattern) return pattern;
  const hint =
    pattern.hint === undefined
      ? `Write ${EXAMPLES}.`
      : `Write \`${quoteIfStarred(whole(pattern.hint))}\`.`;
  report(at, pattern.code, `\`${clip(host)}\`: ${pattern.message}`, hint);
  return undefined;
}

/** What YAML needs quotes for. */
export function quoteIfStarred(pattern: string): string {
  return /^[*[]/u.test(pattern) ? `"${pattern}"` : pattern;
}

function readGroupLine(fields: EntryFields, list: ListKind, report: Report): GroupLine | undefined {
  const { group, until, note } = fields.values;
  for (const [key, at] of fields.keys) {
    if (key in entryFields && key !== 'group' && key !== 'until' && key !== 'note') {
      const message = `\`${key}\` cannot stand beside \`group\`; only \`until\` and \`note\` can`;
      report(at, 'conflicting-keys', message, 'Put it on the entries inside the group.');
    }
  }
  if (list === 'group-allow') {
    report(
      fields.at,
      'nested-group',
      'a group cannot hold another group',
      'Name both groups where the agent names this one.',
    );
    return undefined;
  }
  if (list === 'deny') {
    report(
      fields.at,
      'deny-condition',
      'a deny list cannot name a group',
      "Write the hosts out; a group's own `deny` already holds for its agents.",
    );
    return undefined;
  }
  if (group === undefined) return undefined;
  return { kind: 'group', group, until: until ?? Number.POSITIVE_INFINITY, note, at: fields.at };
}

function portsOf(
  scheme: Scheme | undefined,
  list: ListKind,
): readonly number[] | undefined | 'missing' {
  // A deny entry without a port covers every port of its scheme: the wider reading is the safe one.
  if (list === 'deny' || scheme === undefined) return undefined;
  return scheme === 'tcp' ? 'missing' : defaultPorts[scheme];
}

function reportMissingPort(at: Position, form: string, report: Report): void {
  report(
    at,
    'missing-port',
    'a tcp entry names its port; none is usual',
    `Write \`${form}\`, with the port that is meant.`,
  );
}

function plainEntry(at: Position): Omit<EntryLine, 'pattern' | 'scheme' | 'ports'> {
  return {
    kind: 'entry',
    at,
    file: at.file,
    line: at.line,
    addresses: [],
    until: Number.POSITIVE_INFINITY,
    ...unconditional,
    upload: undefined,
    note: undefined,
    broad: false,
  };
}
