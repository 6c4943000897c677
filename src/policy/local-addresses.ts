import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import { type Clock, systemClock } from '../core/clock.ts';
import type { Ip } from '../core/ip.ts';

/** How the system lists its interfaces, as `os.networkInterfaces` does. */
export type Interfaces = () => NodeJS.Dict<NetworkInterfaceInfo[]>;

const REFRESH_MS = 1000;

/** The addresses of this host's interfaces, asked for again when they are a second old. */
export class LocalAddresses {
  readonly #clock: Clock;
  readonly #interfaces: Interfaces;
  #addresses: ReadonlySet<string> = new Set();
  #staleAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock = systemClock, interfaces: Interfaces = networkInterfaces) {
    this.#clock = clock;
    this.#interfaces = interfaces;
  }

  /** Does a listener on every address hear a connection to this one? IPv4 in its plain form. */
  has(ip: Ip): boolean {
    return isLoopback(ip) || this.#current().has(ip.text);
  }

  #current(): ReadonlySet<string> {
    const now = this.#clock.monotonic();
    if (now < this.#staleAt) return this.#addresses;
    this.#staleAt = now + REFRESH_MS;
    const all = Object.values(this.#interfaces()).flatMap((addresses) => addresses ?? []);
    this.#addresses = new Set(all.map(({ address }) => address));
    return this.#addresses;
  }
}

/** The whole of 127.0.0.0/8 is local without being listed. */
function isLoopback(ip: Ip): boolean {
  return ip.family === 4 ? (ip.words[0] as number) >>> 24 === 127 : ip.text === '::1';
}
