import type { RequestFacts } from './headers.ts';
import type { Refused } from './request-target.ts';

/** What RFC 9110 has an intermediary do about the contents, demands and hops of one request. */

/**
 * What a request demands that it does not get here: any upgrade but WebSocket, which counts as
 * `http` (contract §7), and any expectation but 100-continue (RFC 9110 §10.1.1). Null if nothing.
 * @param upgrade node:http took the request for an upgrade.
 */
export function unmetDemand(
  facts: RequestFacts,
  method: string | undefined,
  upgrade: boolean,
): Refused | null {
  if (upgrade && !isWebSocket(facts, method)) return { reason: 'upgrade_not_allowed', detail: {} };
  if (facts.expect === undefined || facts.expect.toLowerCase() === '100-continue') return null;
  return {
    reason: 'bad_request',
    detail: { status: 417, message: 'only Expect: 100-continue is understood' },
  };
}

function isWebSocket(facts: RequestFacts, method: string | undefined): boolean {
  return method === 'GET' && facts.upgrade?.toLowerCase() === 'websocket' && !facts.hasBody;
}

/** RFC 9110 §7.6.2: OPTIONS or TRACE that may go no further is ours to answer. */
export function isFinalRecipient(facts: RequestFacts, method: string | undefined): boolean {
  return countsForwards(method) && facts.maxForwards === '0';
}

/** Max-Forwards for the next hop (RFC 9110 §7.6.2); undefined if the one that came is left as it is. */
export function nextMaxForwards(
  facts: RequestFacts,
  method: string | undefined,
): string | undefined {
  const { maxForwards } = facts;
  if (maxForwards === undefined || !countsForwards(method)) return undefined;
  return /^[0-9]{1,6}$/.test(maxForwards)
    ? String(Math.max(0, Number(maxForwards) - 1))
    : undefined;
}

function countsForwards(method: string | undefined): boolean {
  return method === 'OPTIONS' || method === 'TRACE';
}
