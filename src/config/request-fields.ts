import { isQueryKey, type QueryRule } from '../policy/query.ts';
import { type HeaderRule, type HeaderRules, isMediaRange } from '../policy/request-content.ts';
import type { ToolRules } from '../policy/tools.ts';
import { clip } from './clip.ts';
import {
  type Complaint,
  expected,
  fieldsOf,
  notEmpty,
  parsed,
  type Reader,
  type Report,
  uniqueListOf,
} from './fields.ts';
import { parseHeaderName } from './header-name.ts';
import type { YamlMap, YamlNode } from './yaml.ts';

const ANY = '*';
const MOST_STARS = 8;

const QUERY_EXAMPLE = 'query: [page, per_page]` or `query: {service: git-upload-pack, page: "*"}';
const TOOLS_EXAMPLE = '{allow: [search, "read_*"], deny: [read_secrets], log: [path]}';

type Parse<T> = (text: string) => { value: T } | Complaint;

const queryKeys = uniqueListOf(parsed(parseQueryKey), 'keys', '[page, per_page]', String);

/** `query`: a list of keys with any value, or a map from keys to their values. */
export const readQueryRules: Reader<readonly QueryRule[]> = (node, name, report) => {
  if (node.kind === 'map') {
    const pairs = readValueMap(node, name, parseQueryKey, parseQueryValue, report);
    return pairs.map(([key, values]) => ({ key, values }));
  }
  if (node.kind !== 'list') {
    return expected(node, name, 'a list of keys or a map', `Write \`${QUERY_EXAMPLE}\`.`, report);
  }
  return queryKeys(node, name, report)?.map((key) => ({ key, values: undefined }));
};

const headerNames = notEmpty(
  uniqueListOf(parsed(parseHeaderName), 'headers', '[cookie, x-debug]', String),
);
/** `pass`: names of headers. */
export const readHeaderNames = headerNames;

const readRequired: Reader<readonly HeaderRule[]> = (node, name, report) => {
  const hint = 'Write `require: {x-team: blue, x-any: "*"}`.';
  if (node.kind !== 'map') return expected(node, name, 'a map of headers', hint, report);
  if (node.entries.size === 0) {
    report(node.at, 'empty-list', `${name}: an empty map asks for nothing`, hint);
  }
  const pairs = readValueMap(node, name, parseHeaderName, parseHeaderValue, report);
  return pairs.map(([header, values]) => ({ name: header, values }));
};

const headersExample = '{require: {x-team: blue}, strip: [cookie]}';
const headerParts = fieldsOf({ require: readRequired, strip: headerNames }, headersExample);

/** `headers`: what to ask for, what to take away. */
export const readHeaderRules: Reader<HeaderRules> = (node, name, report) => {
  const parts = headerParts(node, name, report);
  if (parts === undefined) return undefined;
  if (!parts.keys.has('require') && !parts.keys.has('strip')) {
    const message = `${name}: neither \`require\` nor \`strip\``;
    report(parts.at, 'missing-key', message, `Write \`${headersExample}\`.`);
  }
  const { require = [], strip = [] } = parts.values;
  return { require, strip };
};

/** `content-types`. */
export const readContentTypes: Reader<readonly string[]> = notEmpty(
  uniqueListOf(parsed(parseMediaRange), 'media types', '[application/json, "image/*"]', String),
);

const toolPatterns = notEmpty(
  uniqueListOf(parsed(parseToolPattern), 'tools', '[search, "read_*"]', String),
);
const toolParts = fieldsOf(
  {
    allow: toolPatterns,
    deny: toolPatterns,
    log: notEmpty(uniqueListOf(parsed(parseArgument), 'arguments', '[path]', String)),
  },
  TOOLS_EXAMPLE,
);

/** `tools`: a list is `allow` alone. */
export const readToolRules: Reader<ToolRules> = (node, name, report) => {
  if (node.kind === 'list') {
    const allow = toolPatterns(node, name, report);
    return allow && { allow, deny: [], log: [] };
  }
  if (node.kind !== 'map') {
    const hint = `Write \`tools: [search, "read_*"]\` or \`tools: ${TOOLS_EXAMPLE}\`.`;
    return expected(node, name, 'a list or a map', hint, report);
  }
  const parts = toolParts(node, name, report);
  if (parts === undefined) return undefined;
  if (!parts.keys.has('allow') && !parts.keys.has('deny') && !parts.keys.has('log')) {
    const message = `${name}: none of \`allow\`, \`deny\` and \`log\``;
    report(parts.at, 'missing-key', message, `Write \`${TOOLS_EXAMPLE}\`.`);
  }
  const { allow, deny = [], log = [] } = parts.values;
  return { allow, deny, log };
};

