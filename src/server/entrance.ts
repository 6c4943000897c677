import type { Socket } from 'node:net';
import { createServer, type Server } from 'node:net';
import type { TLSSocket } from 'node:tls';
import {
  formatListener,
  type HostPort,
  isUnix,
  type ListenSetting,
  type UnixPath,
} from '../config/listen-address.ts';
import { unmapped } from '../core/embedded-ipv4.ts';
import { addressText, type Cidr, cidrContains, parseIp } from '../core/ip.ts';
import { parseProxyHeader } from '../core/proxy-protocol.ts';
import type { Reason } from '../core/reasons.ts';
import { inspectClientCertificate, readClientCertificate } from '../identity/client-certificate.ts';
import type { Arrival, Sink } from '../proxy/client-connection.ts';
import { ClientConnection, deadSink } from '../proxy/client-connection.ts';
import { Exchange } from '../proxy/exchange.ts';
import type { Services } from '../proxy/services.ts';
import { TlsListener } from './tls-listener.ts';
import { listenOnPath } from './unix-socket.ts';
import { Waiting } from './waiting.ts';

/**
 * One listener: opens it, and knows what a client that comes through it brings along.
 */
export class Entrance {
  readonly #setting: ListenSetting;
  readonly #server: Server;
  readonly #tls: TlsListener | null;
  #arrival: Arrival;
  #remove: (() => void) | null = null;

  /**
   * @param accept is given every socket
   * @throws TlsFilesError
   */
  constructor(setting: ListenSetting, services: Services, accept: (socket: Socket) => void) {
    this.#setting = setting;
    this.#arrival = arrivalAt(setting, setting.at);
    const { tls } = setting;
    this.#tls =
      tls === null ? null : new TlsListener(tls, services.limits.headTimeout, services.clock);
    // noDelay and keepAlive follow when the traffic asks for them: each is a system call.
    this.#server = createServer({ allowHalfOpen: true }, accept);
  }

