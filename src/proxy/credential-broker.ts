import type { Entry } from '../policy/policy.ts';
import { isCredentialHeader } from './credential-headers.ts';
import { credentialQueryKeys } from './credential-query.ts';
import type { Exchange } from './exchange.ts';
import { injectedValue } from './injected-value.ts';

/** Name, value, name, value …, as they go to the origin; no one else may see them. */
export type InjectedHeaders = readonly string[];

/**
 * What the proxy adds to a request of its entry (contract §7, `inject`): the secrets are asked for, and
 * `done` is called with the headers, at once if all are known; with null if one cannot be had. Nothing
 * is added to what report mode alone lets through: the conditions under which the entry gives its
 * secret do not hold.
 */
export function injectedHeaders(
  exchange: Exchange,
  done: (headers: InjectedHeaders | null) => void,
): void {
  const { decision, services } = exchange;
  const injections = decision?.report === true ? [] : (decision?.entry?.inject ?? []);
  if (injections.length === 0) return done([]);
  const values: (string | undefined)[] = injections.map(() => undefined);
  let waiting = injections.length;
  let failed = false;
  for (const [at, { scheme, secret }] of injections.entries()) {
    services.secrets.get(secret, (text) => {
      if (failed) return;
      if (text === null) {
        failed = true;
        return done(null);
      }
      values[at] = injectedValue(scheme, text);
      waiting--;
      if (waiting === 0) {
        done(injections.flatMap(({ header }, index) => [header, values[index] as string]));
      }
    });
  }
}

/**
 * Keys in the query of a request that could carry a credential of the client's own beside the one that
 * its entry adds. Those that the entry's `query` names are meant.
 */
export function strangersInQuery(exchange: Exchange): readonly string[] {
  const entry = exchange.decision?.entry;
  if (entry?.inject === undefined) return [];
  const meant = new Set(entry.query?.map(({ key }) => key));
  return credentialQueryKeys(exchange.path ?? '').filter((key) => !meant.has(key));
}

/**
 * Is this header of the client's left out of what the origin gets? Where a credential is added, all of
 * the client's own are; what the entry strips is anyway. An underscore counts as a hyphen, as it does
 * for servers behind CGI and its like.
 *
 * @param name lower case
 */
export function isStripped(entry: Entry, name: string): boolean {
  const plain = name.replaceAll('_', '-');
  if (entry.headers?.strip.some((one) => one.replaceAll('_', '-') === plain) === true) return true;
  if (entry.inject === undefined) return false;
  if (entry.inject.some(({ header }) => header.replaceAll('_', '-') === plain)) return true;
  return isCredentialHeader(name) && !entry.pass.includes(name);
}
