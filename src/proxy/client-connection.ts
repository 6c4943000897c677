import type { Socket } from 'node:net';
import { unmapped } from '../core/embedded-ipv4.ts';
import type { Ip } from '../core/ip.ts';
import { addressText, parseIp } from '../core/ip.ts';
import type { ClientCertificate, Evidence, ListenerBinding } from '../identity/identity.ts';

/** Who handles what a client socket does right now. Replaced as the connection goes on. */
export interface Sink {
  onData(chunk: Buffer): void;
  /** The client sent its FIN; it may still read. */
  onEnd(): void;
  onDrain(): void;
  /** The socket is gone, by a reset or after both sides ended. */
  onClose(): void;
}

/** Whoever a client is before it asks for anything: what it is evidence of, and how the log calls it. */
export interface Client extends Evidence {
  /** `ip:port`, brackets around IPv6; of a Unix socket `unix:` and its path. */
  readonly client: string;
}

/** What a client connection brings along from its listener. */
export interface Arrival {
  /** Who the client is where that is not the socket's peer: as a PROXY header says, or on a Unix socket. */
  readonly from: Pick<Client, 'source' | 'client'> | null;
  readonly certificate: ClientCertificate | null;
  readonly listener: ListenerBinding | null;
}

const bare: Arrival = Object.freeze({ from: null, certificate: null, listener: null });

// 'close' always follows 'error'; without a listener a reset would end the process.
function onError(): void {}

/**
 * A client's socket with one set of listeners for its whole life; what they call changes with
 * `sink`. Nothing is hung on the socket itself: sockets of one shape keep the stream code of Node
 * fast for all of them.
 */
export class ClientConnection implements Client {
  readonly socket: Socket;
  sink: Sink;
  /** Called once, when the socket is gone. */
  gone: (() => void) | null;
  readonly #onData = (chunk: Buffer): void => this.sink.onData(chunk);
  readonly #onEnd = (): void => this.sink.onEnd();
  readonly #onDrain = (): void => this.sink.onDrain();
  readonly #onClose = (): void => {
    this.gone?.();
    this.sink.onClose();
  };
  readonly #arrival: Arrival;
  #client: string | undefined;
  #source: Ip | null | undefined;

  constructor(
    socket: Socket,
    sink: Sink,
    gone: (() => void) | null = null,
    arrival: Arrival = bare,
  ) {
    this.socket = socket;
    this.sink = sink;
    this.gone = gone;
    this.#arrival = arrival;
    this.#client = arrival.from?.client;
    this.#source = arrival.from?.source;
    socket.on('error', onError);
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('drain', this.#onDrain);
    socket.on('close', this.#onClose);
  }

  /** Takes all listeners off, except the one that swallows errors, to hand the socket to node:http. */
  detach(): Socket {
    const { socket } = this;
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('drain', this.#onDrain);
    socket.off('close', this.#onClose);
    if (this.gone !== null) socket.once('close', this.gone);
    return socket;
  }

  get client(): string {
    this.#client ??= clientText(this.source, this.socket);
    return this.#client;
  }

  /** The client's address; IPv4 even where the listener is dual-stack. */
  get source(): Ip | null {
    if (this.#source === undefined) this.#source = sourceOf(this.socket);
    return this.#source;
  }

  get certificate(): ClientCertificate | null {
    return this.#arrival.certificate;
  }

  get listener(): ListenerBinding | null {
    return this.#arrival.listener;
  }
}

/** The address a socket's peer has; an IPv4-mapped one is un-mapped. Null once the peer is gone. */
function sourceOf(socket: Socket): Ip | null {
  const ip = parseIp(socket.remoteAddress ?? '');
  return ip === null ? null : unmapped(ip);
}

function clientText(source: Ip | null, socket: Socket): string {
  return source === null ? 'gone' : addressText(source, socket.remotePort ?? 0);
}

/** Ends a connection so that what was sent on it does not look whole: with a reset, or TLS without its goodbye. */
export function breakOff(socket: Socket): void {
  // Of TLS sockets Node resets none, and throws.
  if ('encrypted' in socket) socket.destroy();
  else socket.resetAndDestroy();
}

/** A sink for a connection that is over: what still arrives is thrown away. */
export const deadSink: Sink = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

/** How long a closing connection may take to read what we said, milliseconds. */
const lingerMs = 2_000;

/**
 * Sends the last bytes and closes without a reset overtaking them (RFC 9112 §9.6): our side is
 * ended, what the client still sends is thrown away unread, and after a moment the socket goes.
 */
export function endGracefully(socket: Socket, bytes: string): void {
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  timer.unref();
  socket.on('close', () => clearTimeout(timer));
  socket.on('end', () => socket.destroySoon());
  socket.resume();
  socket.end(bytes, 'latin1');
  if (socket.readableEnded) socket.destroySoon();
}
