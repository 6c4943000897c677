import type { Socket } from 'node:net';
import { unmapped } from '../core/embedded-ipv4.ts';
import type { Ip } from '../core/ip.ts';
import { parseIp } from '../core/ip.ts';

/** Who handles what a client socket does right now. Replaced as the connection goes on. */
export interface Sink {
  onData(chunk: Buffer): void;
  /** The client sent its FIN; it may still read. */
  onEnd(): void;
  onDrain(): void;
  /** The socket is gone, by a reset or after both sides ended. */
  onClose(): void;
}

const kConnection = Symbol('connection');
type OwnedSocket = Socket & { [kConnection]: ClientConnection };

function onData(this: OwnedSocket, chunk: Buffer): void {
  this[kConnection].sink.onData(chunk);
}
function onEnd(this: OwnedSocket): void {
  this[kConnection].sink.onEnd();
}
function onDrain(this: OwnedSocket): void {
  this[kConnection].sink.onDrain();
}
function onClose(this: OwnedSocket): void {
  const connection = this[kConnection];
  connection.gone?.();
  connection.sink.onClose();
}
// 'close' always follows 'error'; without a listener a reset would end the process.
function onError(): void {}

/**
 * A client's socket with one set of listeners for its whole life. The listeners are shared
 * functions that find their connection through the socket, so accepting one allocates no closures;
 * what they call changes with `sink`.
 */
export class ClientConnection {
  readonly socket: Socket;
  sink: Sink;
  /** Called once, when the socket is gone. */
  gone: (() => void) | null;
  #client: string | undefined;
  #source: Ip | null | undefined;

  constructor(socket: Socket, sink: Sink, gone: (() => void) | null = null) {
    this.socket = socket;
    this.sink = sink;
    this.gone = gone;
    (socket as OwnedSocket)[kConnection] = this;
    socket.on('error', onError);
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('drain', onDrain);
    socket.on('close', onClose);
  }

  /** Takes all listeners off, except the one that swallows errors, to hand the socket to node:http. */
  detach(): Socket {
    const { socket } = this;
    socket.off('data', onData);
    socket.off('end', onEnd);
    socket.off('drain', onDrain);
    socket.off('close', onClose);
    if (this.gone !== null) socket.once('close', this.gone);
    return socket;
  }

  /** `ip:port`, for the log. */
  get client(): string {
    this.#client ??= clientText(this.source, this.socket);
    return this.#client;
  }

  /** The client's address; IPv4 even where the listener is dual-stack. */
  get source(): Ip | null {
    if (this.#source === undefined) this.#source = sourceOf(this.socket);
    return this.#source;
  }
}

/** The address a socket's peer has; an IPv4-mapped one is un-mapped. Null once the peer is gone. */
export function sourceOf(socket: Socket): Ip | null {
  const ip = parseIp(socket.remoteAddress ?? '');
  return ip === null ? null : unmapped(ip);
}

/** `ip:port`, brackets around IPv6. */
export function clientText(source: Ip | null, socket: Socket): string {
  if (source === null) return 'gone';
  return source.family === 6
    ? `[${source.text}]:${socket.remotePort ?? 0}`
    : `${source.text}:${socket.remotePort ?? 0}`;
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
