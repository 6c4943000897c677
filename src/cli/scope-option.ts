import { didYouMean } from '../config/spelling.ts';
import { type HostPattern, hostPattern, isHostPattern, parsePattern } from '../policy/pattern.ts';
import type { Agent } from '../policy/policy.ts';
import { CommandError } from './io.ts';

/** What `--only` names: groups, and host patterns in canonical spelling; undefined where there are none. */
export interface WrittenScope {
  readonly only: readonly string[] | undefined;
  readonly hosts: readonly string[] | undefined;
}

export const scopeHelp = 'narrow it to these groups or hosts: NAME, group:NAME, host:PATTERN';

const GROUP = 'group:';
const HOST = 'host:';

/**
 * `--only` where the agent is known: a bare name is one of its groups, else a host pattern.
 *
 * @throws CommandError (1) for what is neither
 */
export function scopeForAgent(agent: Agent, texts: readonly string[] | undefined): WrittenScope {
  const names = agent.groups.map((grant) => grant.group.name);
  return scopeOf(texts, (text) => {
    if (text.startsWith(HOST)) return hostOf(text.slice(HOST.length), text);
    const name = text.startsWith(GROUP) ? text.slice(GROUP.length) : text;
    if (names.includes(name)) return { group: name };
    const pattern = name === text && /[.*:]/u.test(text) ? hostPattern(text) : null;
    if (pattern !== null) return { pattern };
    const has = names.length === 0 ? 'it has none' : `it has ${names.join(', ')}`;
    const meant = didYouMean(name, names);
    const host = name === text ? ' For a host write `host:PATTERN`.' : '';
    throw new CommandError(
      `agent ${agent.id} has no group ${JSON.stringify(name)} (${agent.at}): ${has}${meant || '.'}${host}`,
      1,
    );
  });
}

/**
 * `--only` where nothing is known but the text: with a slash it is a group, with a dot, star or
 * colon, or as a range of addresses, a host, else a group.
 *
 * @throws CommandError (1) for a host pattern that is none
 */
export function scopeOfText(texts: readonly string[] | undefined): WrittenScope {
  return scopeOf(texts, (text) => {
    if (text.startsWith(GROUP)) return { group: text.slice(GROUP.length) };
    if (text.startsWith(HOST)) return hostOf(text.slice(HOST.length), text);
    const pattern = hostPattern(text);
    if (pattern?.kind === 'cidr') return { pattern };
    return text.includes('/') || !/[.*:]/u.test(text) ? { group: text } : hostOf(text, text);
  });
}

type Named = { readonly group: string } | { readonly pattern: HostPattern };

function scopeOf(
  texts: readonly string[] | undefined,
  read: (text: string) => Named,
): WrittenScope {
  const groups: string[] = [];
  const hosts: string[] = [];
  for (const text of texts ?? []) {
    const named = read(text);
    if ('group' in named) groups.push(named.group);
    else hosts.push(named.pattern.text);
  }
  return {
    only: groups.length === 0 ? undefined : groups,
    hosts: hosts.length === 0 ? undefined : hosts,
  };
}

/** @throws CommandError (1) */
function hostOf(text: string, written: string): Named {
  const pattern = parsePattern(text);
  if (isHostPattern(pattern)) return { pattern };
  const hint = pattern.hint === undefined ? '' : `: write host:${pattern.hint}`;
  throw new CommandError(`--only ${JSON.stringify(written)}: ${pattern.message}${hint}.`, 1);
}
