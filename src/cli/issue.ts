import { join } from 'node:path';
import { SecretFileError } from '../core/secret-file.ts';
import { newId } from '../core/ulid.ts';
import { maxTtl } from '../identity/credential-claims.ts';
import {
  type CredentialKey,
  type CredentialKeys,
  openCredentialKeys,
} from '../identity/credential-keys.ts';
import { CredentialRequestError, issueCredential } from '../identity/issued-credential.ts';
import { hostPattern } from '../policy/pattern.ts';
import { meet } from '../policy/pattern-meet.ts';
import type { Agent, Policy } from '../policy/policy.ts';
import { CommandError } from './io.ts';
import { knownAgent } from './load-policy.ts';
import { scopeForAgent } from './scope-option.ts';

export interface CredentialRequest {
  readonly agent: string;
  /** Seconds. */
  readonly ttl: number;
  readonly task?: string | undefined;
  readonly requestedBy?: string | undefined;
  /** Groups of the agent and host patterns, as `--only` takes them; undefined = all that it has. */
  readonly only?: readonly string[] | undefined;
}

export interface IssuedCredential {
  readonly credential: string;
  readonly id: string;
  readonly agent: string;
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
  /** Host patterns of its scope that no allow entry of the agent could ever meet. */
  readonly idle: readonly string[];
}

/** Seconds. */
export interface TtlBounds {
  readonly least: number;
  readonly most: number;
}

const ttlUnits: ReadonlyMap<string, number> = new Map([
  ['s', 1],
  ['m', 60],
  ['h', 3600],
  ['d', 86_400],
]);
const ttlForm = /^([1-9][0-9]{0,8})([smhd])$/u;

/**
 * `90s`, `15m`, `8h`, `7d` → seconds.
 *
 * @param bounds of a credential where nothing else is said
 * @throws CommandError (2) for any other form, and out of bounds
 */
export function parseTtl(
  text: string,
  { least, most }: TtlBounds = { least: 1, most: maxTtl },
): number {
  const [, digits, unit] = ttlForm.exec(text) ?? [];
  if (digits === undefined || unit === undefined) {
    throw new CommandError(`--ttl ${text}: write a whole number and a unit: 90s, 15m, 8h, 7d.`, 2);
  }
  const seconds = Number(digits) * (ttlUnits.get(unit) ?? 0);
  if (seconds > most) throw new CommandError(`--ttl ${text}: ${most / 86_400}d is the most.`, 2);
  if (seconds < least) throw new CommandError(`--ttl ${text}: ${least}s is the least.`, 2);
  return seconds;
}

/**
 * The keys of the installation, made if it has none yet.
 *
 * @throws CommandError (1) if the key file cannot be used
 */
export function openKeys(certs: string): CredentialKeys {
  try {
    return openCredentialKeys(join(certs, 'credentials.key'));
  } catch (error) {
    if (error instanceof SecretFileError) throw new CommandError(error.message, 1);
    throw error;
  }
}

/**
 * Issues a credential to an agent of this policy.
 *
 * @param nowMs wall clock, milliseconds since the Unix epoch
 * @throws CommandError (1) if the policy has no such agent or group, the agent takes no issued
 * credentials, the key ends before the credential would, or what the credential would say is out of bounds
 */
export function issueFor(
  policy: Policy,
  keys: CredentialKeys,
  request: CredentialRequest,
  nowMs: number,
): IssuedCredential {
  const agent = agentOf(policy, request.agent);
  const { only, hosts } = scopeForAgent(agent, request.only);
  const idle = (hosts ?? []).filter((host) => !meetsEntry(agent, host));
  const id = newId(nowMs);
  const issuedAt = Math.floor(nowMs / 1000);
  const expiresAt = issuedAt + request.ttl;
  checkKey(keys.signing, expiresAt * 1000, nowMs);
  const { task, requestedBy } = request;
  try {
    const claims = { id, agent: agent.id, issuedAt, expiresAt, task, requestedBy, only, hosts };
    const credential = issueCredential(keys.signing, claims);
    return { credential, id, agent: agent.id, expiresAt: expiresAt * 1000, idle };
  } catch (error) {
    if (error instanceof CredentialRequestError) throw new CommandError(error.message, 1);
    throw error;
  }
}

function agentOf(policy: Policy, id: string): Agent {
  const agent = knownAgent(policy, id);
  if (!agent.credentials.issued) {
    throw new CommandError(
      `agent ${id} takes no issued credentials: ${agent.at} says \`issued: false\`.`,
      1,
    );
  }
  return agent;
}

/** A credential never outlives the key that signs it. */
function checkKey(key: CredentialKey, expiresAt: number, nowMs: number): void {
  if (expiresAt <= key.until) return;
  const end = new Date(key.until).toISOString();
  const rotate = '`sallyport token keys --rotate` makes a new one';
  throw new CommandError(
    nowMs >= key.until
      ? `the key ${key.id}, which signs, ended at ${end}: ${rotate}.`
      : `the key ${key.id}, which signs, ends at ${end}, before the credential would: ask for a shorter --ttl, or ${rotate}.`,
    1,
  );
}

function meetsEntry(agent: Agent, host: string): boolean {
  const wanted = hostPattern(host);
  const lists = [agent.allow, ...agent.groups.map(({ group }) => group.allow)];
  return lists.flat().some(({ pattern }) => {
    const own = hostPattern(pattern);
    return wanted !== null && own !== null && meet(wanted, own) !== null;
  });
}
