import type { Entry } from '../policy/policy.ts';
import { isCredentialHeader } from './credential-headers.ts';
import { credentialQueryKeys } from './credential-query.ts';
import type { Exchange } from './exchange.ts';
import type { Inbound } from './inbound.ts';
import { injectedValue } from './injected-value.ts';
import type { Refused } from './request-target.ts';

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
 * Why a request to an entry that adds a credential must not go out; null if it may, or if none is added.
 * TRACE has the destination send the credential back (RFC 9110 §9.3.8); a credential of the client's own
 * beside the one that is added, in the query or as a subprotocol of a WebSocket, could be an attacker's.
 * Keys that the entry's `query` names are meant.
 */
export function brokerProblem(exchange: Exchange, inbound: Inbound): Refused | null {
  const entry = exchange.decision?.entry;
  if (entry?.inject === undefined) return null;
  if (inbound.method === 'TRACE') {
    const message = 'the proxy adds a credential here, and TRACE would send it back';
    return { reason: 'method_not_allowed', detail: { message } };
  }
  const meant = new Set(entry.query?.map(({ key }) => key));
  const keys = credentialQueryKeys(exchange.path ?? '').filter((key) => !meant.has(key)).length;
  if (keys > 0) {
    const message = `the proxy adds the credential here, so the query must have none of its own, and ${keys} of its keys may carry one`;
    return { reason: 'path_not_allowed', detail: { message } };
  }
  if (!inbound.isUpgrade || entry.pass.includes(protocols) || !hasOwnProtocol(inbound)) return null;
  const message = `the proxy adds the credential here, so no subprotocol may look like one; let the entry pass ${protocols} where it must`;
  return { reason: 'header_not_allowed', detail: { message } };
}

const protocols = 'sec-websocket-protocol';

/** Some servers take a token as one of the subprotocols, because browsers can add no other header. */
function hasOwnProtocol({ headers }: Inbound): boolean {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if ((headers[at] as string).toLowerCase().replaceAll('_', '-') !== protocols) continue;
    if ((headers[at + 1] as string).split(',').some(isCredentialHeader)) return true;
  }
  return false;
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
