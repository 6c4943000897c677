import type { EntryConditions } from '../policy/entry-conditions.ts';
import { parsePathPattern } from '../policy/path-pattern.ts';
import type { Scheme } from '../policy/policy.ts';
import { clip } from './clip.ts';
import { parseRange } from './entry-form.ts';
import {
  boolean,
  type Complaint,
  type FieldValues,
  integer,
  located,
  notEmpty,
  oneOf,
  parsed,
  prose,
  type Report,
  text,
  uniqueListOf,
} from './fields.ts';
import { readInjections } from './inject.ts';
import type { Position } from './problem.ts';
import {
  readContentTypes,
  readHeaderNames,
  readHeaderRules,
  readQueryRules,
  readToolRules,
} from './request-fields.ts';
import { parseSize, parseTime } from './units.ts';

/** Every key of the long form of an entry, with the type of its value. */
export const entryFields = {
  host: located(text),
  scheme: oneOf(['https', 'http', 'tcp']),
  ports: notEmpty(uniqueListOf(integer(1, 65_535, 'bad-port'), 'ports', '[443, 8443]', String)),
  addresses: notEmpty(
    uniqueListOf(parsed(parseRange), 'ranges', '[10.3.0.0/16]', (cidr) => cidr.text),
  ),
  until: parsed(parseTime),
  note: prose(500),
  methods: notEmpty(uniqueListOf(parsed(parseMethod), 'methods', '[GET, HEAD]', String)),
  paths: notEmpty(uniqueListOf(parsed(parsePath), 'path patterns', '["/a/**"]', String)),
  query: readQueryRules,
  headers: readHeaderRules,
  'content-types': readContentTypes,
  'max-body': parsed(parseSize),
  tools: readToolRules,
  broad: boolean,
  upload: parsed(parseSize),
  inject: notEmpty(readInjections),
  pass: readHeaderNames,
  group: text,
};

export type EntryFields = FieldValues<typeof entryFields>;

/** What an entry may carry beside its target. */
export interface Conditions extends EntryConditions {
  readonly addresses: NonNullable<EntryFields['values']['addresses']>;
  readonly until: number;
  readonly broad: boolean;
  readonly note: string | undefined;
  readonly upload: number | undefined;
}

/** Keys that need to see inside the connection. */
const httpOnly = [
  'methods',
  'paths',
  'query',
  'headers',
  'content-types',
  'max-body',
  'tools',
  'inject',
  'pass',
] as const;
/** Keys that grant or narrow; on a deny entry they would make a hole in it, or mean nothing. */
const allowOnly = ['addresses', 'upload', ...httpOnly] as const;

export function readConditions(
  fields: EntryFields,
  scheme: Scheme | undefined,
  deny: boolean,
  report: Report,
): Conditions {
  if (deny) reportDenyKeys(fields, report);
  if (scheme === 'tcp') reportHttpKeys(fields, report);
  reportPass(fields, report);
  const { values } = fields;
  if (values.broad === true && !fields.keys.has('note')) {
    const message = '`broad: true` needs a `note` that says why';
    report(fields.at, 'missing-key', message, 'Write `note:`, who decided it and what for.');
  }
  return {
    addresses: values.addresses ?? [],
    until: values.until ?? Number.POSITIVE_INFINITY,
    methods: values.methods,
    paths: values.paths,
    query: values.query,
    headers: values.headers,
    contentTypes: values['content-types'],
    maxBody: values['max-body'],
    tools: values.tools,
    inject: values.inject,
    pass: values.pass ?? [],
    broad: values.broad ?? false,
    note: values.note,
    upload: values.upload,
  };
}

/** `pass` is an exception to what `inject` takes away. */
function reportPass({ keys, values }: EntryFields, report: Report): void {
  const at = keys.get('pass');
  if (at === undefined) return;
  if (!keys.has('inject')) {
    const message = '`pass` without `inject`: only an entry that injects takes credentials away';
    report(at, 'conflicting-keys', message, 'Leave it out.');
    return;
  }
  const injected = values.inject?.map(({ header }) => header);
  reportNotPassed(at, values.pass, injected, 'is the one that `inject` sets', report);
  reportNotPassed(at, values.pass, values.headers?.strip, 'is one that `strip` takes away', report);
}

function reportNotPassed(
  at: Position,
  pass: readonly string[] | undefined,
  others: readonly string[] | undefined,
  why: string,
  report: Report,
): void {
  const name = pass?.find((header) => others?.includes(header));
  if (name === undefined) return;
  const hint = 'Take it out of `pass`: what the client sends there does not reach the host.';
  report(at, 'conflicting-keys', `\`pass\`: \`${name}\` ${why}`, hint);
}

function reportDenyKeys(fields: EntryFields, report: Report): void {
  const until = fields.keys.get('until');
  if (until !== undefined) {
    const message = 'a deny entry has no end: one that expires would open access';
    report(
      until,
      'deny-until',
      message,
      'Leave `until` out, and delete the entry when its time has come.',
    );
  }
  for (const key of allowOnly) {
    const at = fields.keys.get(key);
    if (at === undefined) continue;
    const message = `\`${key}\` on a deny entry: a deny covers everything at its host and ports`;
    report(at, 'deny-condition', message, 'Leave it out, or put the condition on the allow entry.');
  }
}

function reportHttpKeys(fields: EntryFields, report: Report): void {
  for (const key of httpOnly) {
    const at = fields.keys.get(key);
    if (at === undefined) continue;
    const message = `\`${key}\` on a tcp entry: nobody looks inside a tcp tunnel`;
    report(
      at,
      'conflicting-keys',
      message,
      'Write `scheme: https` or `scheme: http`, or leave the key out.',
    );
  }
}

/** RFC 9110 §9.1: a token; upper case by convention, and compared exactly. */
export function parseMethod(method: string): { value: string } | Complaint {
  if (method === 'CONNECT') {
    return {
      code: 'bad-method',
      message: 'CONNECT is not a request inside a connection',
      hint: 'Name the methods that are sent inside it: GET, HEAD, POST …',
    };
  }
  if (/^[A-Z][A-Z0-9_-]{0,31}$/u.test(method)) return { value: method };
  const upper = method.toUpperCase();
  return {
    code: 'bad-method',
    message: `\`${clip(method)}\` is not an HTTP method`,
    hint: /^[A-Z][A-Z0-9_-]{0,31}$/u.test(upper)
      ? `Write \`${upper}\`.`
      : 'Write GET, HEAD, POST …',
  };
}

function parsePath(path: string): { value: string } | Complaint {
  const pattern = parsePathPattern(path);
  if (!('code' in pattern)) return { value: path };
  return {
    code: 'bad-path',
    message: `\`${clip(path)}\`: ${pattern.message}`,
    hint:
      pattern.hint === undefined ? 'Write `"/repos/example/**"`.' : `Write \`"${pattern.hint}"\`.`,
  };
}
