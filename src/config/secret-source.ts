import type { SecretSource } from '../policy/injection.ts';
import { clip } from './clip.ts';
import {
  expected,
  type FieldValues,
  listOf,
  notEmpty,
  parsed,
  type Reader,
  type Report,
  readFields,
  text,
} from './fields.ts';
import { parseDuration } from './units.ts';
import type { YamlNode } from './yaml.ts';

const EXAMPLES = '`{env: NAME}`, `{file: PATH}` or `{command: [PROGRAM, ARGUMENT]}`';
const COMMAND_EXAMPLE = '{command: [PROGRAM, ARGUMENT], refresh: 5m}';

const DEFAULT_REFRESH_MS = 5 * 60_000;
/** Once a second is as often as a command is worth starting. */
const LEAST_REFRESH_MS = 1000;

const secretFields = {
  env: text,
  file: text,
  command: notEmpty(listOf(text, 'arguments', '[PROGRAM, ARGUMENT]')),
  refresh: parsed(parseDuration),
};

type SecretFields = FieldValues<typeof secretFields>;

/** `secret`: exactly one of `env`, `file` and `command`. */
export const readSecret: Reader<SecretSource> = (node, name, report) => {
  if (node.kind === 'scalar') {
    const message = `${name}: a secret is never written into this file`;
    report(node.at, 'bad-inject', message, `Say where it is: ${EXAMPLES}.`);
    return undefined;
  }
  if (node.kind !== 'map') return expected(node, name, 'a map', `Write ${EXAMPLES}.`, report);
  const fields = readFields(node, secretFields, report);
  const named = [...fields.keys.keys()].filter((key) => key !== 'refresh').length;
  if (named !== 1) {
    const message = `${name}: ${named} sources; there is exactly one`;
    report(node.at, 'bad-inject', message, 'Keep one of env, file and command.');
    return undefined;
  }
  if (fields.values.file !== undefined || fields.values.env !== undefined) {
    reportRefresh(fields, name, report);
  }
  return sourceOf(fields, node, name, report);
};

function reportRefresh({ keys }: SecretFields, name: string, report: Report): void {
  const at = keys.get('refresh');
  if (at === undefined) return;
  const message = `${name}: \`refresh\` is for a command; a file is read again when it changes`;
  report(at, 'conflicting-keys', message, `Leave it out, or write \`${COMMAND_EXAMPLE}\`.`);
}

function sourceOf(
  { values, keys }: SecretFields,
  node: YamlNode,
  name: string,
  report: Report,
): SecretSource | undefined {
  if (values.file !== undefined) return { kind: 'file', path: values.file };
  if (values.env !== undefined) return variable(values.env, node, name, report);
  const [program, ...rest] = values.command ?? [];
  if (program === undefined) return undefined;
  const { refresh = DEFAULT_REFRESH_MS } = values;
  if (refresh < LEAST_REFRESH_MS) {
    const message = `${name}: \`refresh\` is at least a second`;
    report(keys.get('refresh') ?? node.at, 'bad-duration', message, 'Write 1s or more.');
    return undefined;
  }
  return { kind: 'command', argv: [program, ...rest], refresh };
}

function variable(
  name: string,
  node: YamlNode,
  key: string,
  report: Report,
): SecretSource | undefined {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/u.test(name)) return { kind: 'env', name };
  const message = `${key}: \`${clip(name)}\` is not a variable name`;
  report(node.at, 'bad-inject', message, 'Write the name alone, without $ or braces.');
  return undefined;
}