/** A map from names to one value, a list of values, or `"*"` for any: [name, values or undefined]. */
function readValueMap(
  map: YamlMap,
  name: string,
  parseName: Parse<string>,
  parseValue: Parse<string>,
  report: Report,
): [string, readonly string[] | undefined][] {
  const pairs: [string, readonly string[] | undefined][] = [];
  const seen = new Set<string>();
  for (const { key, at, value } of map.entries.values()) {
    const read = parseName(key);
    if ('code' in read) {
      report(at, read.code, `${name}: ${read.message}`, read.hint);
      continue;
    }
    if (seen.has(read.value)) {
      const message = `${name}: ${clip(read.value)} stands here a second time`;
      report(at, 'duplicate-value', message, 'Write it once.');
      continue;
    }
    seen.add(read.value);
    const values = readValues(value, `\`${clip(key)}\``, parseValue, report);
    if (values === ANY) pairs.push([read.value, undefined]);
    else if (values !== undefined) pairs.push([read.value, values]);
  }
  return pairs;
}

function readValues(
  node: YamlNode,
  name: string,
  parse: Parse<string>,
  report: Report,
): readonly string[] | typeof ANY | undefined {
  if (node.kind !== 'list') {
    const value = parsed(parse)(node, name, report);
    return value === undefined || value === ANY ? value : [value];
  }
  const list = notEmpty(uniqueListOf(parsed(parse), 'values', '[a, b]', String));
  const values = list(node, name, report);
  if (values?.includes(ANY) !== true) return values;
  const message = `${name}: \`*\` in a list is any value beside certain ones`;
  report(node.at, 'conflicting-keys', message, `Write ${name}: "*", or the values alone.`);
  return undefined;
}

function parseQueryKey(key: string): { value: string } | Complaint {
  if (isQueryKey(key) && key !== ANY) return { value: key };
  const hint =
    key === ANY
      ? 'Leave `query` out: then any query passes.'
      : 'Write the key as it is decoded, without & = ; # + and %XX.';
  return { code: 'bad-query', message: `\`${clip(key)}\` is no key of a query`, hint };
}

/** Decoded. An escape in it would be one that is decoded twice. */
function parseQueryValue(value: string): { value: string } | Complaint {
  if (value.isWellFormed() && !/\p{Cc}|%[0-9A-Fa-f]{2}/u.test(value)) return { value };
  return {
    code: 'bad-query',
    message: `\`${clip(value)}\` is a value that is never matched`,
    hint: 'Write it as it is decoded, without %XX and control characters.',
  };
}

/** RFC 9110 §5.5, and blanks at the ends are no part of a value. */
function parseHeaderValue(value: string): { value: string } | Complaint {
  if (/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/u.test(value)) return { value };
  return {
    code: 'bad-header',
    message: `\`${clip(value)}\` is no value of a header`,
    hint: 'Write visible ASCII, or "*" for any value.',
  };
}

function parseMediaRange(type: string): { value: string } | Complaint {
  if (isMediaRange(type)) return { value: type.toLowerCase() };
  const bare = type.split(';', 1)[0]?.trim() ?? '';
  const hint = isMediaRange(bare)
    ? `Write \`${clip(bare.toLowerCase())}\`; parameters are not looked at.`
    : 'Write application/json, or "image/*"; for any type leave `content-types` out.';
  return { code: 'bad-content-type', message: `\`${clip(type)}\` is not a media type`, hint };
}

function parseToolPattern(pattern: string): { value: string } | Complaint {
  const complaint = nameComplaint(
    pattern,
    'a tool',
    'Write search, or "read_*"; `*` is any run of characters.',
  );
  if (complaint !== null) return complaint;
  if (pattern.includes('**')) {
    return {
      code: 'bad-tool',
      message: `\`${clip(pattern)}\` has two stars in a row`,
      hint: `Write \`"${clip(pattern.replaceAll(/\*+/gu, '*'))}"\`: one star is any run of characters.`,
    };
  }
  if (pattern.split('*').length - 1 <= MOST_STARS) return { value: pattern };
  return {
    code: 'bad-tool',
    message: `\`${clip(pattern)}\` has more than ${MOST_STARS} stars`,
    hint: 'Write several patterns.',
  };
}

function parseArgument(name: string): { value: string } | Complaint {
  return nameComplaint(name, 'an argument', 'Write its name, such as path.') ?? { value: name };
}

function nameComplaint(name: string, what: string, hint: string): Complaint | null {
  if (name.length <= 128 && name.isWellFormed() && !/[\p{C}\p{Z}]/u.test(name)) return null;
  return { code: 'bad-tool', message: `\`${clip(name)}\` is not the name of ${what}`, hint };
}
