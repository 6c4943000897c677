import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describeRevocation } from '../identity/revocations.ts';
import { renderMetrics } from '../observe/render-metrics.ts';
import { readCutOrder } from './admin-body.ts';
import type { ControlPlane } from './control-plane.ts';
import type { RevocationPlane } from './revocation-plane.ts';

/**
 * The admin listener (contract §6): health, readiness, metrics, live connections, reload, and what the
 * commands `revoke`, `quarantine` and `connections` ask for. It has no
 * passwords, so it belongs on loopback; the guard keeps the proxy itself from dialling it, and
 * browsers are kept out because a web page must not be able to reach it.
 */
export class Admin {
  readonly #control: ControlPlane;
  readonly #revocations: RevocationPlane;
  readonly #server: Server;

  constructor(control: ControlPlane, revocations: RevocationPlane) {
    this.#control = control;
    this.#revocations = revocations;
    this.#server = createServer(
      { headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 5_000 },
      (request, response) => {
        this.#answer(request, response).catch(() => {
          if (!response.headersSent) send(response, 500, { error: 'internal error' });
        });
      },
    );
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** @throws the system error if it cannot listen. */
  async listen(host: string, port: number): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#server.on('error', () => {});
    return this.#server.address() as AddressInfo;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (isFromBrowser(request) || !isLocalName(request.headers.host)) {
      return send(response, 403, { error: 'the admin listener is not for browsers' });
    }
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const route = `${request.method === 'HEAD' ? 'GET' : request.method} ${path}`;
    switch (route) {
      case 'GET /health':
        return send(response, 200, { status: 'ok' });
      case 'GET /ready':
        return this.#ready(response, 200);
      case 'GET /metrics':
        return this.#metrics(response);
      case 'GET /connections':
        return send(response, 200, { connections: await this.#control.connections() });
      case 'POST /reload':
        request.resume();
        await Promise.all([this.#revocations.reload(), this.#control.reload('always')]);
        return this.#ready(response, 422);
      case 'GET /revocations':
        return this.#revoked(response, undefined);
      case 'POST /revocations':
        request.resume();
        return this.#revoked(response, await this.#revocations.reload());
      case 'POST /connections/cut':
        return this.#cut(request, response);
      default:
        if (methods.has(path)) return notAllowed(response, path);
        return send(response, 404, {
          error:
            'there are /health, /ready, /metrics, /connections, /revocations, POST /reload and POST /connections/cut',
        });
    }
  }

  /**
   * 200 while the proxy takes connections. A refused reload does not make it unready, because the
   * old policy is in force and sound; `reload` and `problems` tell.
   * @param refused the status if the last reload was refused.
   */
  async #ready(response: ServerResponse, refused: 200 | 422): Promise<void> {
    const { digest, since } = this.#control.state;
    const errors = [...this.#control.state.errors, ...this.#revocations.errors];
    const snapshots = await this.#control.snapshots();
    const writable = snapshots.every((families) =>
      families.some(
        (family) => family.name === 'sallyport_log_writable' && family.values[0]?.value === 1,
      ),
    );
    const ready = writable && !this.#control.draining;
    const status = errors.length === 0 ? 200 : refused;
    send(response, ready ? status : 503, {
      ready,
      policy: digest,
      since: new Date(since).toISOString(),
      draining: this.#control.draining,
      log: writable ? 'ok' : 'unavailable',
      reload: errors.length === 0 ? 'ok' : 'failed',
      problems: errors,
    });
  }

  /**
   * What is revoked and quarantined now.
   * @param cut how many live connections ended with it; undefined if the file was not read for this.
   */
  #revoked(response: ServerResponse, cut: number | undefined): void {
    const { entries, errors } = this.#revocations;
    send(response, cut !== undefined && errors.length > 0 ? 422 : 200, {
      cut,
      problems: errors,
      entries: entries.map(describeRevocation),
    });
  }

  async #cut(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const order = await readCutOrder(request);
    if (typeof order === 'string') return send(response, 400, { error: order });
    const cut = await this.#control.cut(order);
    send(response, 200, { cut, unknown: order.ids.filter((id) => !cut.includes(id)) });
  }

  async #metrics(response: ServerResponse): Promise<void> {
    const text = await renderMetrics(await this.#control.snapshots());
    response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' });
    response.end(text);
  }
}

/** Fetch Metadata comes with every request of a page; `none` is an address that a person typed. */
function isFromBrowser(request: IncomingMessage): boolean {
  const site = request.headers['sec-fetch-site'] ?? 'none';
  return request.headers.origin !== undefined || site !== 'none';
}

/** The methods of every path. */
const methods: ReadonlyMap<string, string> = new Map([
  ['/health', 'GET, HEAD'],
  ['/ready', 'GET, HEAD'],
  ['/metrics', 'GET, HEAD'],
  ['/connections', 'GET, HEAD'],
  ['/connections/cut', 'POST'],
  ['/revocations', 'GET, HEAD, POST'],
  ['/reload', 'POST'],
]);

function notAllowed(response: ServerResponse, path: string): void {
  const allow = methods.get(path) ?? '';
  response.setHeader('Allow', allow);
  send(response, 405, { error: `${path} takes ${allow}` });
}

/** An address, or localhost: a name from DNS could be anybody's page rebound to us. */
function isLocalName(host: string | undefined): boolean {
  if (host === undefined) return true;
  const name = host.replace(/:\d+$/, '');
  return name === 'localhost' || name.startsWith('[') || /^[0-9.]+$/.test(name);
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
  });
  response.end(text);
}
