import { parseHostPort, pathProblem, type Target } from '../core/authority-form.ts';
import { parseIpv6 } from '../core/ip.ts';
import type { Scheme } from '../policy/policy.ts';

/** A target as a person writes it: `host`, `host:port` or a URL. */
export interface WrittenTarget {
  readonly target: Target;
  /** `connect` for `host` and `host:port`: the proxy learns no scheme from a CONNECT. */
  readonly scheme: Scheme | 'connect';
  /** Path and query of a URL. */
  readonly path: string | undefined;
}

interface UrlScheme {
  readonly scheme: Scheme;
  /** 0: the port is required. */
  readonly port: number;
}

const urlSchemes: ReadonlyMap<string, UrlScheme> = new Map([
  ['https', { scheme: 'https', port: 443 }],
  ['http', { scheme: 'http', port: 80 }],
  ['tcp', { scheme: 'tcp', port: 0 }],
  // A WebSocket handshake is an HTTP request (contract §7).
  ['wss', { scheme: 'https', port: 443 }],
  ['ws', { scheme: 'http', port: 80 }],
]);

/** By the parser that the proxy uses on the wire. A string is the problem, without a full stop. */
export function parseTarget(text: string): WrittenTarget | string {
  const url = /^([A-Za-z][A-Za-z0-9+.-]{0,20}):\/\/([^/?#]*)(.*)$/su.exec(text);
  if (url === null) {
    const target = parseHostPort(parseIpv6(text) === null ? text : `[${text}]`, 443);
    return typeof target === 'string' ? target : { target, scheme: 'connect', path: undefined };
  }
  const [, name = '', authority = '', rest = ''] = url;
  const known = urlSchemes.get(name.toLowerCase());
  if (known === undefined) return 'its scheme is none of https, http and tcp';
  if (known.scheme === 'tcp' && rest !== '')
    return 'a tcp target has no path; write tcp://host:port';
  const target = parseHostPort(authority, known.port);
  if (typeof target === 'string') return target;
  if (known.scheme === 'tcp') return { target, scheme: 'tcp', path: undefined };
  const path = rest.startsWith('/') ? rest : `/${rest}`;
  return pathProblem(path) ?? { target, scheme: known.scheme, path };
}
