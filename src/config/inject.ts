import { clip } from './clip.ts';
import {
  fieldsOf,
  listOf,
  notEmpty,
  prose,
  type Reader,
  type Report,
  readFields,
  text,
} from './fields.ts';
import type { YamlNode } from './yaml.ts';

/** A header with a secret that the proxy adds to inspected requests of an entry (contract §7). */
export interface Injection {
  /** Field name, lower case. */
  readonly header: string;
  /** The field's value; `{secret}` stands for the secret. */
  readonly value: string;
  readonly secret: SecretSource;
}

/** Where the secret comes from. It is never in a file that is checked in. */
export type SecretSource =
  | { readonly kind: 'env'; readonly name: string }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'command'; readonly argv: readonly [string, ...string[]] };

const EXAMPLE = '{header: authorization, value: "Bearer {secret}", secret: {env: NAME}}';

/** Framing, routing and hop-by-hop fields are the proxy's own business (RFC 9110 §7.6.1). */
const reserved: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
]);

const injectionFields = { header: text, value: prose(1000), secret: readSecret };
const secretFields = {
  env: text,
  file: text,
  command: notEmpty(listOf(text, 'arguments', '[PROGRAM, ARGUMENT]')),
};
const readParts = fieldsOf(injectionFields, EXAMPLE);

/** One item of `inject`. */
export const readInjection: Reader<Injection> = (node, name, report) => {
  const parts = readParts(node, name, report);
  if (parts === undefined) return undefined;
  const { header, value, secret } = parts.values;
  for (const key of Object.keys(injectionFields)) {
    if (!parts.keys.has(key)) {
      report(parts.at, 'missing-key', `${name}: \`${key}\` is missing`, `Write \`${EXAMPLE}\`.`);
    }
  }
  if (header === undefined || value === undefined || secret === undefined) return undefined;
  const complaint = headerComplaint(header) ?? valueComplaint(value);
  if (complaint === null) return { header: header.toLowerCase(), value, secret };
  report(parts.at, 'bad-inject', `${name}: ${complaint.message}`, complaint.hint);
  return undefined;
};

/** `inject` as a whole: no header twice. */
export const readInjections: Reader<readonly Injection[]> = (node, name, report) => {
  const list = listOf(readInjection, 'headers to add', `[${EXAMPLE}]`)(node, name, report);
  const seen = new Set<string>();
  for (const { header } of list ?? []) {
    if (seen.has(header)) {
      report(
        node.at,
        'duplicate-value',
        `${name}: the header \`${header}\` is set twice`,
        'Set it once.',
      );
    }
    seen.add(header);
  }
  return list;
};

function headerComplaint(header: string): { message: string; hint: string } | null {
  if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/u.test(header)) {
    return {
      message: `\`${clip(header)}\` is not a header name`,
      hint: 'Write a name such as authorization or x-api-key.',
    };
  }
  if (!reserved.has(header.toLowerCase())) return null;
  return {
    message: `\`${clip(header)}\` belongs to the proxy and cannot be injected`,
    hint: 'Inject a header that carries a credential, such as authorization or x-api-key.',
  };
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

/** Exactly one of `env`, `file` and `command`. */
function readSecret(node: YamlNode, name: string, report: Report): SecretSource | undefined {
  if (node.kind === 'scalar') {
    const message = `${name}: a secret is never written into this file`;
    report(
      node.at,
      'bad-inject',
      message,
      'Say where it is: `{env: NAME}`, `{file: PATH}` or `{command: [PROGRAM, ARGUMENT]}`.',
    );
    return undefined;
  }
  if (node.kind !== 'map') {
    report(
      node.at,
      'wrong-type',
      `${name}: expected a map`,
      'Write `{env: NAME}`, `{file: PATH}` or `{command: [PROGRAM, ARGUMENT]}`.',
    );
    return undefined;
  }
  const { values, keys } = readFields(node, secretFields, report);
  if (keys.size !== 1) {
    report(
      node.at,
      'bad-inject',
      `${name}: ${keys.size} sources; there is exactly one`,
      'Keep one of env, file and command.',
    );
    return undefined;
  }
  return sourceOf(values, node, name, report);
}

function sourceOf(
  values: {
    readonly env?: string | undefined;
    readonly file?: string | undefined;
    readonly command?: readonly string[] | undefined;
  },
  node: YamlNode,
  name: string,
  report: Report,
): SecretSource | undefined {
  if (values.file !== undefined) return { kind: 'file', path: values.file };
  if (values.command !== undefined) {
    const [program, ...rest] = values.command;
    if (program !== undefined) return { kind: 'command', argv: [program, ...rest] };
    report(
      node.at,
      'empty-list',
      `${name}: the command is empty`,
      'Write `{command: [PROGRAM, ARGUMENT]}`.',
    );
    return undefined;
  }
  if (values.env === undefined) return undefined;
  if (/^[A-Za-z_][A-Za-z0-9_]*$/u.test(values.env)) return { kind: 'env', name: values.env };
  report(
    node.at,
    'bad-inject',
    `${name}: \`${clip(values.env)}\` is not a variable name`,
    'Write the name alone, without $ or braces.',
  );
  return undefined;
}
