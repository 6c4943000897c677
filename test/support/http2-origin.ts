import { once } from 'node:events';
import http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import type { KeyedCertificate } from './certificates.ts';
import type { Listen } from './origins.ts';

/** One request as it reached the origin. */
export interface Http2Request {
  readonly method: string;
  readonly path: string;
  readonly version: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Which connection it came on, from 0. */
  readonly connection: number;
  body: string;
}

export type Http2Listener = (
  request: http2.Http2ServerRequest,
  response: http2.Http2ServerResponse,
) => void;

/** Answers with what was asked for, once the body is there. */
export const echo: Http2Listener = (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    response.setHeader('content-type', 'text/plain');
    response.end(`${request.method} ${request.url} ${Buffer.concat(chunks)}`);
  });
};

/** An origin that speaks HTTP/2 over TLS and keeps what it is asked. */
export class Http2Origin implements AsyncDisposable {
  readonly requests: Http2Request[] = [];
  /** Connections that were accepted. */
  connections = 0;
  listener: Http2Listener = echo;
  readonly #server: http2.Http2SecureServer;
  readonly #sockets = new Map<Duplex, number>();

  private constructor(certificate: KeyedCertificate, allowHTTP1: boolean) {
    const { cert, key } = certificate;
    this.#server = http2.createSecureServer({ cert, key, allowHTTP1 });
    this.#server.on('secureConnection', (socket: Duplex) => {
      this.#sockets.set(socket, this.connections++);
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('sessionError', () => undefined);
    this.#server.on('request', (request, response) => {
      const socket = request.stream?.session?.socket ?? request.socket;
      const kept: Http2Request = {
        method: request.method,
        path: request.url,
        version: request.httpVersion,
        headers: request.headers,
        connection: [...this.#sockets].find(([one]) => sameSocket(one, socket))?.[1] ?? -1,
        body: '',
      };
      this.requests.push(kept);
      request.on('data', (chunk: Buffer) => {
        kept.body += chunk.toString('latin1');
      });
      request.on('error', () => undefined);
      request.stream?.on('error', () => undefined);
      this.listener(request, response);
    });
  }

  /** @param allowHTTP1 speaks HTTP/1.1 as well */
  static async start(
    listen: Listen,
    certificate: KeyedCertificate,
    allowHTTP1 = false,
  ): Promise<Http2Origin> {
    const origin = new Http2Origin(certificate, allowHTTP1);
    origin.#server.listen(listen.port ?? 0, listen.address ?? '127.0.0.1');
    await once(origin.#server, 'listening');
    return origin;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets.keys()) socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What a session calls its socket is a proxy of it. */
function sameSocket(one: Duplex, other: Duplex): boolean {
  const ports = [one, other].map((socket) => (socket as { remotePort?: number }).remotePort);
  return ports[0] === ports[1];
}
