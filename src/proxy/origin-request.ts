import { formatAuthority } from '../core/authority-form.ts';
import { type InjectedHeaders, isStripped } from './credential-broker.ts';
import type { Exchange } from './exchange.ts';
import type { RequestFacts } from './headers.ts';
import { requestHeaders } from './headers.ts';
import type { Inbound } from './inbound.ts';
import type { RefusalDetail } from './refuse.ts';
import { nextMaxForwards } from './request-semantics.ts';

/** Why `smugglesMethod` was true, for the client. */
export const smuggled: RefusalDetail = {
  message:
    'methods are limited here, and the request names another one beside its own; send that one as the method',
};

/** What would bring an answer in pieces, or in a coding. */
const unfiltered: ReadonlySet<string> = new Set(['accept-encoding', 'range', 'if-range']);

/**
 * The header list of the request as the origin gets it.
 * @param injected what the proxy adds, in the place of what the client sent
 * @param multiplexed the origin speaks HTTP/2, which has TE for trailers alone (RFC 9113 §8.2.2)
 */
export function originHeaders(
  inbound: Inbound,
  facts: RequestFacts,
  exchange: Exchange,
  injected: InjectedHeaders,
  multiplexed: boolean,
): string[] {
  const { host = '', ip, scheme, decision } = exchange;
  const entry = decision?.entry ?? null;
  // An answer whose tools are to be filtered must come whole and readable.
  const filtered = decision != null && decision.tools !== null;
  const usual = scheme === 'https' ? 443 : 80;
  const authority = formatAuthority({ host, ip, port: exchange.port ?? usual });
  const headers = requestHeaders(inbound.headers, facts, {
    host: exchange.port === usual ? authority.slice(0, -`:${usual}`.length) : authority,
    version: inbound.version,
    maxForwards: nextMaxForwards(facts, inbound.method),
    isStripped:
      entry?.conditional === true
        ? (name) => isStripped(entry, name) || (filtered && unfiltered.has(name))
        : null,
  });
  if (filtered) headers.push('Accept-Encoding', 'identity');
  headers.push(...injected);
  if (multiplexed && facts.takesTrailers) headers.push('TE', 'trailers');
  return headers;
}

/**
 * Does the request carry another method, as servers of many makers take it from a header or from
 * `_method` in the query, where the entry that speaks limits methods? (A form's body can hold one as
 * well; nobody reads that here.)
 */
export function smugglesMethod(exchange: Exchange, facts: RequestFacts): boolean {
  if (exchange.decision?.entry?.methods === undefined) return false;
  return facts.overridesMethod || queryKeys(exchange.path ?? '').includes('_method');
}

/** Decoded once, in lower case; what does not decode stands as it came. */
function queryKeys(path: string): string[] {
  const start = path.indexOf('?');
  if (start === -1) return [];
  return path
    .slice(start + 1)
    .split(/[&;]/)
    .map((pair) => decoded(pair.split('=', 1)[0] ?? '').toLowerCase());
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
