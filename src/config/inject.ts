import type { Injection, InjectionScheme } from '../policy/injection.ts';
import { clip } from './clip.ts';
import {
  boolean,
  type FieldValues,
  fieldsOf,
  listOf,
  parsed,
  prose,
  type Reader,
  type Report,
  text,
} from './fields.ts';
import { parseHeaderName } from './header-name.ts';
import { readSecret } from './secret-source.ts';

const EXAMPLE = '{header: authorization, value: "Bearer {secret}", secret: {env: NAME}}';
const FORMS = `\`${EXAMPLE}\`, \`{bearer: true, secret: …}\` or \`{basic: USER, secret: …}\``;

const injectionFields = {
  header: parsed(parseHeaderName),
  value: prose(1000),
  bearer: boolean,
  basic: text,
  secret: readSecret,
};

type InjectionFields = FieldValues<typeof injectionFields>;

const readParts = fieldsOf(injectionFields, EXAMPLE);

/** One item of `inject`: a header and its value, or one of the two usual schemes by its name. */
const readInjection: Reader<Injection> = (node, name, report) => {
  const parts = readParts(node, name, report);
  if (parts === undefined) return undefined;
  const field = readField(parts, name, report);
  if (!parts.keys.has('secret')) {
    report(parts.at, 'missing-key', `${name}: \`secret\` is missing`, `Write ${FORMS}.`);
  }
  const { secret } = parts.values;
  return field === undefined || secret === undefined ? undefined : { ...field, secret };
};

/** `inject` as a whole: no header twice. */
export const readInjections: Reader<readonly Injection[]> = (node, name, report) => {
  const list = listOf(readInjection, 'headers to add', `[${EXAMPLE}]`)(node, name, report);
  const seen = new Set<string>();
  for (const { header } of list ?? []) {
    if (seen.has(header)) {
      const message = `${name}: the header \`${header}\` is set twice`;
      report(node.at, 'duplicate-value', message, 'Set it once.');
    }
    seen.add(header);
  }
  return list;
};

type Field = Omit<Injection, 'secret'>;

function readField(parts: InjectionFields, name: string, report: Report): Field | undefined {
  const { keys, values, at } = parts;
  const forms = [keys.has('header') || keys.has('value'), keys.has('bearer'), keys.has('basic')];
  if (forms.filter(Boolean).length > 1) {
    const message = `${name}: one of \`header\` with \`value\`, \`bearer\` and \`basic\` says what is added`;
    report(at, 'conflicting-keys', message, `Write ${FORMS}.`);
    return undefined;
  }
  if (keys.has('bearer')) return readBearer(parts, name, report);
  if (keys.has('basic')) return values.basic === undefined ? undefined : basic(parts, name, report);
  for (const key of ['header', 'value'] as const) {
    if (!keys.has(key)) {
      report(at, 'missing-key', `${name}: \`${key}\` is missing`, `Write ${FORMS}.`);
    }
  }
  const { header, value } = values;
  if (header === undefined || value === undefined) return undefined;
  const complaint = valueComplaint(value);
  if (complaint === null) return { header, scheme: { kind: 'template', value } };
  report(at, 'bad-inject', `${name}: ${complaint.message}`, complaint.hint);
  return undefined;
}

function readBearer(parts: InjectionFields, name: string, report: Report): Field | undefined {
  const { bearer } = parts.values;
  if (bearer === true) return authorization({ kind: 'template', value: 'Bearer {secret}' });
  if (bearer === undefined) return undefined;
  const message = `${name}: \`bearer: false\` says nothing`;
  report(parts.at, 'bad-inject', message, 'Write `bearer: true`, or leave the item out.');
  return undefined;
}

/** RFC 7617 §2: a colon would end the user's name. */
function basic(parts: InjectionFields, name: string, report: Report): Field | undefined {
  const { basic: user = '' } = parts.values;
  if (/^[\x20-\x39\x3b-\x7e]{1,255}$/u.test(user)) return authorization({ kind: 'basic', user });
  // What stands behind a colon may be a password: it is not shown.
  const message = `${name}: \`basic\` has a colon, or characters outside ASCII`;
  report(parts.at, 'bad-inject', message, 'Write the name of the user alone.');
  return undefined;
}

function authorization(scheme: InjectionScheme): Field {
  return { header: 'authorization', scheme };
}

function valueComplaint(value: string): { message: string; hint: string } | null {
  if (!value.includes('{secret}')) {
    return {
      message: `the value \`${clip(value)}\` has no {secret} in it`,
      hint: 'Write `"Bearer {secret}"`, or `"{secret}"` alone.',
    };
  }
  if (/^[\x20-\x7e]*$/u.test(value)) return null;
  return {
    message: 'the value holds characters outside visible ASCII',
    hint: 'Write ASCII, on one line.',
  };
}
