import type { Reason } from '../core/reasons.ts';
import { parseMethod } from './entry-fields.ts';
import {
  expected,
  type FieldValues,
  fieldsOf,
  type Located,
  listOf,
  located,
  notEmpty,
  oneOf,
  parsed,
  type Report,
  readFields,
  text,
} from './fields.ts';
import { parseTime } from './units.ts';
import type { YamlNode } from './yaml.ts';

/** One item of `tests` in a file for `sallyport test` (contract §2). */
export interface Expectation {
  readonly agent: Located<string>;
  readonly allow: readonly Located<string>[];
  readonly block: readonly Located<string>[];
  /** Why the targets of `block` are blocked; undefined = for any reason. */
  readonly reason: Reason | undefined;
  /** Undefined = as `explain` has it. */
  readonly method: string | undefined;
  /** Name of an MCP tool that requests to the targets call; undefined = not asked about. */
  readonly tool: string | undefined;
  /** Ms since the epoch; undefined = now. */
  readonly at: number | undefined;
}

/** Those that can be told without DNS or a connection. */
const reasons = [
  'bad_target',
  'denied',
  'host_not_allowed',
  'port_not_allowed',
  'scheme_not_allowed',
  'entry_expired',
  'method_not_allowed',
  'path_not_allowed',
  'tool_not_allowed',
  'address_not_allowed',
  'loop',
] as const satisfies readonly Reason[];

const EXAMPLE = '{agent: demo, allow: [example.com], block: [example.org]}';

const targets = notEmpty(listOf(located(text), 'targets', '[example.com, "http://example.com/"]'));

const expectationFields = {
  agent: located(text),
  allow: targets,
  block: targets,
  reason: oneOf(reasons),
  method: parsed(parseMethod),
  tool: text,
  at: parsed(parseTime),
};

const fileFields = {
  tests: notEmpty(listOf(fieldsOf(expectationFields, EXAMPLE), 'tests', `[${EXAMPLE}]`)),
};

/** Reads a file of expectations. Problems go to `report`; what could be read comes back. */
export function readExpectationFile(
  file: string,
  root: YamlNode | null,
  report: Report,
): readonly Expectation[] {
  if (root !== null && root.kind !== 'map') {
    expected(root, 'a file of tests', 'a map', `Write \`tests: [${EXAMPLE}]\`.`, report);
    return [];
  }
  const at = root?.at ?? { file, line: 1, column: 1 };
  const fields = root === null ? null : readFields(root, fileFields, report);
  if (fields === null || !fields.keys.has('tests')) {
    report(at, 'missing-key', 'there is no `tests` in this file', `Write \`tests: [${EXAMPLE}]\`.`);
  }
  return (fields?.values.tests ?? [])
    .map((test) => expectationOf(test, report))
    .filter((test) => test !== undefined);
}

function expectationOf(
  { values, keys, at }: FieldValues<typeof expectationFields>,
  report: Report,
): Expectation | undefined {
  const { agent, allow = [], block = [], reason } = values;
  if (!keys.has('agent')) {
    report(at, 'missing-key', 'this test has no `agent`', `Write \`${EXAMPLE}\`.`);
  }
  if (!keys.has('allow') && !keys.has('block')) {
    report(at, 'missing-key', 'this test has neither `allow` nor `block`', `Write \`${EXAMPLE}\`.`);
  }
  const reasonAt = keys.get('reason');
  if (reasonAt !== undefined && !keys.has('block')) {
    const message = '`reason` says why targets of `block` are blocked, and there are none';
    report(
      reasonAt,
      'bad-expectation',
      message,
      'Leave it out, or write the targets under `block`.',
    );
  }
  if (agent === undefined) return undefined;
  const { method, tool } = values;
  return { agent, allow, block, reason, method, tool, at: values.at };
}
