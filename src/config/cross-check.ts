import { cidrContains } from '../core/ip.ts';
import type { AgentDefinition, AllowlistFile, GroupDefinition } from './allowlist-file.ts';
import { clip } from './clip.ts';
import type { Report } from './fields.ts';
import type { IssuerDefinition } from './issuers.ts';
import { formatPlace, type Position } from './problem.ts';
import { didYouMean } from './spelling.ts';

/** What no file can know by itself: names in two places, references, credentials of two agents. */
export function crossCheck(files: readonly AllowlistFile[], report: Report): void {
  const agents = files.flatMap((file) => file.agents);
  const groups = files.flatMap((file) => file.groups);
  reportTwice(
    agents.map(({ id, at }) => ({ name: id, at })),
    'agent',
    report,
  );
  reportTwice(
    groups.map(({ name, at }) => ({ name, at })),
    'group',
    report,
  );
  const issuers = files.flatMap((file) => file.issuers);
  reportTwice(issuers, 'issuer', report);
  reportSameTokens(issuers, report);
  reportSharedCredentials(agents, report);
  reportSources(agents, report);
}

/** What is not there: agents, groups that are named, anybody who names a group. */
export function checkPresence(files: readonly AllowlistFile[], report: Report): void {
  const agents = files.flatMap((file) => file.agents);
  reportUnknownGroups(
    agents,
    files.flatMap((file) => file.groups),
    report,
  );
  reportUnusedGroups(files, agents, report);
  checkIssuers(files, agents, report);
  if (agents.length === 0) {
    const message = 'there is no agent in these files: every connection is blocked';
    const hint = 'Write `agents: {NAME: {owner: …, purpose: …, allow: […]}}`.';
    report({ file: '.', line: 1, column: 1 }, 'no-agents', message, hint);
  }
}

function reportTwice(
  definitions: readonly { readonly name: string; readonly at: Position }[],
  what: 'agent' | 'group' | 'issuer',
  report: Report,
): void {
  const seen = new Map<string, Position>();
  for (const { name, at } of definitions) {
    const first = seen.get(name);
    if (first === undefined) seen.set(name, at);
    else {
      const message = `the ${what} \`${clip(name)}\` is already defined at ${formatPlace(first)}`;
      report(at, `duplicate-${what}`, message, 'Merge the two, or rename one.');
    }
  }
}

function reportUnknownGroups(
  agents: readonly AgentDefinition[],
  groups: readonly GroupDefinition[],
  report: Report,
): void {
  const names = new Set(groups.map(({ name }) => name));
  for (const { group, at } of agents.flatMap((agent) => agent.groups)) {
    if (names.has(group)) continue;
    const message = `there is no group \`${clip(group)}\`${didYouMean(group, names)}`;
    report(
      at,
      'unknown-group',
      message,
      `Define it under \`groups:\` in any file, or name one that exists.`,
    );
  }
}

/**
 * Groups that nobody names. What waits in a library is left alone: a group that says what it is
 * `about`, in a file without agents.
 */
function reportUnusedGroups(
  files: readonly AllowlistFile[],
  agents: readonly AgentDefinition[],
  report: Report,
): void {
  const used = new Set(agents.flatMap((agent) => agent.groups.map(({ group }) => group)));
  for (const { groups, agents: beside } of files) {
    for (const { name, at, about } of groups) {
      if (used.has(name) || (beside.length === 0 && about !== undefined)) continue;
      const message = `no agent names the group \`${name}\``;
      report(
        at,
        'unused-group',
        message,
        `Write \`- group: ${name}\` in an agent's allow list, or delete the group.`,
      );
    }
  }
}

