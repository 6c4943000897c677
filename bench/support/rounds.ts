import type { Figures, RivalName, Scenario } from '../network/trial-types.ts';
import { findMitmproxy } from '../rivals/mitmproxy.ts';
import { findSquid, squidInspects } from '../rivals/squid.ts';
import type { BenchOptions, Row } from './axis.ts';
import { runTrial } from './namespace.ts';
import { choosePinning } from './pinning.ts';
import { median, spread } from './stats.ts';

export interface Contest {
  /** What the progress lines call it. */
  readonly name: string;
  readonly rivals: readonly RivalName[];
  readonly scenario: Scenario;
  readonly concurrency: number;
  readonly rounds: number;
}

export interface Trial {
  readonly contest: string;
  readonly rival: RivalName;
  readonly round: number;
  readonly figures: Figures;
  readonly logLines: number;
}

export const rivalTitles: Readonly<Record<RivalName, string>> = {
  sallyport: 'Sallyport',
  squid: 'Squid',
  squidRsa: 'Squid, RSA',
  mitmproxy: 'mitmproxy',
  bare: 'bare Node relay',
};

/**
 * Runs every rival in every round, one after the other, each round beginning with another one: what
 * changes on the machine in the meantime changes for all.
 * @throws Error if a trial fails
 */
export async function holdContest(contest: Contest, options: BenchOptions): Promise<Trial[]> {
  const rivals = contest.rivals.filter((rival) => {
    const missing = whatIsMissing(rival, contest.scenario);
    if (missing !== null) options.progress(`${missing}: ${rivalTitles[rival]} is left out`);
    return missing === null;
  });
  const rounds = options.rounds ?? (options.quick ? 1 : contest.rounds);
  const trials: Trial[] = [];
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < rivals.length; at++) {
      const rival = rivals[(at + round) % rivals.length] as RivalName;
      const result = await runRival(rival, contest, options);
      const { figures } = result;
      options.progress(`${contest.name}, round ${round + 1}, ${rival}: ${summary(figures)}`);
      trials.push({ contest: contest.name, rival, round, ...result });
    }
  }
  return trials;
}

/** Why a rival cannot take part; null if it can. */
function whatIsMissing(rival: RivalName, scenario: Scenario): string | null {
  if (rival === 'mitmproxy') return findMitmproxy() === null ? 'there is no mitmdump' : null;
  if (rival !== 'squid' && rival !== 'squidRsa') return null;
  if (findSquid() === null) return 'squid is not on the PATH, or its basic_ncsa_auth is missing';
  if (scenario.kind !== 'inspect' || squidInspects()) return null;
  return 'squid has no security_file_certgen (Debian: squid-openssl)';
}

async function runRival(rival: RivalName, contest: Contest, options: BenchOptions) {
  return await runTrial({
    rival,
    scenario: contest.scenario,
    concurrency: contest.concurrency,
    pinning: choosePinning(),
    profile: rival === 'sallyport' ? (options.profile ?? null) : null,
  });
}

/**
 * One row per rival: the median of every figure over the rounds; `spread` and `best` (the lowest, the
 * least disturbed by others on the machine) of the one named.
 */
export function medians(trials: readonly Trial[], key: string): Row[] {
  const rivals = [...new Set(trials.map(({ rival }) => rival))].toSorted(byOrder);
  return rivals.map((rival) => {
    const figures = trials.filter((trial) => trial.rival === rival).map((trial) => trial.figures);
    const names = Object.keys(figures[0] ?? {});
    const values = (name: string): number[] => figures.map((figure) => figure[name] ?? Number.NaN);
    const middle = names.map((name) => [name, median(values(name))] as const);
    return {
      rival: rivalTitles[rival],
      ...Object.fromEntries(middle),
      spread: spread(values(key)),
      best: Math.min(...values(key)),
    };
  });
}

/** Adds `ratio`: the figure over that of the first row, ours. */
export function withRatios(rows: readonly Row[], key: string): Row[] {
  const first = rows[0]?.[key];
  return rows.map((row) => {
    const value = row[key];
    const comparable = typeof value === 'number' && typeof first === 'number';
    return { ...row, ratio: comparable ? value / first : null };
  });
}

function byOrder(a: RivalName, b: RivalName): number {
  const order = Object.keys(rivalTitles);
  return order.indexOf(a) - order.indexOf(b);
}

function summary(figures: Figures): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`)
    .join(', ');
}
