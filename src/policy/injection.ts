import type { Policy } from './policy.ts';

/** A credential that the proxy adds to the requests of an entry (contract §7, `inject`). */
export interface Injection {
  /** Field name, lower case. */
  readonly header: string;
  readonly scheme: InjectionScheme;
  readonly secret: SecretSource;
}

/** What becomes of the secret in the field. */
export type InjectionScheme =
  /** The field's value; `{secret}` in it stands for the secret. */
  | { readonly kind: 'template'; readonly value: string }
  /** `Basic` and the Base64 of `user:secret` (RFC 7617 §2). */
  | { readonly kind: 'basic'; readonly user: string };

/** Where the secret comes from. It is never in a file that is checked in. */
export type SecretSource =
  | { readonly kind: 'env'; readonly name: string }
  | { readonly kind: 'file'; readonly path: string }
  | {
      readonly kind: 'command';
      readonly argv: readonly [string, ...string[]];
      /** Ms after which the command is asked again, at least 1000. */
      readonly refresh: number;
    };

/** Every secret that a policy may need. */
export function secretSources(policy: Policy): readonly SecretSource[] {
  const lists = [
    ...[...policy.agents.values()].map(({ allow }) => allow),
    ...[...policy.groups.values()].map(({ allow }) => allow),
  ];
  return lists.flatMap((entries) =>
    entries.flatMap(({ inject }) => inject?.map(({ secret }) => secret) ?? []),
  );
}
