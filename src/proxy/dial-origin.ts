import type { Duplex } from 'node:stream';
import { addressText } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import type { DialError, DialHandle } from '../upstream/dialer.ts';
import type { Peer } from '../upstream/pool.ts';
import { vet } from './admit.ts';
import type { Exchange } from './exchange.ts';

/** Who waits for the connection. `connected` or `failed` is called once, or neither if it is over. */
export interface DialWaiter {
  /** The request ended in the meantime: nobody wants the connection any more. */
  isOver(): boolean;
  connected(socket: Duplex, peer: Peer): void;
  /** `rcode`: the DNS response code, if the name could not be resolved. */
  failed(reason: Reason, rcode: string | undefined): void;
}

/**
 * Contract §4 steps 5 and 6 for a plain request: resolves and vets the target of the exchange, then
 * dials what was vetted. The waiter may be called at once. Does not throw.
 */
export function dialOrigin(exchange: Exchange, waiter: DialWaiter): DialHandle {
  let dial: DialHandle | null = null;
  const { services } = exchange;
  vet(exchange, (vetted) => {
    if (waiter.isOver()) return;
    if (vetted.reason !== null) return waiter.failed(vetted.reason, vetted.rcode);
    const port = exchange.port ?? 80;
    const granted = exchange.decision?.addresses ?? [];
    const startedAt = services.clock.monotonic();
    dial = services.dialer.dial(vetted.addresses, port, granted, (error, socket, address) => {
      dial = null;
      exchange.dialMs = Math.round((services.clock.monotonic() - startedAt) * 10) / 10;
      services.metrics.dial(exchange.dialMs);
      if (socket === null || address === null) {
        return waiter.failed((error as DialError).reason, undefined);
      }
      socket.on('error', () => {});
      if (waiter.isOver()) {
        socket.destroy();
        return;
      }
      waiter.connected(socket, { ip: address, text: addressText(address, port) });
    });
  });
  return { cancel: () => dial?.cancel() };
}
