import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { collectConnectFields, maxHeadBytes, maxHeaderLines } from '../core/request-head.ts';
import { type Client, ClientConnection, deadSink } from '../proxy/client-connection.ts';
import { HttpSession } from '../proxy/http-session.ts';
import type { HttpFront, Services } from '../proxy/services.ts';
import { Tunnel } from '../proxy/tunnel.ts';
import { serveHttp2 } from './http2-front.ts';

/** Milliseconds that a kept-alive client may be silent between two requests. */
const keepAliveTimeout = 65_000;

/**
 * node:http as a parser: it never listens, and so keeps no deadlines either. The front and tunnels
 * to `http` entries hand it sockets; every request it reads goes to the session of its socket.
 */
export class HttpListener implements HttpFront {
  readonly #services: () => Services;
  readonly #server: Server;
  readonly #sessions = new WeakMap<Duplex, HttpSession>();

  /** @param services a thunk, because the services hold this front. */
  constructor(services: () => Services) {
    this.#services = services;
    this.#server = createServer({
      maxHeaderSize: maxHeadBytes,
      keepAliveTimeout,
      // Checked by our own rules, so that the client gets our answer.
      requireHostHeader: false,
      insecureHTTPParser: false,
      // RFC 9110 §7.8: Upgrade from an HTTP/1.0 client is ignored.
      shouldUpgradeCallback: (request) => request.httpVersion === '1.1',
    });
    // One more than we accept, so that too many is seen and refused instead of cut short.
    this.#server.maxHeadersCount = maxHeaderLines + 1;
    // The session tells a client that will say no more from one that is gone.
    Object.assign(this.#server, { httpAllowHalfOpen: true });
    this.#server.on('request', (request, response) =>
      this.#session(request.socket)?.onRequest(request, response),
    );
    this.#server.on('checkContinue', (request, response) =>
      this.#session(request.socket)?.onRequest(request, response),
    );
    this.#server.on('checkExpectation', (request, response) =>
      this.#session(request.socket)?.onRequest(request, response),
    );
    this.#server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => {});
      const session = this.#session(socket);
      if (session === undefined) socket.destroy();
      else session.onUpgrade(request, head);
    });
    this.#server.on('connect', (request, socket, head) => this.#onConnect(request, socket, head));
    this.#server.on('clientError', (error, socket) => {
      const session = this.#session(socket);
      if (session === undefined) socket.destroy();
      else session.onBroken(error);
    });
  }

  serve(socket: Socket, first: Buffer, from: Client, tunnel: Tunnel | null): void {
    socket.setNoDelay(true);
    if (tunnel !== null && 'alpnProtocol' in socket && socket.alpnProtocol === 'h2') {
      return serveHttp2(this.#services(), socket, from, tunnel);
    }
    this.#sessions.set(
      socket,
      new HttpSession(this.#services(), socket, from, tunnel, first.length),
    );
    if (first.length > 0) socket.unshift(first);
    this.#server.emit('connection', socket);
    socket.resume();
  }

  #session(socket: Duplex): HttpSession | undefined {
    return this.#sessions.get(socket);
  }

  /** A CONNECT behind other requests on the same connection: the same rules, the same tunnel. */
  #onConnect(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const session = this.#session(socket);
    socket.on('error', () => {});
    if (session === undefined || session.tunnel !== null) {
      // Inside a tunnel there is no second one.
      session?.tunnel?.cutHttp('bad_request');
      socket.destroy();
      return;
    }
    session.whenAnswered(() => {
      session.handOver();
      const { from } = session;
      const { certificate, listener } = from;
      const arrival = { from, certificate, listener };
      const client = new ClientConnection(socket as Socket, deadSink, null, arrival);
      const tunnel = new Tunnel(this.#services(), client);
      socket.resume();
      tunnel.start(
        collectConnectFields(
          request.url ?? '',
          request.httpVersion === '1.0' ? '1.0' : '1.1',
          request.rawHeaders,
        ),
        head,
      );
    });
  }
}
