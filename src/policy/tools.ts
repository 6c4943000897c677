import { matchesParts } from './glob.ts';

/** Which tools of an MCP server may be called. In a pattern `*` is any run of characters. */
export interface ToolRules {
  /** Undefined = all that `deny` does not name. */
  readonly allow: readonly string[] | undefined;
  /** Wins over `allow`. */
  readonly deny: readonly string[];
  /** Names of tool arguments whose values go into the log line. */
  readonly log: readonly string[];
}

/**
 * May the tool of this name be called? What is allowed is compared byte for byte, letter case and all;
 * what is denied in any case, because a server may not mind it. Of several rules one that admits the
 * tool is enough; none admit nothing.
 */
export function admitsTool(rules: ToolRules | readonly ToolRules[], name: string): boolean {
  if ('log' in rules) return admits(rules, name);
  return rules.some((one) => admits(one, name));
}

function admits({ allow, deny }: ToolRules, name: string): boolean {
  if (deny.length > 0 && fitsOne(deny.map(lower), lower(name))) return false;
  return allow === undefined || fitsOne(allow, name);
}

function lower(text: string): string {
  return text.toLowerCase();
}

function fitsOne(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matchesParts(pattern.split('*'), name));
}

/** The rules as a person writes them down: `read_*, search but not read_all`. */
export function toolList(
  { allow, deny }: ToolRules,
  join = (patterns: readonly string[]): string => patterns.join(', '),
): string {
  const some = allow === undefined ? 'all' : join(allow);
  return deny.length === 0 ? some : `${some} but not ${join(deny)}`;
}
