import type { Cidr, Ip } from '../../src/core/ip.ts';
import type { AgentSpec, EntrySpec, PolicySpec } from '../../src/policy/build.ts';
import type { Decision, DecisionRequest } from '../../src/policy/decide.ts';
import type { HostPattern } from '../../src/policy/pattern.ts';
import { numberOf } from './address-numbers.ts';

/** A decision as the naive matcher gives it: the same values, entries by where they stand. */
export interface NaiveDecision {
  readonly verdict: Decision['verdict'];
  readonly reason: Decision['reason'];
  readonly report: boolean;
  readonly schemes: readonly string[];
  /** `file:line`. */
  readonly entry: string | null;
  /** Sorted. */
  readonly addresses: readonly string[];
  readonly until: number;
  readonly inspect: boolean;
}

interface Candidate {
  readonly spec: EntrySpec;
  readonly until: number;
  /** Smaller is more specific, compared place by place. */
  readonly specificity: readonly number[];
  /** The group that it stands in. */
  readonly group: string | undefined;
}

/**
 * The contract read aloud, over plain lists: no index, no state, nothing precomputed. The oracle
 * of the fuzz tests; shares no code with what it checks but the types.
 */
export function naiveDecide(
  spec: PolicySpec,
  agent: AgentSpec,
  request: DecisionRequest,
  now: number,
): NaiveDecision {
  const denied = candidates(spec, agent, request, 'deny').filter(({ spec: entry }) => {
    return portOf(entry, request.port) && denyScheme(entry, request.scheme);
  });
  if (denied[0] !== undefined) return blocked('denied', denied[0]);

  const host = candidates(spec, agent, request, 'allow');
  const within = (candidate: Candidate | undefined): boolean => inScope(request, candidate?.group);
  const port = host.filter((candidate) => portOf(candidate.spec, request.port));
  const scheme = port.filter((candidate) => allowScheme(candidate.spec, request.scheme));
  const live = scheme.filter((candidate) => now < candidate.until);
  const stop = (reason: Decision['reason'], nearest: Candidate | undefined): NaiveDecision => {
    if (agent.mode === 'enforce') return blocked(reason, nearest);
    if (!within(nearest)) return blocked('host_not_allowed', undefined);
    return { ...blocked(reason, nearest), verdict: 'allow', report: true, schemes: ['tcp'] };
  };
  if (host.length === 0) return stop('host_not_allowed', undefined);
  if (port.length === 0) return stop('port_not_allowed', host[0]);
  if (scheme.length === 0) return stop('scheme_not_allowed', port[0]);
  if (live.length === 0) return stop('entry_expired', scheme[0]);

  const best = live[0] as Candidate;
  const speakers = live.filter((candidate) => equallySpecific(candidate, best));
  return judge(agent, speakers, request);
}

function judge(agent: AgentSpec, speakers: Candidate[], request: DecisionRequest): NaiveDecision {
  const readable = speakers.filter((speaker) => {
    return !demandsInspection(speaker) || (request.inspects === true && !speaker.spec.inject);
  });
  if (readable.length === 0) {
    const reason = speakers[0]?.spec.methods ? 'method_not_allowed' : 'path_not_allowed';
    return { ...blocked(reason, speakers[0]), inspect: true };
  }
  const { method, path } = request;
  const asked = request.scheme !== 'connect' && request.scheme !== 'tcp';
  const byMethod = readable.filter(({ spec: { methods } }) => {
    return !asked || method === undefined || methods === undefined || methods.includes(method);
  });
  const byPath = byMethod.filter(({ spec: { paths } }) => {
    if (!asked || paths === undefined || (method === undefined && path === undefined)) return true;
    return path !== undefined && paths.some((pattern) => naivePath(pattern, path));
  });
  const within = byPath.filter(({ group }) => inScope(request, group));
  const speaking = within.some(opensTls)
    ? within.filter((speaker) => !demandsInspection(speaker))
    : within;
  if (speaking.length > 0) {
    // What would be no part of the decision without the scope grants no addresses under it.
    const granting = byPath.some(opensTls)
      ? speaking.filter((speaker) => !demandsInspection(speaker))
      : speaking;
    const inspect = speaking.some(demandsInspection);
    return { ...allowed(speaking), addresses: addressesOf(granting), inspect };
  }
  if (byPath.length > 0) return blocked('host_not_allowed', undefined);
  const reason = byMethod.length === 0 ? 'method_not_allowed' : 'path_not_allowed';
  const nearest = (byMethod[0] ?? readable[0]) as Candidate;
  const inspect = demandsInspection(nearest);
  if (agent.mode === 'enforce') return { ...blocked(reason, nearest), inspect };
  if (!inScope(request, nearest.group)) return blocked('host_not_allowed', undefined);
  return { ...allowed([nearest]), reason, report: true, inspect };
}

function opensTls(candidate: Candidate): boolean {
  return candidate.spec.scheme !== 'http' && !demandsInspection(candidate);
}

/** Only TLS inspection could see what the entry asks for. */
function demandsInspection({ spec: { scheme, inject, methods, paths } }: Candidate): boolean {
  return scheme === 'https' && (inject || methods !== undefined || paths !== undefined);
}

/** Every part of the scope names the group, or has a pattern for the host. */
function inScope({ scope, host, ip }: DecisionRequest, group: string | undefined): boolean {
  return (scope ?? []).every(({ groups, hosts }) => {
    if (group !== undefined && groups.includes(group)) return true;
    return hosts.some((pattern) => specificityOf(pattern, host, ip) !== null);
  });
}

