import { createRandom } from './inputs.ts';

/** Rules as the lists of a large installation have them: 70 % exact names, 30 % `*.` suffixes. */
export interface RuleSet {
  readonly exact: readonly string[];
  /** Without the `*.`. */
  readonly suffixes: readonly string[];
}

export const targetKinds = ['exact', 'wildcard', 'denied', 'longest'] as const;
export type TargetKind = (typeof targetKinds)[number];
export type Targets = Readonly<Record<TargetKind, readonly string[]>>;

export const isAllowed: Readonly<Record<TargetKind, boolean>> = {
  exact: true,
  wildcard: true,
  denied: false,
  longest: false,
};

/** Targets of a kind; they take turns, so that no cache holds just one. */
const targetCount = 1024;
const longestHostname = 253;

export function makeRules(size: number): RuleSet {
  const exact: string[] = [];
  const suffixes: string[] = [];
  for (let rule = 0; rule < size; rule++) {
    const domain = `vendor-${rule.toString(36)}.example`;
    if (rule % 10 < 3) suffixes.push(domain);
    else exact.push(`api${rule % 7}.${domain}`);
  }
  return { exact, suffixes };
}

/** `longest`: as many labels as a name can have in front of one that is listed exactly. */
export function makeTargets({ exact, suffixes }: RuleSet): Targets {
  const random = createRandom(1);
  const pick = (from: readonly string[]): string =>
    from[Math.floor(random() * from.length)] as string;
  const some = (make: () => string): string[] => Array.from({ length: targetCount }, make);
  return {
    exact: some(() => pick(exact)),
    wildcard: some(() => `eu-west-1.cdn.${pick(suffixes)}`),
    denied: some(() => `paste.${Math.floor(random() * 1e6).toString(36)}.elsewhere.example`),
    longest: some(() => prolonged(pick(exact))),
  };
}

function prolonged(name: string): string {
  return 'a.'.repeat(Math.floor((longestHostname - name.length) / 2)) + name;
}
