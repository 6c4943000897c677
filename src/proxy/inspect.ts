import type { Socket } from 'node:net';
import type { Exchange } from './exchange.ts';
import type { TunnelEnd } from './inner-http.ts';
import { type InspectionServices, notPermitted } from './services.ts';

/** The tunnel, which waits for the end of the client's handshake. */
export interface InspectionWaiter {
  /** What comes out of this socket is HTTP, as far as the client keeps to it. */
  ready(inner: Socket): void;
  failed(end: TunnelEnd): void;
}

/**
 * Contract §4 step 8 for a tunnel whose entry demands inspection: TLS ends here, under a leaf for
 * the target and no other host. A client that does not take it breaks the handshake off, and the
 * operators are told which entry it was that demanded this.
 *
 * @param first the ClientHello, which was judged, and what came behind it
 */
export function inspect(
  exchange: Exchange,
  socket: Socket,
  first: Buffer,
  waiter: InspectionWaiter,
): void {
  const { inspection } = exchange.services;
  const { host = '' } = exchange;
  const inner = inspection?.contexts.terminate(host, socket, first, {
    done: () => waiter.ready(inner as Socket),
    failed: (error) => waiter.failed(brokenOff(exchange, inspection, error)),
  });
  if (inner == null) waiter.failed(withoutLeaf(exchange, inspection));
}

/** The authority has ended since the proxy began, or may not sign for this host. */
function withoutLeaf(exchange: Exchange, inspection: InspectionServices | null): TunnelEnd {
  if (inspection === null || inspection.contexts.permits(exchange.host ?? '')) {
    return { end: 'policy_changed', cut: 'policy_changed' };
  }
  return distrusted(exchange, inspection, notPermitted);
}

/**
 * The client ended the handshake, and has seen our leaf by then: with an alert that says what it does
 * not like, or, if it pins what it expects, often without a word.
 */
function brokenOff(
  exchange: Exchange,
  inspection: InspectionServices,
  { code }: NodeJS.ErrnoException,
): TunnelEnd {
  return distrusted(exchange, inspection, code ?? 'closed without an alert');
}

function distrusted(exchange: Exchange, inspection: InspectionServices, why: string): TunnelEnd {
  inspection.distrusted({
    agent: exchange.agent?.id ?? '',
    host: exchange.host ?? '',
    entry: exchange.decision?.entry?.at ?? '',
    why,
  });
  return { end: 'not_tls', cut: 'not_tls' };
}
