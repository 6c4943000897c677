import { type KeySet, readKeySet } from '../../src/identity/key-set.ts';
import type { WorkloadKeys } from '../../src/identity/workload-keys.ts';
import type { Issuer, WorkloadRule } from '../../src/policy/issuer.ts';
import { keySet, type TestKey } from './token-issuer.ts';

/** An issuer as a policy has it, by the name `ci` unless another is given. */
export function issuer(fields: Partial<Issuer> = {}): Issuer {
  return {
    name: 'ci',
    issuer: 'https://ci.test',
    trustDomain: undefined,
    audience: ['sallyport'],
    keys: { kind: 'file', text: 'keys.json' },
    algorithms: ['RS256', 'ES256'],
    addresses: [],
    maxAge: undefined,
    at: 'issuers.yaml:1',
    ...fields,
  };
}

export function rule(
  claims: Readonly<Record<string, string>>,
  fields: Partial<WorkloadRule> = {},
): WorkloadRule {
  return {
    issuer: 'ci',
    claims: Object.entries(claims).map(([name, pattern]) => ({ name, pattern })),
    task: undefined,
    requestedBy: undefined,
    ...fields,
  };
}

/** Keys of issuers at hand; what is asked for in vain is taken down. */
export class KnownKeys implements WorkloadKeys {
  readonly missed: string[] = [];
  readonly #sets = new Map<string, KeySet>();

  set(definition: Issuer, keys: readonly (TestKey | object)[]): this {
    const set = readKeySet(Buffer.from(keySet(keys)), definition);
    if (typeof set === 'string') throw new Error(set);
    this.#sets.set(definition.name, set);
    return this;
  }

  find(
    ...[name, kid, algorithm]: Parameters<WorkloadKeys['find']>
  ): ReturnType<WorkloadKeys['find']> {
    const key = this.#sets.get(name)?.find(kid, algorithm) ?? null;
    if (key === null) this.missed.push(`${name} ${kid} ${algorithm}`);
    return key;
  }

  has(name: string, id: string): boolean {
    return this.#sets.get(name)?.has(id) ?? false;
  }
}
