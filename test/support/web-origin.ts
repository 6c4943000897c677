import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { KeyedCertificate } from './certificates.ts';

/** One request as it reached the origin. */
export interface WebRequest {
  readonly secure: boolean;
  readonly host: string;
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
}

/** What each site answers, by its host name. */
export type Sites = Readonly<Record<string, http.RequestListener>>;

/** Answers everything with this text. */
export function page(text: string, type = 'text/plain'): http.RequestListener {
  return (_request, response) => {
    response.setHeader('Content-Type', type);
    response.end(text);
  };
}

/** Answers a path with its file, and 404 where there is none. Content types are those that package managers look at. */
export function files(
  content: Readonly<Record<string, string | Uint8Array>>,
): http.RequestListener {
  return (request, response) => {
    const body = content[request.url ?? ''];
    if (body === undefined) response.statusCode = 404;
    else response.setHeader('Content-Type', contentType(request.url ?? ''));
    response.end(body ?? 'not found');
  };
}

function contentType(url: string): string {
  if (url.endsWith('/')) return 'text/html';
  return url.includes('.') ? 'application/octet-stream' : 'application/json';
}

/** Several sites on one address, each over http on port 80 and over https on port 443. */
export class WebOrigin implements AsyncDisposable {
  readonly requests: WebRequest[] = [];
  /** SHA-256 of its public key in base64, as browsers pin it. */
  readonly publicKeyDigest: string;
  readonly #servers: readonly http.Server[];

  private constructor(sites: Sites, certificate: KeyedCertificate) {
    const listener = (secure: boolean) => (request: http.IncomingMessage, response: Answer) => {
      this.#answer(sites, secure, request, response);
    };
    const { publicKey } = new X509Certificate(certificate.cert);
    const key = publicKey.export({ type: 'spki', format: 'der' });
    this.publicKeyDigest = createHash('sha256').update(key).digest('base64');
    this.#servers = [
      http.createServer(listener(false)),
      https.createServer({ ...certificate }, listener(true)),
    ];
  }

  /** @param certificate for all of the sites */
  static async start(
    address: string,
    sites: Sites,
    certificate: KeyedCertificate,
  ): Promise<WebOrigin> {
    const origin = new WebOrigin(sites, certificate);
    const ports = [80, 443];
    for (const [index, server] of origin.#servers.entries()) {
      server.listen(ports[index], address);
      await once(server, 'listening');
    }
    return origin;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    }
  }

  #answer(sites: Sites, secure: boolean, request: http.IncomingMessage, response: Answer): void {
    const host = request.headers.host ?? '';
    const { method = '', url = '', headers } = request;
    this.requests.push({ secure, host, method, url, headers });
    const site = sites[host];
    if (site !== undefined) return site(request, response);
    response.statusCode = 421;
    response.end();
  }
}

type Answer = http.ServerResponse<http.IncomingMessage> & { req: http.IncomingMessage };
