import type { Duplex } from 'node:stream';
import type { Ip } from '../core/ip.ts';

/**
 * Opens a TCP connection to the first of some vetted addresses that answers. It gets addresses,
 * never names, so that nothing can be resolved a second time behind the guard's back.
 * The callback is called exactly once, never synchronously inside `dial`; after `cancel()` not at all.
 */
export interface Dialer {
  dial(addresses: readonly Ip[], port: number, done: DialCallback): DialHandle;
}

export interface DialHandle {
  /** Gives up; whatever was being opened is destroyed. Safe to call twice and after the end. */
  cancel(): void;
}

/** On success `error` is null and `socket` is connected, has `allowHalfOpen` and no listeners of ours. */
export type DialCallback = (
  error: DialError | null,
  socket: Duplex | null,
  address: Ip | null,
) => void;

export class DialError extends Error {
  override readonly name = 'DialError';
  readonly reason:
    | 'connect_refused'
    | 'connect_timeout'
    | 'connect_failed'
    | 'address_not_allowed'
    | 'loop'
    | 'overloaded';
  constructor(reason: DialError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Reports a failure that was known at once, in a later turn as the contract of `Dialer` demands. */
export function failLater(error: DialError, done: DialCallback): DialHandle {
  const turn = setImmediate(done, error, null, null);
  return { cancel: () => clearImmediate(turn) };
}
