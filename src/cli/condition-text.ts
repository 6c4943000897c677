import type { Condition } from '../policy/conditions.ts';
import type { Entry } from '../policy/policy.ts';
import { toolList } from '../policy/tools.ts';

/** What follows "HOST is allowed, but not", for a request that failed a condition. */
export function failedPhrase(failed: Condition | null): string {
  switch (failed) {
    case 'query':
      return 'with this query';
    case 'header':
      return 'without the headers that it requires';
    case 'content-type':
      return 'with a body of this type';
    case 'tool':
      return 'to call this tool';
    case 'path':
      return 'with this path';
    default:
      return 'with this method';
  }
}

/** What a request may be, one fragment of a sentence for each condition of the entry. */
export function allowedParts(entry: Entry): string[] {
  const { methods, paths, query, headers, contentTypes, maxBody, tools } = entry;
  return [
    methods && `methods ${methods.join(', ')}`,
    paths && `paths ${paths.join(', ')}`,
    query && (query.length === 0 ? 'no query' : `query ${listed(query, 'key', '=')}`),
    headers?.require[0] && `headers ${listed(headers.require, 'name', ': ')}`,
    contentTypes && `bodies of ${contentTypes.join(', ')}`,
    maxBody && `bodies of at most ${maxBody} bytes`,
    tools && `tools ${toolList(tools)}`,
  ].filter((part) => typeof part === 'string');
}

/** Does the entry ask for what only a request that is made can show? */
export function asksOfContent({ headers, contentTypes, maxBody }: Entry): boolean {
  return headers?.require[0] !== undefined || contentTypes !== undefined || maxBody !== undefined;
}

/** What the proxy does to each request. Never says where a secret comes from. */
export function changes({ headers, inject, pass }: Entry): string[] {
  const strip = headers?.strip ?? [];
  const added = inject?.map(({ header }) => header) ?? [];
  const through = pass.length === 0 ? '' : `, but for ${pass.join(', ')}`;
  return [
    strip.length > 0 && `takes away ${strip.join(', ')}`,
    added.length > 0 && `adds ${added.join(', ')}; the client's own credentials go${through}`,
  ].filter((part) => typeof part === 'string');
}

function listed<K extends string>(
  rules: readonly (Readonly<Record<K, string>> & {
    readonly values: readonly string[] | undefined;
  })[],
  key: K,
  sign: string,
): string {
  const items = rules.map((rule) => {
    return rule.values === undefined ? rule[key] : `${rule[key]}${sign}${rule.values.join(' or ')}`;
  });
  return items.join(', ');
}
