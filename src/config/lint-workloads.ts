import { matchesClaimPattern } from '../identity/claim-pattern.ts';
import type { AgentDefinition, AllowlistFile } from './allowlist-file.ts';
import type { Report } from './fields.ts';
import type { IssuerDefinition } from './issuers.ts';
import { lintGrant, lintRanges } from './lint-entry.ts';
import type { WorkloadLine } from './workloads.ts';

/** An issuer that signs for everybody who has an account there. */
interface PublicIssuer {
  readonly issuer: string;
  /** A `sub` that begins like this names whose account it is. */
  readonly owned: RegExp;
  /** Claims that do so as well, each by itself. */
  readonly claims: readonly string[];
  readonly example: string;
}

const GITHUB = 'https://token.actions.githubusercontent.com';

/** Without a star in the part that strangers choose. */
const publicIssuers: readonly PublicIssuer[] = [
  {
    issuer: GITHUB,
    owned: /^repo:[^*/:]+\//u,
    claims: [
      'repository',
      'repository_id',
      'repository_owner',
      'repository_owner_id',
      'enterprise',
      'enterprise_id',
    ],
    example: 'sub: "repo:OWNER/REPOSITORY:ref:refs/heads/main"',
  },
  {
    issuer: 'https://gitlab.com',
    owned: /^project_path:[^*/:]+\//u,
    claims: ['namespace_id', 'namespace_path', 'project_id', 'project_path'],
    example: 'sub: "project_path:GROUP/PROJECT:ref_type:branch:ref:main"',
  },
  {
    issuer: 'https://accounts.google.com',
    owned: /^[^*]+$/u,
    claims: ['email', 'hd'],
    example: 'email: robot@PROJECT.iam.gserviceaccount.com',
  },
];

/** What is allowed by the format and still a mistake: issuers nobody uses, rules that strangers fit. */
export function lintWorkloads(files: readonly AllowlistFile[], report: Report): void {
  const issuers = new Map(
    files.flatMap((file) => file.issuers).map((issuer) => [issuer.name, issuer]),
  );
  const agents = files.flatMap((file) => file.agents);
  for (const { addresses, addressesAt, note } of issuers.values()) {
    for (const cidr of addresses) lintGrant(cidr, addressesAt, report);
    if (note === undefined) lintRanges(addresses, addressesAt, report);
  }
  for (const agent of agents) {
    for (const line of agent.credentials.workloadLines) {
      const issuer = issuers.get(line.issuer);
      if (issuer !== undefined) lintWorkload(agent, line, issuer, report);
    }
  }
}

function lintWorkload(
  agent: AgentDefinition,
  line: WorkloadLine,
  issuer: IssuerDefinition,
  report: Report,
): void {
  const open = publicIssuers.find((known) => known.issuer === issuer.issuer);
  if (open !== undefined && !isOwned(line, open)) {
    const message = `${open.issuer} signs for everybody: strangers would be the agent \`${agent.id}\``;
    report(line.at, 'broad-claim', message, `Say whose tokens are meant: \`${open.example}\`.`);
  } else if (issuer.issuer === GITHUB && line.note === undefined && fitsPullRequests(line)) {
    const message = `pull requests are the agent \`${agent.id}\` too, also those of forks that get tokens`;
    const hint =
      'Name the branch, `sub: "repo:OWNER/REPOSITORY:ref:refs/heads/main"`, or the environment, or say why it is meant with a `note`.';
    report(line.at, 'fork-claim', message, hint);
  }
}

/** Does some claim pin the account that the tokens belong to? */
function isOwned({ claims }: WorkloadLine, { owned, claims: owners }: PublicIssuer): boolean {
  return claims.some(
    ({ name, pattern }) =>
      (name === 'sub' && owned.test(pattern)) || (owners.includes(name) && !pattern.includes('*')),
  );
}

/** What a job of a pull request has in its token, as far as rules usually ask for it. */
const pullRequest: Readonly<Record<string, string>> = {
  event_name: 'pull_request',
  ref: 'refs/pull/1/merge',
  ref_type: 'branch',
};

function fitsPullRequests({ claims }: WorkloadLine): boolean {
  return claims.every(({ name, pattern }) => {
    if (name === 'sub') return matchesClaimPattern(pattern, pullRequestSubject(pattern));
    const value = pullRequest[name];
    if (value !== undefined) return matchesClaimPattern(pattern, value);
    // An environment has reviewers and branches of its own.
    return name !== 'environment' && name !== 'job_workflow_ref';
  });
}

/** The `sub` of a pull request of the repository that the pattern names. */
function pullRequestSubject(pattern: string): string {
  const repository = /^repo:[^:]*/u.exec(pattern)?.[0] ?? 'repo:owner/repository';
  return `${repository.replace(/\*+/gu, 'any')}:pull_request`;
}