/** A token or certificate names its agent by itself, so that it can belong to one only. */
function reportSharedCredentials(agents: readonly AgentDefinition[], report: Report): void {
  const tokens = new Map<string, string>();
  const certificates = new Map<string, string>();
  for (const { id, credentials } of agents) {
    for (const { value, at } of credentials.tokenLines) {
      const other = tokens.get(value);
      tokens.set(value, id);
      if (other === undefined) continue;
      const message =
        other === id
          ? `the agent \`${id}\` has this digest twice`
          : `the agent \`${other}\` has the same digest`;
      report(at, 'duplicate-token', message, 'Make a token of its own for each agent.');
    }
    for (const { value, at } of credentials.certificateLines) {
      const other = certificates.get(value);
      certificates.set(value, id);
      if (other === undefined) continue;
      const message =
        other === id
          ? `the agent \`${id}\` has this name twice`
          : `the agent \`${other}\` has the same certificate name`;
      report(
        at,
        'duplicate-certificate',
        message,
        'Give each agent a certificate name of its own.',
      );
    }
  }
}

/** An address that identifies by itself must identify one agent. */
function reportSources(agents: readonly AgentDefinition[], report: Report): void {
  const alone = agents.filter((agent) => agent.credentials.sourcesAlone);
  for (const [index, agent] of alone.entries()) {
    const { sources, sourcesAt } = agent.credentials;
    if (sources.some(({ prefix }) => prefix === 0)) {
      const message = `every address would be the agent \`${agent.id}\``;
      report(
        sourcesAt,
        'open-sources',
        message,
        'Name its own ranges, or leave out sources-alone.',
      );
    }
    for (const other of alone.slice(0, index)) {
      const overlap = sources.find((cidr) =>
        other.credentials.sources.some(
          (theirs) => cidrContains(theirs, cidr.ip) || cidrContains(cidr, theirs.ip),
        ),
      );
      if (overlap === undefined) continue;
      const message = `${overlap.text} overlaps the sources of the agent \`${other.id}\` at ${formatPlace(other.credentials.sourcesAt)}: which of the two would it be?`;
      report(
        sourcesAt,
        'overlapping-sources',
        message,
        'Separate the ranges, or take sources-alone from one of them.',
      );
    }
  }
}

/** A token names its issuer by itself, so that no two can be meant. */
function reportSameTokens(issuers: readonly IssuerDefinition[], report: Report): void {
  const seen = new Map<string, IssuerDefinition>();
  for (const definition of issuers) {
    const { issuer, trustDomain, at } = definition;
    if (issuer === undefined && trustDomain === undefined) continue;
    const key = issuer ?? `spiffe://${trustDomain}`;
    const first = seen.get(key);
    if (first === undefined) seen.set(key, definition);
    else {
      const message = `the issuer \`${clip(first.name)}\` at ${formatPlace(first.at)} has the same tokens, those of ${clip(key)}`;
      const hint =
        'Write one definition; `audience` may be a list, and `claims` may ask for one `aud`.';
      report(at, 'duplicate-issuer', message, hint);
    }
  }
}

/** Issuers that are named and not there, and those that nobody names. */
function checkIssuers(
  files: readonly AllowlistFile[],
  agents: readonly AgentDefinition[],
  report: Report,
): void {
  const issuers = files.flatMap((file) => file.issuers);
  const names = new Set(issuers.map(({ name }) => name));
  const lines = agents.flatMap((agent) => agent.credentials.workloadLines);
  for (const { issuer, issuerAt } of lines) {
    if (names.has(issuer)) continue;
    const message = `there is no issuer \`${clip(issuer)}\`${didYouMean(issuer, names)}`;
    report(
      issuerAt,
      'unknown-issuer',
      message,
      'Define it under `issuers:` in any file, or name one that exists.',
    );
  }
  const used = new Set(lines.map(({ issuer }) => issuer));
  for (const { name, at } of issuers) {
    if (used.has(name)) continue;
    const message = `no agent takes tokens of the issuer \`${name}\``;
    const hint = `Write \`workloads: [{issuer: ${name}, claims: {sub: …}}]\` in an agent's credentials, or delete it.`;
    report(at, 'unused-issuer', message, hint);
  }
}
