import type { Cidr, Ip } from '../core/ip.ts';
import type { AddressGuard } from '../policy/address-guard.ts';
import type { DialCallback, Dialer, DialHandle } from './dialer.ts';
import { DialError, failLater } from './dialer.ts';

/**
 * The only way out of the program: a Dialer behind the address guard. Whoever calls it has vetted
 * the addresses before; they are judged once more here, right before the first packet, so that no
 * path through the program can forget to.
 */
export class GuardedDialer {
  readonly #dialer: Dialer;
  readonly #guard: Pick<AddressGuard, 'check'>;

  constructor(dialer: Dialer, guard: Pick<AddressGuard, 'check'>) {
    this.#dialer = dialer;
    this.#guard = guard;
  }

  /**
   * As `Dialer.dial`. `granted` are the otherwise refused ranges that the deciding entry names. One
   * refused address refuses all, whatever their order: `address_not_allowed` or `loop`.
   */
  dial(
    addresses: readonly Ip[],
    port: number,
    granted: readonly Cidr[],
    done: DialCallback,
  ): DialHandle {
    for (const ip of addresses) {
      const verdict = this.#guard.check(ip, port, granted);
      if (verdict !== 'ok') return failLater(new DialError(verdict, refusal(verdict, ip)), done);
    }
    return this.#dialer.dial(addresses, port, done);
  }
}

function refusal(verdict: 'address_not_allowed' | 'loop', ip: Ip): string {
  return verdict === 'loop'
    ? `${ip.text} is one of the proxy's own listeners`
    : `${ip.text} is in a range that may not be dialled without a grant`;
}
