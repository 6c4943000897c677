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
import { type Injection, readInjections } from './inject.ts';
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
  broad: boolean,
  upload: parsed(parseSize),
  inject: notEmpty(readInjections),
  group: text,
};

export type EntryFields = FieldValues<typeof entryFields>;

/** What an entry may carry beside its target. */
export interface Conditions {
  readonly addresses: NonNullable<EntryFields['values']['addresses']>;
  readonly until: number;
  readonly methods: readonly string[] | undefined;
  readonly paths: readonly string[] | undefined;
  readonly broad: boolean;
  readonly note: string | undefined;
  readonly upload: number | undefined;
  readonly inject: boolean;
  readonly injections: readonly Injection[];
}

/** Keys that grant or narrow; on a deny entry they would make a hole in it, or mean nothing. */
const allowOnly = ['addresses', 'methods', 'paths', 'upload', 'inject'] as const;
/** Keys that need to see inside the connection. */
const httpOnly = ['methods', 'paths', 'inject'] as const;

export function readConditions(
  fields: EntryFields,
  scheme: Scheme | undefined,
  deny: boolean,
  report: Report,
): Conditions {
  if (deny) reportDenyKeys(fields, report);
  if (scheme === 'tcp') reportHttpKeys(fields, report);
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
    broad: values.broad ?? false,
    note: values.note,
    upload: values.upload,
    inject: fields.keys.has('inject'),
    injections: values.inject ?? [],
  };
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
function parseMethod(method: string): { value: string } | Complaint {
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
