import type { Target } from '../core/authority-form.ts';
import { parseAbsoluteForm, parseHostPort } from '../core/authority-form.ts';
import type { Reason } from '../core/reasons.ts';
import type { Exchange } from './exchange.ts';
import type { RequestFacts } from './headers.ts';
import type { RefusalDetail } from './refuse.ts';
import { isOwnPath, selfHost } from './self.ts';

/** A request that is not served, and why. */
export interface Refused {
  readonly reason: Reason;
  readonly detail: RefusalDetail;
}

/**
 * Reads where a plain request wants to go (RFC 9112 §3.2) into host, port and path of its exchange:
 * from absolute-form, or inside a tunnel from origin-form and Host. Does not throw.
 * @param exchange its method is known already; what a refused request named is set too, for the log.
 * @param url the request target as it came.
 * @param tunnel the tunnel that the request came through; null at the listener.
 * @param scheme `https` inside an inspected tunnel.
 * @returns `origin` if it goes elsewhere, `self` if it asks for one of our own pages.
 */
export function readTarget(
  exchange: Exchange,
  url: string,
  facts: RequestFacts,
  tunnel: Exchange | null,
  scheme: 'http' | 'https',
): 'origin' | 'self' | Refused {
  exchange.scheme = scheme;
  const originForm = url.startsWith('/') || url === '*';
  if (originForm && tunnel === null) return readOwnPath(exchange, url);
  const refused =
    originForm && tunnel !== null
      ? readInsideTunnel(exchange, url, facts, tunnel)
      : readAbsolute(exchange, url, facts, tunnel);
  if (refused !== null) return refused;
  const ours = scheme === 'http' && exchange.host === selfHost && exchange.port === 80;
  return ours ? 'self' : 'origin';
}

/** A request that is not for anywhere else: one of our own pages, or a misconfigured client. */
function readOwnPath(exchange: Exchange, url: string): 'self' | Refused {
  const path = url.split('?', 1)[0] ?? '';
  if (!isOwnPath(path)) {
    return badRequest('this is a forward proxy: name the whole URL, or set it as HTTP_PROXY');
  }
  exchange.path = path;
  return 'self';
}

function readAbsolute(
  exchange: Exchange,
  url: string,
  facts: RequestFacts,
  tunnel: Exchange | null,
): Refused | null {
  if (exchange.scheme === 'https')
    return badTarget('inside TLS the path stands alone; name the host in the Host header');
  const parsed = parseAbsoluteForm(url, exchange.method ?? '');
  if (typeof parsed === 'string') return badTarget(parsed);
  if (facts.host !== undefined && typeof parseHostPort(facts.host, 80) === 'string') {
    return badRequest('the Host header is malformed');
  }
  setTarget(exchange, parsed.target, parsed.path);
  if (tunnel === null || leadsTo(tunnel, parsed.target)) return null;
  const message = `the request names ${parsed.target.host}, which is not where this tunnel leads`;
  return { reason: 'host_mismatch', detail: { message } };
}

/** Origin-form inside a tunnel: Host must name the tunnel's own target. */
function readInsideTunnel(
  exchange: Exchange,
  url: string,
  facts: RequestFacts,
  tunnel: Exchange,
): Refused | null {
  const usual = exchange.scheme === 'https' ? 443 : 80;
  const named = parseHostPort(facts.host ?? '', usual);
  if (facts.host !== undefined && typeof named === 'string') return badRequest(`Host: ${named}`);
  const path = parseAbsoluteForm(`http://x${url === '*' ? '' : url}`, exchange.method ?? '');
  if (typeof path === 'string') return badTarget(path);
  const { host, ip, port } = tunnel;
  setTarget(exchange, { host: host ?? '', ip, port: port ?? usual }, url);
  if (typeof named !== 'string' && leadsTo(tunnel, named)) return null;
  return { reason: 'host_mismatch', detail: {} };
}

function setTarget(exchange: Exchange, target: Target, path: string): void {
  exchange.host = target.host;
  exchange.ip = target.ip;
  exchange.port = target.port;
  exchange.path = path;
}

function leadsTo(tunnel: Exchange, target: Target): boolean {
  return tunnel.host === target.host && tunnel.port === target.port;
}

function badRequest(message: string): Refused {
  return { reason: 'bad_request', detail: { message } };
}

function badTarget(problem: string): Refused {
  return { reason: 'bad_target', detail: { message: `bad target: ${problem}` } };
}
