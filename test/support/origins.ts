import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import type { KeyedCertificate } from './certificates.ts';
import { patience, until } from './deadline.ts';

export interface Listen {
  readonly address?: string;
  /** Default: a free one. */
  readonly port?: number;
}

/** One connection that an origin accepted, and all that came over it. */
export class Received {
  readonly socket: net.Socket;
  /** `address:port` of the client, as the origin sees it. */
  readonly from: string;
  #chunks: Buffer[] = [];
  #end: 'open' | 'fin' | 'reset' = 'open';

  constructor(socket: net.Socket) {
    this.socket = socket;
    this.from = `${socket.remoteAddress}:${socket.remotePort}`;
    socket.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    socket.on('end', () => {
      this.#end = 'fin';
    });
    socket.on('error', () => {
      this.#end = 'reset';
    });
  }

  /** Every byte so far (of the plain text, at a TLS origin). */
  get bytes(): Buffer {
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }

  /** The bytes as Latin-1: one character each. */
  get text(): string {
    return this.bytes.toString('latin1');
  }

  /** How the client's direction ended. */
  get end(): 'open' | 'fin' | 'reset' {
    return this.#end;
  }

  async waitFor(pattern: string, deadline = patience): Promise<string> {
    await until(
      () => this.text.includes(pattern),
      () => `no ${JSON.stringify(pattern)} in ${JSON.stringify(this.text.slice(0, 2000))}`,
      deadline,
    );
    return this.text;
  }

  async waitForEnd(deadline = patience): Promise<'fin' | 'reset'> {
    await until(
      () => this.#end !== 'open',
      () => 'the connection is still open',
      deadline,
    );
    return this.#end as 'fin' | 'reset';
  }
}

/** What an origin does with a connection; it may read from `received` and write to its socket. */
export type Script = (received: Received) => void;

/** A server on a real socket that keeps what it gets. Closed by `await using` or `close`. */
export class Origin implements AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly connections: Received[];
  /** What TLS clients did wrong, at a TLS origin. */
  readonly tlsErrors: Error[] = [];
  readonly #server: net.Server;
  readonly #sockets: ReadonlySet<net.Socket>;

  private constructor(server: net.Server, sockets: Set<net.Socket>, connections: Received[]) {
    const bound = server.address() as AddressInfo;
    this.address = bound.address;
    this.port = bound.port;
    this.connections = connections;
    this.#server = server;
    this.#sockets = sockets;
  }

  /** Begins to listen; `event` is the one that gives the sockets on which the script works. */
  static async start(
    server: net.Server,
    event: 'connection' | 'secureConnection',
    script: Script,
    listen: Listen,
  ): Promise<Origin> {
    const sockets = new Set<net.Socket>();
    const connections: Received[] = [];
    server.on('connection', (socket: net.Socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    });
    server.on(event, (socket: net.Socket) => {
      const received = new Received(socket);
      connections.push(received);
      script(received);
    });
    server.listen(listen.port ?? 0, listen.address ?? '127.0.0.1');
    await once(server, 'listening');
    const origin = new Origin(server, sockets, connections);
    server.on('tlsClientError', (error: Error) => origin.tlsErrors.push(error));
    return origin;
  }

  /** All bytes of all connections. */
  get received(): Buffer {
    return Buffer.concat(this.connections.map((connection) => connection.bytes));
  }

  /** TCP connections that are open now, those in a TLS handshake included. */
  get open(): number {
    return this.#sockets.size;
  }

  /** The connection of that number, once it is there. */
  async connection(index = 0, deadline = patience): Promise<Received> {
    const count = () => `${this.connections.length} connections`;
    await until(() => this.connections.length > index, count, deadline);
    return this.connections[index] as Received;
  }

  /** RST on every connection that is open now. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.close();
  }
}

const keepOpen: Script = () => undefined;

/** Sends back what it gets, and FIN for FIN. */
export const echo: Script = ({ socket }) => {
  socket.pipe(socket);
};

export function startTcpOrigin(listen: Listen, script: Script = keepOpen): Promise<Origin> {
  return Origin.start(net.createServer({ allowHalfOpen: true }), 'connection', script, listen);
}

export function startTlsOrigin(
  listen: Listen,
  certificate: KeyedCertificate,
  script: Script = keepOpen,
  options: tls.TlsOptions = {},
): Promise<Origin> {
  const server = tls.createServer({ allowHalfOpen: true, ...certificate, ...options });
  return Origin.start(server, 'secureConnection', script, listen);
}

/**
 * HTTP/1.1 without an HTTP library: keeps every byte, answers each head (up to its empty line)
 * with what `respond` gives, and never closes by itself. `respond` gets the head and its number.
 */
export function startRawHttpOrigin(
  listen: Listen,
  respond: (head: string, index: number) => string | Uint8Array,
): Promise<Origin> {
  return startTcpOrigin(listen, (received) => {
    let answered = 0;
    received.socket.on('data', () => {
      const heads = received.text.split('\r\n\r\n').slice(0, -1);
      for (const head of heads.slice(answered)) received.socket.write(respond(head, answered++));
    });
  });
}

/** node:http on a real socket; every request as it was parsed. */
export class HttpOrigin implements AsyncDisposable {
  readonly requests: http.IncomingMessage[] = [];
  readonly port: number;
  readonly #server: http.Server;

  private constructor(server: http.Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('request', (request: http.IncomingMessage) => this.requests.push(request));
  }

  static async start(listen: Listen, handler: http.RequestListener): Promise<HttpOrigin> {
    const server = http.createServer(handler);
    server.listen(listen.port ?? 0, listen.address ?? '127.0.0.1');
    await once(server, 'listening');
    return new HttpOrigin(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

/** Listens where nothing may ever arrive: `connections.length` must stay 0. */
export function canary(address: string, port: number): Promise<Origin> {
  return startTcpOrigin({ address, port }, ({ socket }) => {
    socket.end('CANARY\n');
  });
}
