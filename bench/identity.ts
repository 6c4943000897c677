import { createHash, randomBytes } from 'node:crypto';
import { systemClock } from '../src/core/clock.ts';
import { parseIp } from '../src/core/ip.ts';
import { newId } from '../src/core/ulid.ts';
import { credentialKey } from '../src/identity/credential-keys.ts';
import { AgentIdentifier } from '../src/identity/identify.ts';
import { isFailure } from '../src/identity/identity.ts';
import { issueCredential } from '../src/identity/issued-credential.ts';
import { buildPolicy } from '../src/policy/build.ts';
import type { Axis } from './support/axis.ts';
import { entrySpec, policySpec } from './support/inputs.ts';
import { measure } from './support/micro.ts';

const tokens = ['a', 'b'].map((prefix) => prefix + randomBytes(32).toString('hex'));
const key = credentialKey(randomBytes(32));
const keys = { signing: key, find: (id: string) => (id === key.id ? key : undefined) };
const evidence = { source: parseIp('10.20.0.7'), certificate: null, listener: null };
const policy = buildPolicy(policySpec([entrySpec('registry.npm.example', 1)], tokens.map(sha256)));

/** Who is it: from a Proxy-Authorization value to an agent. */
export const identity: Axis = {
  name: 'identity',
  about: 'a Proxy-Authorization value verified, for the first time and again',
  async run({ quick }) {
    const issued = [issue(1), issue(2)];
    // Two values that push each other out of a cache for one: every verification is a first one.
    const cases = [
      ['static token, again', tokens.slice(0, 1).map(basic), 10_000, true],
      ['static token, first time', tokens.map(basic), 1, true],
      ['issued credential, again', issued.slice(0, 1).map(basic), 10_000, true],
      ['issued credential, first time', issued.map(basic), 1, true],
      ['wrong token', [basic('c'.repeat(65))], 10_000, false],
      ['forged issued credential', [basic(forged(issued[0] as string))], 10_000, false],
    ] as const;
    return {
      tables: [
        {
          title: 'Identifying the agent, CPU ns',
          columns: [
            { key: 'credential', label: 'credential' },
            { key: 'ns', label: 'identify ns' },
            { key: 'garbage', label: 'garbage B' },
          ],
          rows: cases.map(([credential, headers, cacheSize, good]) => {
            const { ns, bytes } = measure(identifyInTurn(headers, cacheSize, good), quick);
            return { credential, ns, garbage: bytes };
          }),
        },
      ],
    };
  },
};

function identifyInTurn(headers: readonly string[], cacheSize: number, good: boolean) {
  const identifier = new AgentIdentifier({ keys, clock: systemClock, cacheSize });
  return (turn: number): unknown => {
    const result = identifier.identify(policy, headers[turn % headers.length], evidence);
    if (isFailure(result) === good) throw new Error('identified wrongly');
    return result;
  };
}

function issue(serial: number): string {
  const now = Math.floor(Date.now() / 1000);
  return issueCredential(key, {
    id: newId(Date.now()),
    agent: 'bench',
    issuedAt: now,
    expiresAt: now + 3600,
    task: `task-${serial}`,
    requestedBy: 'bench@example.com',
    only: undefined,
  });
}

/** The same claims under a signature of nobody. */
function forged(credential: string): string {
  const signed = credential.slice(0, credential.lastIndexOf('.') + 1);
  return signed + randomBytes(32).toString('base64url');
}

function basic(secret: string): string {
  return `Basic ${Buffer.from(`bench:${secret}`).toString('base64')}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