  /** @throws the system error (EADDRINUSE, EACCES …) if it cannot listen. */
  async open(reusePort: boolean): Promise<HostPort | UnixPath> {
    const { at } = this.#setting;
    if (isUnix(at)) this.#remove = await listenOnPath(this.#server, at.path, at.mode);
    else await listenOnPort(this.#server, at, reusePort);
    // Running out of descriptors must not end the listener; libuv turns such clients away by itself.
    this.#server.on('error', () => {});
    if (isUnix(at)) return at;
    const address = this.#server.address();
    const bound = { host: at.host, port: typeof address === 'object' ? (address?.port ?? 0) : 0 };
    this.#arrival = arrivalAt(this.#setting, bound);
    return bound;
  }

  close(): void {
    this.#server.close();
    this.#remove?.();
  }

  /** What every client brings along that needs neither a PROXY header nor a handshake. */
  get arrival(): Arrival {
    return this.#arrival;
  }

  get tls(): TlsListener | null {
    return this.#tls;
  }

  /** Must this client say for whom it speaks? */
  speaksForOthers(socket: Socket): boolean {
    return isWithin(this.#setting.proxyProtocol, socket);
  }
}

/** What it knows of its client once it may ask for something: the bytes it has sent already. */
type Ready = (socket: Socket, arrival: Arrival, first: Buffer) => void;

/**
 * A client connection until it is known who is at its other end: its PROXY header, then its TLS
 * handshake. Whatever is wrong ends it without an answer, and with a line in the log.
 */
export class Arriving extends Waiting implements Sink {
  readonly #entrance: Entrance;
  readonly #socket: Socket;
  readonly #client: ClientConnection;
  readonly #ready: Ready;
  #arrival: Arrival;
  #held: Buffer = Buffer.alloc(0);
  #forget: (() => void) | null = null;

  /**
   * @param gone called once, when the socket is gone
   * @param ready takes over; not called if the client does not get that far
   */
  constructor(
    services: Services,
    entrance: Entrance,
    socket: Socket,
    waiting: Set<Waiting>,
    gone: () => void,
    ready: Ready,
  ) {
    super(services, waiting);
    this.#entrance = entrance;
    this.#socket = socket;
    this.#ready = ready;
    this.#arrival = entrance.arrival;
    this.#client = new ClientConnection(socket, this, gone, this.#arrival);
    if (!entrance.speaksForOthers(socket)) this.#shake();
  }

  onData(chunk: Buffer): void {
    this.#held = Buffer.concat([this.#held, chunk]);
    const header = parseProxyHeader(this.#held);
    if (header === null) return;
    if (typeof header === 'string') return this.#refuse('bad_request');
    const { from } = header;
    if (from !== null) {
      const source = unmapped(from.ip);
      this.#arrival = {
        ...this.#arrival,
        from: { source, client: addressText(source, from.port) },
      };
    }
    this.#held = this.#held.subarray(header.length);
    this.#shake();
  }

  onEnd(): void {
    this.giveUp();
  }

  onDrain(): void {}

  onClose(): void {
    this.giveUp();
  }

  /** A client that has sent nothing has asked for nothing: there is nothing to record. */
  giveUp(): void {
    if (this.over) return;
    if (this.#socket.bytesRead > 0) this.#refuse('bad_request');
    else this.leave();
    this.#socket.destroy();
  }

  #shake(): void {
    const { tls } = this.#entrance;
    if (tls === null) {
      this.leave();
      this.#ready(this.#client.detach(), this.#arrival, this.#held);
      return;
    }
    const socket = this.#client.detach();
    socket.once('close', () => this.onClose());
    socket.pause();
    if (this.#held.length > 0) socket.unshift(this.#held);
    this.#forget = tls.accept(socket, (secure) => this.#secured(tls, secure));
  }

  /** The handshake is over: is the certificate one that the authority of this listener stands for? */
  #secured(tls: TlsListener, secure: TLSSocket): void {
    if (this.over) {
      secure.destroy();
      return;
    }
    secure.on('error', () => {});
    const peer = secure.getPeerX509Certificate();
    if (peer === undefined) {
      if (tls.required) return this.#refuse('no_credentials');
      return this.#enter(secure, this.#arrival);
    }
    const { clock, certificateRefused } = this.services;
    if (!secure.authorized) {
      const why = String(secure.authorizationError);
      certificateRefused(this.#client.client, `does not verify: ${why}`);
      return this.#refuse(why === 'CERT_HAS_EXPIRED' ? 'credential_expired' : 'bad_credentials');
    }
    const certificate = readClientCertificate(peer.raw, (serial) =>
      tls.isListed(serial, clock.now()),
    );
    if (certificate === null) {
      certificateRefused(this.#client.client, String(inspectClientCertificate(peer.raw)));
      return this.#refuse('bad_credentials');
    }
    const token = `cert:${certificate.serial}`;
    if (certificate.isListed()) return this.#refuse('credential_revoked', token);
    this.#enter(secure, { ...this.#arrival, certificate });
  }

  #enter(secure: TLSSocket, arrival: Arrival): void {
    this.leave();
    this.#ready(secure, arrival, Buffer.alloc(0));
  }

  #refuse(reason: Reason, token?: string): void {
    if (this.over) return;
    this.leave();
    const client = new ClientConnection(this.#socket, deadSink, null, this.#arrival);
    const exchange = new Exchange(this.services, client);
    exchange.token = token;
    exchange.recordBlock(reason, undefined);
    this.#socket.destroy();
  }

  protected override leave(): void {
    super.leave();
    this.#client.sink = deadSink;
    this.#forget?.();
  }
}

function arrivalAt({ agent }: ListenSetting, at: HostPort | UnixPath): Arrival {
  const name = formatListener(at);
  return {
    from: isUnix(at) ? { source: null, client: name } : null,
    certificate: null,
    listener: agent === null ? null : { agent, token: `listener:${name}` },
  };
}

function isWithin(ranges: readonly Cidr[], socket: Socket): boolean {
  if (ranges.length === 0) return false;
  const address = parseIp(socket.remoteAddress ?? '');
  return address !== null && ranges.some((range) => cidrContains(range, unmapped(address)));
}

function listenOnPort(server: Server, at: HostPort, reusePort: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...at, backlog: 4096, exclusive: true, reusePort }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
