import type { Entry } from '../policy/policy.ts';
import { authorizeBody } from './admit.ts';
import { brokerProblem, type InjectedHeaders, injectedHeaders } from './credential-broker.ts';
import type { Exchange } from './exchange.ts';
import type { RequestFacts } from './headers.ts';
import type { Inbound } from './inbound.ts';
import { mcpProblem, readMcpRequest } from './mcp-request.ts';
import { smuggled, smugglesMethod } from './origin-request.ts';
import type { Refused } from './request-target.ts';

/** An allowed request, ready to go. */
export interface Prepared {
  /** Its body, where that had to be read to decide; null: it is streamed, or there is none. */
  readonly body: Buffer | null;
  /** What the entry adds to its headers. */
  readonly injected: InjectedHeaders;
}

/** The request that is being prepared. */
export interface Preparation {
  readonly exchange: Exchange;
  readonly inbound: Inbound;
  readonly facts: RequestFacts;
  /** It ended in the meantime. */
  isOver(): boolean;
  /** The body is waited for, or not any more. */
  reading(isReading: boolean): void;
  /** This much of the body has come, bytes. */
  counted(bytes: number): void;
  done(prepared: Prepared | Refused): void;
}

/**
 * What an allowed request needs before it goes anywhere: where its entry limits tools, its body is a
 * part of the decision; where it adds a credential, the secret. `done` is called once, maybe at once,
 * or never if the request is over.
 */
export function prepare(preparation: Preparation): void {
  const { exchange, facts, inbound } = preparation;
  const problem = contradiction(preparation);
  if (problem !== null) return preparation.done(problem);
  const entry = exchange.decision?.report === true ? null : exchange.decision?.entry;
  if (entry?.tools === undefined) return broker(preparation, null);
  const unclear = mcpProblem(inbound, facts.hasBody);
  if (unclear !== null) return preparation.done(unclear);
  if (facts.hasBody) readBody(preparation, entry);
  else broker(preparation, null);
}

/** What is wrong with a request under the entry that speaks for it. */
function contradiction({ exchange, facts, inbound }: Preparation): Refused | null {
  if (smugglesMethod(exchange, facts)) return { reason: 'method_not_allowed', detail: smuggled };
  if ((facts.contentLength ?? 0) > exchange.uploadCap) {
    return { reason: 'upload_limit', detail: {} };
  }
  return brokerProblem(exchange, inbound);
}

function readBody(preparation: Preparation, entry: Entry): void {
  const { exchange, facts, inbound } = preparation;
  if (facts.expect !== undefined && inbound.version !== '1.0') inbound.goAhead();
  preparation.reading(true);
  readMcpRequest(inbound, entry, preparation.counted, (read) => {
    preparation.reading(false);
    if (preparation.isOver()) return;
    if ('reason' in read) return preparation.done(read);
    read.note(exchange);
    const blocked = authorizeBody(exchange);
    // Once more, because another entry may speak now, which names other arguments.
    read.note(exchange);
    if (blocked !== null) return preparation.done({ reason: blocked, detail: {} });
    const problem = contradiction(preparation);
    if (problem === null) broker(preparation, read.body);
    else preparation.done(problem);
  });
}

function broker(preparation: Preparation, body: Buffer | null): void {
  injectedHeaders(preparation.exchange, (injected) => {
    if (preparation.isOver()) return;
    if (injected === null) preparation.done({ reason: 'secret_unavailable', detail: {} });
    else preparation.done({ body, injected });
  });
}
