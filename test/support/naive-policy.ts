import type { Cidr, Ip } from '../../src/core/ip.ts';
import type { Reason } from '../../src/core/reasons.ts';
import type { AgentSpec, EntrySpec, PolicySpec } from '../../src/policy/build.ts';
import type { Condition } from '../../src/policy/conditions.ts';
import type { Decision, DecisionRequest } from '../../src/policy/decide.ts';
import type { HostPattern } from '../../src/policy/pattern.ts';
import type { QueryRule } from '../../src/policy/query.ts';
import type { ToolRules } from '../../src/policy/tools.ts';
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
  readonly failed: Decision['failed'];
  /** The tool rules as JSON, sorted; null if any tool may be called. */
  readonly tools: readonly string[] | null;
  /** Bytes; null where a scope makes it the least of several. */
  readonly upload: number | null;
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
    const upload = capOf(nearest, request);
    const open = { verdict: 'allow', report: true, schemes: ['tcp'], upload } as const;
    return { ...blocked(reason, nearest), ...open };
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
    return !demandsInspection(speaker) || request.inspects === true;
  });
  if (readable.length === 0) {
    const reason = speakers[0]?.spec.methods ? 'method_not_allowed' : 'path_not_allowed';
    return { ...blocked(reason, speakers[0]), inspect: true };
  }
  let left = readable;
  let failed: Decision['failed'] = null;
  for (const [name, holds] of conditions) {
    const holding = left.filter(({ spec }) => !isRequest(request) || holds(spec, request));
    if (holding.length === 0) {
      failed = name;
      break;
    }
    left = holding;
  }
  const nearest = left[0] as Candidate;
  if (failed === null) return admit(left, request);
  const inspect = demandsInspection(nearest);
  const reason = reasonOf[failed];
  if (agent.mode === 'enforce') return { ...blocked(reason, nearest), inspect, failed };
  if (!inScope(request, nearest.group)) return blocked('host_not_allowed', undefined);
  const report = { reason, report: true, inspect, failed, tools: null } as const;
  return { ...allowed([nearest], request), ...report, upload: capOf(nearest, request) };
}

/** Of entries whose conditions hold. */
function admit(speakers: readonly Candidate[], request: DecisionRequest): NaiveDecision {
  const within = speakers.filter(({ group }) => inScope(request, group));
  const speaking = within.some(opensTls)
    ? within.filter((speaker) => !demandsInspection(speaker))
    : within;
  if (speaking.length === 0) return blocked('host_not_allowed', undefined);
  // What would be no part of the decision without the scope grants no addresses under it.
  const granting = speakers.some(opensTls)
    ? speaking.filter((speaker) => !demandsInspection(speaker))
    : speaking;
  const inspect = speaking.some(demandsInspection);
  return { ...allowed(speaking, request), addresses: addressesOf(granting), inspect };
}

const isRequest = ({ scheme }: DecisionRequest): boolean =>
  scheme !== 'connect' && scheme !== 'tcp';

type Holds = (spec: EntrySpec, request: DecisionRequest) => boolean;

