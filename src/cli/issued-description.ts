import { join } from 'node:path';
import { loadSettings, type SettingsFlags } from '../config/settings.ts';
import { SecretFileError } from '../core/secret-file.ts';
import type { Narrowing } from '../identity/credential-claims.ts';
import { loadCredentialKeys } from '../identity/credential-keys.ts';
import type { ReadCredential } from '../identity/issued-credential.ts';
import { hostPattern } from '../policy/pattern.ts';
import { scopeTerms } from '../policy/reach.ts';
import type { Io } from './io.ts';

/** What `token show` tells about an issued credential. Undefined members are left out of JSON. */
export interface IssuedDescription {
  readonly kind: 'issued';
  readonly verified: false;
  readonly id: string;
  readonly agent: string;
  readonly task: string | undefined;
  readonly requested_by: string | undefined;
  /** RFC 3339. */
  readonly issued: string;
  readonly expires: string;
  readonly expired: boolean;
  readonly key: { readonly id: string; readonly here: string };
  /** As issued, then as its holders narrowed it. */
  readonly steps: readonly StepDescription[];
  /** What is left of groups and hosts; undefined if it is not narrowed to any. */
  readonly scope: readonly { readonly group?: string; readonly host?: string }[] | undefined;
  /** False if it is narrower than `scope` tells: it has too many parts that multiply. */
  readonly scope_exact: boolean | undefined;
  /** Why the proxy will refuse it, as far as that can be seen. */
  readonly problems: readonly string[];
}

interface StepDescription {
  readonly expires: string | undefined;
  readonly groups: readonly string[] | undefined;
  readonly hosts: readonly string[] | undefined;
}

/** @param beside the agent that it was given with, if any */
export function describeIssued(
  io: Io,
  read: ReadCredential,
  beside: string | undefined,
  flags: SettingsFlags,
): IssuedDescription {
  const { claims, narrowings, key, expiresAt } = read;
  const steps: readonly Narrowing[] = [{ ...claims }, ...narrowings];
  const expired = io.clock.now() >= expiresAt;
  const expires = new Date(expiresAt).toISOString();
  const odd = steps.flatMap(({ hosts }) => hosts ?? []).filter((text) => !isPattern(text));
  const problems = [
    ...(expired ? [`it ended at ${expires}`] : []),
    ...odd.map((text) => `${JSON.stringify(text)} is not a host pattern`),
    ...(beside === undefined || beside === claims.agent
      ? []
      : [`it is shown for agent ${beside}, and is agent ${claims.agent}'s`]),
  ];
  return {
    kind: 'issued',
    verified: false,
    id: claims.id,
    agent: claims.agent,
    task: claims.task,
    requested_by: claims.requestedBy,
    issued: new Date(claims.issuedAt * 1000).toISOString(),
    expires,
    expired,
    key: { id: key, here: keyHere(io, key, flags) },
    steps: steps.map(({ expiresAt: end, only, hosts }) => {
      return { expires: end === undefined ? undefined : timeOf(end), groups: only, hosts };
    }),
    ...scopeOf(steps),
    problems,
  };
}

export function renderIssued(description: IssuedDescription): string {
  const { id, agent, issued, expires, expired, key, steps, problems } = description;
  const { scope, scope_exact: exact = true } = description;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['credential', id],
    ['agent', agent],
    ['task', description.task],
    ['requested by', description.requested_by],
    ['issued', issued],
    [expired ? 'ended' : 'expires', expires],
    ['signed by key', `${key.id}, ${key.here}`],
    ['issued for', namesOf(steps[0])],
    ...steps.slice(1).map((step, index) => [`narrowed (${index + 1})`, stepText(step)] as const),
    ['may reach', scope === undefined ? 'all that the agent may' : scopeText(scope, exact)],
  ];
  const lines = rows.flatMap(([name, value]) => {
    return value === undefined ? [] : [`${`${name}:`.padEnd(15)}${value}\n`];
  });
  const refused = problems.map((problem) => `The proxy will refuse it: ${problem}.\n`);
  return `${lines.join('')}\nNothing of this is verified: anybody can write such a text, and only the proxy can tell.\n${refused.join('')}`;
}

function isPattern(text: string): boolean {
  return hostPattern(text)?.text === text;
}

/** Does this installation have the key? Never required: credentials are looked at anywhere. */
function keyHere(io: Io, id: string, flags: SettingsFlags): string {
  const loaded = loadSettings(flags, io.env);
  if (!('settings' in loaded)) return 'not looked up: the settings cannot be used';
  try {
    const keys = loadCredentialKeys(join(loaded.settings.certs, 'credentials.key'));
    const key = keys.find(id);
    if (key === undefined) return `which is not in ${loaded.settings.certs}`;
    if (io.clock.now() >= key.until) return 'which has ended here';
    return key === keys.signing ? 'the one that signs here' : 'which verifies here';
  } catch (error) {
    if (error instanceof SecretFileError) return 'not looked up: no key file can be read here';
    throw error;
  }
}

function scopeOf(steps: readonly Narrowing[]): Pick<IssuedDescription, 'scope' | 'scope_exact'> {
  const narrowing = steps.filter(({ only, hosts }) => only !== undefined || hosts !== undefined);
  if (narrowing.length === 0) return { scope: undefined, scope_exact: undefined };
  const parts = narrowing.map(({ only, hosts }) => ({
    groups: only ?? [],
    hosts: (hosts ?? []).flatMap((text) => hostPattern(text) ?? []),
  }));
  const { terms, exact } = scopeTerms(parts);
  const scope = terms.map(({ group, host }) => ({
    ...(group === undefined ? {} : { group }),
    ...(host === undefined ? {} : { host: host.text }),
  }));
  return { scope, scope_exact: exact };
}

function stepText(step: StepDescription): string {
  const names = namesOf(step);
  const end = step.expires === undefined ? [] : [`ends at ${step.expires}`];
  return [...end, ...(names === undefined ? [] : [`only ${names}`])].join('; ');
}

/** Undefined if the step names no group and no host. */
function namesOf(step: StepDescription | undefined): string | undefined {
  const groups = (step?.groups ?? []).map((name) => `group ${name}`);
  return [...groups, ...(step?.hosts ?? [])].join(', ') || undefined;
}

function scopeText(scope: NonNullable<IssuedDescription['scope']>, exact: boolean): string {
  if (scope.length === 0) return 'nothing: its narrowings have nothing in common';
  const terms = scope.map(({ group, host }) => {
    if (group === undefined) return host ?? 'everything';
    return host === undefined ? `group ${group}` : `${host} of group ${group}`;
  });
  return `${exact ? '' : 'less than '}${terms.join(', ')}, as far as the agent may`;
}

/** RFC 3339; a second that no calendar has is shown as a number. */
function timeOf(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds}` : date.toISOString();
}
