import type { SocketConstructorOpts } from 'node:net';
import { Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { systemClock } from '../core/clock.ts';
import { addressText, type Ip } from '../core/ip.ts';
import { DeadlineSweep } from './deadline-sweep.ts';
import type { DialCallback, Dialer, DialHandle } from './dialer.ts';
import { DialError, failLater } from './dialer.ts';
import { interleave } from './interleave.ts';

export interface TcpDialerOptions {
  /** Deadline of one dial over all its addresses, milliseconds. Default 10000. */
  readonly connectTimeoutMs?: number;
  /** RFC 8305 §5 Connection Attempt Delay, milliseconds. Default 250. */
  readonly attemptDelayMs?: number;
  readonly clock?: Clock;
}

/**
 * Neither noDelay nor keepAlive: each costs a system call, and most tunnels end before either
 * matters. Who holds the socket sets them once its traffic asks for them.
 */
const socketOptions: SocketConstructorOpts = { allowHalfOpen: true };

/** Addresses of one name that are tried; a server may send thousands. */
const mostAttempts = 16;

/** System error → reason. Anything else is `connect_failed`. */
const reasonOfCode: ReadonlyMap<string, DialError['reason']> = new Map([
  ['ETIMEDOUT', 'connect_timeout'],
  ['ECONNREFUSED', 'connect_refused'],
  ['EMFILE', 'overloaded'],
  ['ENFILE', 'overloaded'],
  ['ENOBUFS', 'overloaded'],
  ['ENOMEM', 'overloaded'],
]);
/** Of several failures the last of these is reported. */
const leastToMostTelling = ['connect_failed', 'connect_timeout', 'connect_refused', 'overloaded'];

/**
 * Dialer over node:net. Several addresses race as in RFC 8305 (IPv6 and IPv4 in turn, a new attempt
 * every 250 ms or as soon as one fails); the first to connect wins and the others are destroyed.
 * One deadline holds for all of them together.
 *
 * Every socket has an 'error' listener until `done` is called with it, and then none: the caller
 * must attach its own before its callback returns.
 */
export class TcpDialer implements Dialer {
  readonly connectTimeoutMs: number;
  readonly attemptDelayMs: number;
  readonly clock: Clock;
  readonly deadlines: DeadlineSweep;

  constructor(options: TcpDialerOptions = {}) {
    this.connectTimeoutMs = options.connectTimeoutMs ?? 10_000;
    this.attemptDelayMs = options.attemptDelayMs ?? 250;
    this.clock = options.clock ?? systemClock;
    this.deadlines = new DeadlineSweep(this.clock);
  }

  dial(addresses: readonly Ip[], port: number, done: DialCallback): DialHandle {
    if (addresses.length === 0) {
      return failLater(new DialError('connect_failed', 'there is no address to dial'), done);
    }
    // node:net would dial "0x1bb" and 443.5 or throw, each in its own way.
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      return failLater(new DialError('connect_failed', 'the port is not one of 1 to 65535'), done);
    }
    if (addresses.some(isUnspecified)) {
      return failLater(new DialError('connect_failed', 'there is no host at that address'), done);
    }
    const dial = new TcpDial(this, interleave(addresses).slice(0, mostAttempts), port, done);
    dial.start();
    return dial;
  }
}

/**
 * One attempt of a dial. Its socket is a plain one with nothing hung on it: sockets of one shape
 * keep the stream code of Node fast for all of them.
 */
class Attempt {
  readonly ip: Ip;
  readonly socket = new Socket(socketOptions);
  #dial: TcpDial | null;