function allowed(speakers: readonly Candidate[]): NaiveDecision {
  const order = ['https', 'http', 'tcp'] as const;
  return {
    verdict: 'allow',
    reason: null,
    report: false,
    schemes: order.filter((scheme) => speakers.some(({ spec }) => spec.scheme === scheme)),
    entry: at(speakers[0]),
    addresses: addressesOf(speakers),
    until: Math.min(...speakers.map(({ until }) => until)),
    inspect: false,
  };
}

function addressesOf(speakers: readonly Candidate[]): string[] {
  const texts = speakers.flatMap(({ spec }) => grantedBy(spec).map((cidr) => cidr.text));
  return [...new Set(texts)].sort();
}

function blocked(reason: Decision['reason'], nearest: Candidate | undefined): NaiveDecision {
  return {
    verdict: 'block',
    reason,
    report: false,
    schemes: [],
    entry: at(nearest),
    addresses: [],
    until: Number.POSITIVE_INFINITY,
    inspect: false,
  };
}

/** Entries of one kind whose host pattern covers the target, in the order of attribution. */
function candidates(
  spec: PolicySpec,
  agent: AgentSpec,
  request: DecisionRequest,
  kind: 'allow' | 'deny',
): Candidate[] {
  const found: Candidate[] = [];
  const add = (entries: readonly EntrySpec[], until: number, name?: string): void => {
    for (const entry of entries) {
      const specificity = specificityOf(entry.pattern, request.host, request.ip);
      if (specificity === null) continue;
      found.push({ spec: entry, until: Math.min(until, entry.until), specificity, group: name });
    }
  };
  for (const { group: name, until } of agent.groups) {
    const group = spec.groups.find((candidate) => candidate.name === name);
    if (group !== undefined) add(group[kind], until, name);
  }
  add(agent[kind], Number.POSITIVE_INFINITY);
  if (kind === 'deny') add(spec.deny, Number.POSITIVE_INFINITY);
  // The sort is stable: earlier lists and lines stay in front.
  return found.sort((a, b) => compareLists(a.specificity, b.specificity));
}

/** Class (exact, one-label stars, suffix), labels, stars, `*.` before `.`; null: not covered. */
function specificityOf(pattern: HostPattern, host: string, ip: Ip | null): number[] | null {
  if (pattern.kind === 'cidr') {
    return ip !== null && contains(pattern.cidr, ip) ? [-pattern.cidr.prefix] : null;
  }
  if (ip !== null) return null;
  if (pattern.kind === 'any') return [2, 0, 0, 0];
  const labels = host.split('.');
  const wanted = pattern.labels.toReversed();
  const extra = labels.length - wanted.length;
  if (extra < (pattern.suffix === 'below' ? 1 : 0)) return null;
  if (pattern.suffix === 'exact' && extra > 0) return null;
  const same = wanted.every((label, i) => label === '*' || label === labels[extra + i]);
  if (!same) return null;
  const stars = wanted.filter((label) => label === '*').length;
  if (pattern.suffix === 'exact') return [stars === 0 ? 0 : 1, 0, stars, 0];
  return [2, -wanted.length, stars, pattern.suffix === 'below' ? 0 : 1];
}

function contains(cidr: Cidr, target: Ip): boolean {
  const mapped = target.family === 6 && numberOf(target) >> 32n === 0xffffn;
  const family = mapped ? 4 : target.family;
  const number = mapped ? numberOf(target) & 0xffff_ffffn : numberOf(target);
  if (cidr.ip.family !== family) return false;
  const free = BigInt((family === 4 ? 32 : 128) - cidr.prefix);
  return number >> free === numberOf(cidr.ip) >> free;
}

function grantedBy(spec: EntrySpec): readonly Cidr[] {
  if (spec.addresses.length > 0) return spec.addresses;
  return spec.pattern.kind === 'cidr' ? [spec.pattern.cidr] : [];
}

function portOf(spec: EntrySpec, port: number): boolean {
  return spec.ports === undefined || spec.ports.includes(port);
}

function allowScheme(spec: EntrySpec, asked: DecisionRequest['scheme']): boolean {
  if (asked === 'connect' || spec.scheme === asked) return true;
  return asked === 'https' && spec.scheme === 'tcp';
}

function denyScheme(spec: EntrySpec, asked: DecisionRequest['scheme']): boolean {
  return asked !== 'http' || spec.scheme !== 'https';
}

/** By backtracking over characters; only for short paths that servers read in one way. */
function naivePath(pattern: string, target: string): boolean {
  const path = target.split('?')[0] as string;
  if (!/^\/(?:[a-z0-9.]+\/)*[a-z0-9.]*$/.test(path) || /\/\.+(?:\/|$)/.test(path)) return false;
  return segmentsMatch(pattern.slice(1).split('/'), path.slice(1).split('/'));
}

function segmentsMatch(pattern: readonly string[], path: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return path.length === 0;
  if (first !== '**') {
    return (
      path[0] !== undefined && globMatches(first, path[0]) && segmentsMatch(rest, path.slice(1))
    );
  }
  if (rest.length === 0) return path.length > 0;
  return path.some((_, skipped) => segmentsMatch(rest, path.slice(skipped)));
}

function globMatches(glob: string, text: string): boolean {
  if (glob.includes('*') && text === '') return false;
  const go = (g: number, t: number): boolean => {
    if (g === glob.length) return t === text.length;
    if (glob[g] === '*') return go(g + 1, t) || (t < text.length && go(g, t + 1));
    return glob[g] === text[t] && go(g + 1, t + 1);
  };
  return go(0, 0);
}

function at(candidate: Candidate | undefined): string | null {
  return candidate === undefined ? null : `${candidate.spec.file}:${candidate.spec.line}`;
}

function equallySpecific(a: Candidate, b: Candidate): boolean {
  return compareLists(a.specificity, b.specificity) === 0;
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}
