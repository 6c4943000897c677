import type { Socket } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.ts';
import type { Reason } from '../core/reasons.ts';
import type { FailureAnswer } from '../observe/metrics.ts';
import { type Client, endGracefully } from './client-connection.ts';
import type { Live, LiveRegistry } from './services.ts';

/** How the connection of a refused client ends. */
export interface Farewell {
  /** False: it is closed without a word. */
  readonly answered: boolean;
  /** Ends the connection; `bytes` is the refusal. */
  end(socket: Socket, bytes: string): void;
}

export const atOnce: Farewell = { answered: true, end: endGracefully };

const unanswered: Farewell = { answered: false, end: (socket) => socket.destroy() };

/** Failures that a source may show before its answers wait. */
const burst = 20;
/** Milliseconds after which a source may show one more. */
const interval = 2_000;
/** How long an answer waits, milliseconds. */
const delay = 1_000;
/** Answers that wait for one source at a time. */
const maxHeldOfSource = 64;
/** Answers that wait in all; fewer where the proxy takes fewer than eight times as many connections. */
const maxHeld = 1_024;
/** Sources that are remembered. A forgotten one has its burst again; its waiting answers still count in all. */
const maxSources = 16_384;

/** What is no guess. */
const uncounted: ReadonlySet<Reason> = new Set(['no_credentials', 'agent_quarantined']);

/** Failed credentials of one address; of a Unix socket those of all its clients. */
interface Source {
  /** Theoretical arrival time of the generic cell rate algorithm, monotonic milliseconds. */
  nextAt: number;
  held: number;
}

export interface FailureLimiterOptions {
  readonly clock: Clock;
  readonly live: LiveRegistry;
  /** Client connections that are taken at a time. */
  readonly connections: number;
  /** Told of every failure. */
  readonly metrics: { identityFailure(reason: Reason, answer: FailureAnswer): void };
}

/**
 * Makes guessing slow without ever refusing who is right: a good credential is looked at and served
 * at once, whoever else fails behind the same address. Only the answers to failures are rationed: a
 * source may fail twenty times, and once more every two seconds; beyond that each answer waits for a
 * second, and where too many wait the connection is closed. Who shows no credential at all does not
 * count, because many clients ask once without; nor does who is quarantined, and has proven who it is.
 */
export class FailureLimiter {
  readonly #clock: Clock;
  readonly #live: LiveRegistry;
  readonly #metrics: FailureLimiterOptions['metrics'];
  readonly #most: number;
  readonly #sources = new LRUCache<string, Source>({ max: maxSources });
  #held = 0;

  constructor(options: FailureLimiterOptions) {
    this.#clock = options.clock;
    this.#live = options.live;
    this.#metrics = options.metrics;
    this.#most = Math.min(maxHeld, Math.ceil(options.connections / 8));
  }

  /** Answers that wait now. */
  get held(): number {
    return this.#held;
  }

  /** How to end the connection of a client that could not be identified; its `end` is to be called once. */
  farewell(client: Pick<Client, 'source' | 'client'>, reason: Reason): Farewell {
    if (uncounted.has(reason)) return this.#say(reason, 'at_once', atOnce);
    const source = this.#source(sourceKey(client));
    const now = this.#clock.monotonic();
    const start = Math.max(source.nextAt, now);
    if (start - now <= (burst - 1) * interval) {
      source.nextAt = start + interval;
      return this.#say(reason, 'at_once', atOnce);
    }
    if (source.held >= maxHeldOfSource || this.#held >= this.#most) {
      return this.#say(reason, 'none', unanswered);
    }
    source.held++;
    this.#held++;
    const end: Farewell['end'] = (socket, bytes) => {
      new HeldAnswer(this.#live, socket, bytes, now + delay, () => {
        source.held--;
        this.#held--;
      });
    };
    return this.#say(reason, 'held', { answered: true, end });
  }

  #say(reason: Reason, answer: FailureAnswer, farewell: Farewell): Farewell {
    this.#metrics.identityFailure(reason, answer);
    return farewell;
  }

  #source(key: string): Source {
    let source = this.#sources.get(key);
    if (source === undefined) {
      source = { nextAt: 0, held: 0 };
      this.#sources.set(key, source);
    }
    return source;
  }
}

/** An answer that waits for its time; goes with the client, and with the proxy. */
class HeldAnswer implements Live {
  readonly #live: LiveRegistry;
  readonly #socket: Socket;
  readonly #bytes: string;
  readonly #at: number;
  readonly #released: () => void;

  /** @param at monotonic milliseconds. */
  constructor(live: LiveRegistry, socket: Socket, bytes: string, at: number, released: () => void) {
    this.#live = live;
    this.#socket = socket;
    this.#bytes = bytes;
    this.#at = at;
    this.#released = released;
    live.add(this);
    socket.on('end', this.#gone);
    socket.on('close', this.#gone);
    // Only who is read is noticed when it goes; what it sends is thrown away by its sink.
    socket.resume();
    if (socket.readableEnded || socket.destroyed) this.#gone();
  }

  tick(mono: number): void {
    if (mono < this.#at) return;
    this.#release();
    endGracefully(this.#socket, this.#bytes);
  }

  rejudge(): void {}

  cut(): void {
    this.#gone();
  }

  describe(): null {
    return null;
  }

  /** Who sends no more is not waited for: it would only hold a place. */
  readonly #gone = (): void => {
    this.#release();
    this.#socket.destroy();
  };

  #release(): void {
    this.#socket.off('end', this.#gone);
    this.#socket.off('close', this.#gone);
    this.#live.delete(this);
    this.#released();
  }
}

/** An IPv6 client has a /64 to choose its address from (RFC 6177), so that is one source. */
function sourceKey({ source, client }: Pick<Client, 'source' | 'client'>): string {
  if (source === null) return client;
  return source.family === 4 ? source.text : `${source.words[0]}:${source.words[1]}`;
}