  constructor(dial: TcpDial, ip: Ip) {
    this.#dial = dial;
    this.ip = ip;
    this.socket.on('connect', this.#onConnect);
    this.socket.on('error', this.#onError);
  }

  /** Its dial does not hear of it any more; the 'error' listener stays, to swallow what comes. */
  forget(): void {
    this.#dial = null;
  }

  /** The socket without a listener of ours. */
  release(): Socket {
    this.#dial = null;
    this.socket.removeListener('connect', this.#onConnect);
    this.socket.removeListener('error', this.#onError);
    return this.socket;
  }

  readonly #onConnect = (): void => this.#dial?.connected(this);
  readonly #onError = (error: NodeJS.ErrnoException): void => this.#dial?.failed(this, error);
}

/** One call of `dial`: its attempts, and the one end that it comes to. */
class TcpDial implements DialHandle {
  readonly expiresAt: number;
  readonly #dialer: TcpDialer;
  readonly #addresses: readonly Ip[];
  readonly #port: number;
  #done: DialCallback | null;
  /** Attempts that are neither connected nor failed. */
  readonly #open: Attempt[] = [];
  /** Index of the address that is dialled next. */
  #next = 0;
  #delay: NodeJS.Timeout | undefined;
  #failure: DialError | null = null;

  constructor(dialer: TcpDialer, addresses: readonly Ip[], port: number, done: DialCallback) {
    this.#dialer = dialer;
    this.#addresses = addresses;
    this.#port = port;
    this.#done = done;
    this.expiresAt = dialer.clock.monotonic() + dialer.connectTimeoutMs;
  }

  start(): void {
    this.#dialer.deadlines.add(this);
    this.#attempt();
  }

  cancel(): void {
    this.#end();
  }

  expire(): void {
    const seconds = this.#dialer.connectTimeoutMs / 1000;
    this.#note('connect_timeout', `no connection to port ${this.#port} within ${seconds} s`);
    this.#fail();
  }

  connected(attempt: Attempt): void {
    this.#open.splice(this.#open.indexOf(attempt), 1);
    this.#end()?.(null, attempt.release(), attempt.ip);
  }

  failed(attempt: Attempt, error: NodeJS.ErrnoException): void {
    attempt.forget();
    this.#open.splice(this.#open.indexOf(attempt), 1);
    const reason = reasonOfCode.get(error.code ?? '') ?? 'connect_failed';
    this.#note(reason, `${addressText(attempt.ip, this.#port)}: ${error.code ?? error.message}`);
    if (this.#next < this.#addresses.length) this.#attempt();
    else if (this.#open.length === 0) this.#fail();
  }

  #attempt(): void {
    clearTimeout(this.#delay);
    const ip = this.#addresses[this.#next++] as Ip;
    const attempt = new Attempt(this, ip);
    this.#open.push(attempt);
    try {
      attempt.socket.connect({
        host: ip.text,
        port: this.#port,
        autoSelectFamily: false,
        lookup: noLookup,
      });
    } catch (error) {
      // Reported as 'error' in the next turn, like every other failure.
      attempt.socket.destroy(error as Error);
    }
    if (this.#next < this.#addresses.length) {
      this.#delay = setTimeout(() => this.#attempt(), this.#dialer.attemptDelayMs);
    }
  }

  /** Keeps the most telling failure; of equal ones the first. */
  #note(reason: DialError['reason'], message: string): void {
    const rank = leastToMostTelling.indexOf(reason);
    const known = this.#failure;
    if (known !== null && leastToMostTelling.indexOf(known.reason) >= rank) return;
    this.#failure = new DialError(reason, message);
  }

  #fail(): void {
    this.#end()?.(this.#failure, null, null);
  }

  /** Frees everything and returns the callback if nobody has had it. */
  #end(): DialCallback | null {
    const done = this.#done;
    this.#done = null;
    clearTimeout(this.#delay);
    this.#dialer.deadlines.delete(this);
    for (const attempt of this.#open) {
      attempt.forget();
      attempt.socket.destroy();
    }
    this.#open.length = 0;
    return done;
  }
}

/** 0.0.0.0 and ::, which the kernel takes for this host: the only addresses it connects elsewhere. */
function isUnspecified(ip: Ip): boolean {
  return ip.words.every((word) => word === 0);
}

/** An `Ip` needs no look-up, so whatever asks for one is a defect. */
function noLookup(): never {
  throw new Error('refused to look up a name while dialling');
}