/** In the order in which they are asked. */
const conditions: readonly (readonly [Condition, Holds])[] = [
  ['method', ({ methods }, { method }) => !methods || !method || methods.includes(method)],
  [
    'path',
    ({ paths }, { method, path }) => {
      if (paths === undefined || (method === undefined && path === undefined)) return true;
      return path !== undefined && paths.some((pattern) => naivePath(pattern, path));
    },
  ],
  [
    'query',
    ({ query }, { method, path }) => {
      if (query === undefined || (method === undefined && path === undefined)) return true;
      return path !== undefined && naiveQuery(query, path);
    },
  ],
  [
    'header',
    ({ headers }, { content }) => {
      if (content === undefined) return true;
      return (headers?.require ?? []).every(({ name, values }) => {
        const value = content.header(name);
        return value !== undefined && (values ?? [value]).includes(value);
      });
    },
  ],
  [
    'content-type',
    ({ contentTypes }, { content }) => {
      if (contentTypes === undefined || content?.hasBody !== true) return true;
      const type = content.header('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
      const wanted = [type, type.replace(/[^/]*$/, '*')];
      return (
        content.lines('content-type') === 1 && contentTypes.some((item) => wanted.includes(item))
      );
    },
  ],
  [
    'tool',
    ({ tools }, request) => !tools || (request.tools ?? []).every((name) => naiveTool(tools, name)),
  ],
];

const reasonOf: Readonly<Record<Condition, Reason>> = {
  method: 'method_not_allowed',
  path: 'path_not_allowed',
  query: 'path_not_allowed',
  header: 'header_not_allowed',
  'content-type': 'content_type_not_allowed',
  tool: 'tool_not_allowed',
};

/** Only for names and values of letters and digits; everything else is odd here. */
function naiveQuery(rules: readonly QueryRule[], target: string): boolean {
  const query = target.split('?').slice(1).join('?');
  if (query === '') return true;
  return query.split('&').every((pair) => {
    const [key = '', ...rest] = pair.split('=');
    const rule = rules.find((candidate) => candidate.key === key);
    return rule !== undefined && (rule.values ?? [rest.join('=')]).includes(rest.join('='));
  });
}

export function naiveTool({ allow, deny }: ToolRules, name: string): boolean {
  if (deny.some((pattern) => naiveGlob(pattern, name))) return false;
  return allow === undefined || allow.some((pattern) => naiveGlob(pattern, name));
}

/** By backtracking. */
export function naiveGlob(glob: string, text: string): boolean {
  const go = (g: number, t: number): boolean => {
    if (g === glob.length) return t === text.length;
    if (glob[g] === '*') return go(g + 1, t) || (t < text.length && go(g, t + 1));
    return glob[g] === text[t] && go(g + 1, t + 1);
  };
  return go(0, 0);
}

function capOf(candidate: Candidate | undefined, request: DecisionRequest): number | null {
  if (request.scope !== undefined) return null;
  const { upload = Infinity, maxBody = Infinity } = candidate?.spec ?? {};
  const whole = isRequest(request) && request.method !== undefined;
  return whole ? Math.min(upload, maxBody) : upload;
}

function opensTls(candidate: Candidate): boolean {
  return candidate.spec.scheme !== 'http' && !demandsInspection(candidate);
}

/** Only TLS inspection could see what the entry asks for. */
function demandsInspection({ spec }: Candidate): boolean {
  const { methods, paths, query, headers, contentTypes, maxBody, tools, inject } = spec;
  const asked = [methods, paths, query, headers, contentTypes, maxBody, tools, inject];
  return spec.scheme === 'https' && asked.some((condition) => condition !== undefined);
}

/** Every part of the scope names the group, or has a pattern for the host. */
function inScope({ scope, host, ip }: DecisionRequest, group: string | undefined): boolean {
  return (scope ?? []).every(({ groups, hosts }) => {
    if (group !== undefined && groups.includes(group)) return true;
    return hosts.some((pattern) => specificityOf(pattern, host, ip) !== null);
  });
}

function allowed(speakers: readonly Candidate[], request: DecisionRequest): NaiveDecision {
  const rules = speakers.flatMap(({ spec }) => spec.tools ?? []);
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
    failed: null,
    tools: rules.length === speakers.length ? comparableTools(rules) : null,
    upload: capOf(speakers[0], request),
  };
}

/** Rules in an order that does not matter. */
export function comparableTools(rules: readonly ToolRules[]): string[] {
  return rules.map((rule) => JSON.stringify(rule)).sort();
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
    failed: null,
    tools: null,
    upload: Number.POSITIVE_INFINITY,
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
  return !(glob.includes('*') && text === '') && naiveGlob(glob, text);
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
