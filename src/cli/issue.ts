import { join } from 'node:path';
import { didYouMean } from '../config/spelling.ts';
import { SecretFileError } from '../core/secret-file.ts';
import { newId } from '../core/ulid.ts';
import { type CredentialKeys, openCredentialKeys } from '../identity/credential-keys.ts';
import { CredentialRequestError, issueCredential, maxTtl } from '../identity/issued-credential.ts';
import type { Agent, Policy } from '../policy/policy.ts';
import { CommandError } from './io.ts';

export interface CredentialRequest {
  readonly agent: string;
  /** Seconds. */
  readonly ttl: number;
  readonly task?: string | undefined;
  readonly requestedBy?: string | undefined;
  /** Names of groups of the agent; undefined = all that it has. */
  readonly only?: readonly string[] | undefined;
}

export interface IssuedCredential {
  readonly credential: string;
  readonly id: string;
  readonly agent: string;
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
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
 * @throws CommandError (2) for any other form, and beyond 30 days
 */
export function parseTtl(text: string): number {
  const [, digits, unit] = ttlForm.exec(text) ?? [];
  if (digits === undefined || unit === undefined) {
    throw new CommandError(`--ttl ${text}: write a whole number and a unit: 90s, 15m, 8h, 7d.`, 2);
  }
  const seconds = Number(digits) * (ttlUnits.get(unit) ?? 0);
  if (seconds > maxTtl) throw new CommandError(`--ttl ${text}: 30d is the most.`, 2);
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
 * credentials, or what the credential would say is out of bounds
 */
export function issueFor(
  policy: Policy,
  keys: CredentialKeys,
  request: CredentialRequest,
  nowMs: number,
): IssuedCredential {
  const agent = agentOf(policy, request.agent);
  checkGroups(agent, request.only ?? []);
  const id = newId(nowMs);
  const issuedAt = Math.floor(nowMs / 1000);
  const expiresAt = issuedAt + request.ttl;
  const { task, requestedBy, only } = request;
  try {
    const claims = { id, agent: agent.id, issuedAt, expiresAt, task, requestedBy, only };
    const credential = issueCredential(keys.signing, claims);
    return { credential, id, agent: agent.id, expiresAt: expiresAt * 1000 };
  } catch (error) {
    if (error instanceof CredentialRequestError) throw new CommandError(error.message, 1);
    throw error;
  }
}

function agentOf(policy: Policy, id: string): Agent {
  const agent = policy.agents.get(id);
  if (agent === undefined) {
    const meant = didYouMean(id, policy.agents.keys());
    throw new CommandError(`no agent ${JSON.stringify(id)} in the allowlists${meant || '.'}`, 1);
  }
  if (!agent.credentials.issued) {
    throw new CommandError(
      `agent ${id} takes no issued credentials: ${agent.at} says \`issued: false\`.`,
      1,
    );
  }
  return agent;
}

function checkGroups(agent: Agent, only: readonly string[]): void {
  const names = agent.groups.map((grant) => grant.group.name);
  const missing = only.find((name) => !names.includes(name));
  if (missing === undefined) return;
  const has = names.length === 0 ? 'it has none' : `it has ${names.join(', ')}`;
  throw new CommandError(
    `agent ${agent.id} has no group ${JSON.stringify(missing)} (${agent.at}): ${has}${didYouMean(missing, names) || '.'}`,
    1,
  );
}
