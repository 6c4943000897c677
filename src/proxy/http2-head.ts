import { parseHostPort } from '../core/authority-form.ts';
import { maxHeadBytes } from '../core/request-head.ts';
import type { RawHeaders } from './headers.ts';

/** The head of a request in HTTP/2, in the words of HTTP/1. */
export interface Http2Head {
  readonly method: string;
  /** `:path`; absolute-form for a scheme that is not https, which is refused like any URL inside TLS. */
  readonly target: string;
  /** `:authority` is Host; cookies are one line again. */
  readonly headers: RawHeaders;
}

/** HPACK counts this much for each line, RFC 7541 §4.1. */
const lineOverhead = 32;

/**
 * Reads the field list of a HEADERS frame (RFC 9113 §8.3.1). nghttp2 has refused unknown, repeated
 * and missing pseudo-header fields, upper-case names and control characters before.
 *
 * @param raw name, value, name, value …, as they came
 * @returns the head, or a sentence that says what is wrong
 */
export function readHttp2Head(raw: RawHeaders): Http2Head | string {
  const pseudo = new Map<string, string>();
  const headers: string[] = [];
  let cookies: string | null = null;
  let size = 0;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] as string;
    const value = raw[at + 1] as string;
    size += name.length + value.length + lineOverhead;
    if (name.startsWith(':')) pseudo.set(name, value);
    // RFC 9113 §8.2.3: one line again, for those who do not speak HTTP/2.
    else if (name === 'cookie') cookies = cookies === null ? value : `${cookies}; ${value}`;
    else if (name !== 'host' || !namesSame(value, pseudo.get(':authority')))
      headers.push(name, value);
  }
  if (size > 2 * maxHeadBytes) return 'the request head is longer than 32 KiB';
  if (cookies !== null) headers.push('cookie', cookies);
  const authority = pseudo.get(':authority');
  const path = pseudo.get(':path') ?? '';
  const scheme = pseudo.get(':scheme') ?? 'https';
  return {
    method: pseudo.get(':method') ?? '',
    target: scheme === 'https' ? path : `${scheme}://${authority ?? ''}${path}`,
    // A Host that says something else is then the second one.
    headers: authority === undefined ? headers : ['host', authority, ...headers],
  };
}

/** Host and `:authority` may differ in letter case and in the usual port, but not in what they name. */
function namesSame(host: string, authority: string | undefined): boolean {
  if (authority === undefined) return false;
  const [one, other] = [host, authority].map((text) => parseHostPort(text, 443));
  if (typeof one !== 'object' || typeof other !== 'object') return false;
  return one.host === other.host && one.port === other.port;
}
