import { buildPolicy } from '../src/policy/build.ts';
import { decide } from '../src/policy/decide.ts';
import type { Agent } from '../src/policy/policy.ts';
import type { Axis, Row, Table } from './support/axis.ts';
import { entrySpec, policySpec } from './support/inputs.ts';
import { measureGrowth } from './support/memory.ts';
import { type MicroFigure, measure } from './support/micro.ts';
import {
  isAllowed,
  makeRules,
  makeTargets,
  type RuleSet,
  type TargetKind,
  type Targets,
  targetKinds,
} from './support/rule-sets.ts';
import { SuffixMap } from './support/suffix-map.ts';

const sizes = [100, 1_000, 10_000, 100_000, 1_000_000];
const quickSizes = [100, 10_000];

/** Below this many rules the growth of the process says nothing. */
const leastForMemory = 10_000;

/** Something that can be asked about a host. */
interface Contestant {
  readonly name: string;
  /** True if the host may be reached. */
  readonly allows: (host: string) => boolean;
  readonly indexBytes: number | null;
  readonly bytes: number | null;
  readonly buildMs: number | null;
}

/** What one decision costs, by number of rules, beside a map of suffixes. */
export const matcher: Axis = {
  name: 'matcher',
  about: 'one decision of the policy over 100 to 1,000,000 rules: CPU ns, memory, build time',
  async run({ quick, progress }) {
    const rows: Row[] = [];
    for (const size of quick ? quickSizes : sizes) {
      progress(`matcher: ${size} rules`);
      rows.push(...measureSize(size, quick));
    }
    return { tables: [tableOf(rows)] };
  },
};

function measureSize(size: number, quick: boolean): Row[] {
  const rules = makeRules(size);
  const targets = makeTargets(rules);
  return [buildOurs, buildSuffixMap, buildNothing].map((build) => {
    const contestant = build(rules);
    return rowOf(size, contestant, targets, quick);
  });
}

function rowOf(size: number, contestant: Contestant, targets: Targets, quick: boolean): Row {
  const { name, indexBytes, bytes, buildMs } = contestant;
  const figures = targetKinds.map(
    (kind) => [kind, figureOf(contestant, kind, targets[kind], quick)] as const,
  );
  return {
    rules: size,
    matcher: name,
    ...Object.fromEntries(figures.map(([kind, { ns }]) => [kind, ns])),
    garbage: figures[0]?.[1].bytes ?? null,
    index: indexBytes === null ? null : indexBytes / size,
    memory: bytes === null || size < leastForMemory ? null : bytes / size,
    build: buildMs,
  };
}

/**
 * The host is made from bytes every time, as in the proxy: a string that was hashed once keeps its
 * hash, which would spare a map most of its work.
 * @throws Error on a wrong answer, which may well be a fast one
 */
function figureOf(
  { name, allows }: Contestant,
  kind: TargetKind,
  targets: readonly string[],
  quick: boolean,
): MicroFigure {
  const expected = isAllowed[kind];
  const hosts = targets.map((target) => Buffer.from(target));
  return measure((turn) => {
    const host = (hosts[turn % hosts.length] as Buffer).toString('latin1');
    const allowed = allows(host);
    if (allowed !== expected && name !== nothing) throw new Error(`${name} is wrong on ${host}`);
    return allowed;
  }, quick);
}

function buildOurs({ exact, suffixes }: RuleSet): Contestant {
  const patterns = [...exact, ...suffixes.map((suffix) => `*.${suffix}`)];
  const specs = patterns.map((pattern, index) => entrySpec(pattern, index + 1));
  const { made: policy, bytes, ms } = measureGrowth(() => buildPolicy(policySpec(specs)));
  const agent = policy.agents.get('bench') as Agent;
  const allows = (host: string): boolean => {
    const request = {
      host,
      ip: null,
      port: 443,
      scheme: 'connect',
      method: undefined,
      path: undefined,
      scope: undefined,
    } as const;
    return decide(policy, agent, request, 0).verdict === 'allow';
  };
  return {
    name: 'Sallyport',
    allows,
    indexBytes: policy.matcher.byteLength,
    bytes,
    buildMs: ms,
  };
}

function buildSuffixMap({ exact, suffixes }: RuleSet): Contestant {
  const { made, bytes, ms } = measureGrowth(() => new SuffixMap(exact, suffixes));
  return {
    name: 'suffix map',
    allows: (host) => made.has(host),
    indexBytes: null,
    bytes,
    buildMs: ms,
  };
}

const nothing = 'the name alone';

/** What of the figures above is the making of the host string. */
function buildNothing(): Contestant {
  return {
    name: nothing,
    allows: (host) => host.length === 0,
    indexBytes: null,
    bytes: null,
    buildMs: null,
  };
}

function tableOf(rows: readonly Row[]): Table {
  return {
    title: 'One decision, CPU ns, and what the rules take',
    columns: [
      { key: 'rules', label: 'rules', digits: 1 },
      { key: 'matcher', label: 'matcher' },
      { key: 'exact', label: 'exact name ns' },
      { key: 'wildcard', label: 'under `*.` ns' },
      { key: 'denied', label: 'not listed ns' },
      { key: 'longest', label: '253 bytes ns' },
      { key: 'garbage', label: 'garbage B' },
      { key: 'index', label: 'index B/rule' },
      { key: 'memory', label: 'all B/rule' },
      { key: 'build', label: 'build ms' },
    ],
    rows,
    notes: [
      'Sallyport: the whole `decide` with ports, schemes, expiry, precedence and the entry that spoke. Suffix map: a set of names and one of suffixes, asked label by label, which says yes or no. Both with the making of the host string, which is the third row.',
      '"253 bytes": about 115 labels of one letter in front of a listed name. "index": the sealed arrays. "all": with the entries, their files and lines, by growth of the process; the texts of the names, which the suffix map shares with its input, are not in either. "build" is CPU time of all threads.',
    ],
  };
}
