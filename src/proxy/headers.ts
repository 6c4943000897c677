import { isTokenCode, maxHeaderLines } from '../core/request-head.ts';
import { viaName } from './admit.ts';

/** A header list as it stood on the wire: name, value, name, value … */
export type RawHeaders = readonly string[];

/** What a plain HTTP request says about itself, beside its target. */
export interface RequestFacts {
  /** The one Host value; undefined if there is none (HTTP/1.0 only). */
  readonly host: string | undefined;
  readonly authorization: string | undefined;
  readonly authorizations: number;
  /** Declared length of the body in bytes; undefined if chunked or without a body. */
  readonly contentLength: number | undefined;
  /** A body follows. */
  readonly hasBody: boolean;
  readonly expect: string | undefined;
  /** The Upgrade value, if Connection asks for it (RFC 9110 §7.8). */
  readonly upgrade: string | undefined;
  readonly via: string | undefined;
  readonly maxForwards: string | undefined;
  /** The client takes trailers (TE, RFC 9110 §10.1.4). */
  readonly takesTrailers: boolean;
  /** A header names another method, which some servers then take for the method. */
  readonly overridesMethod: boolean;
  /** Lower-case names that Connection nominates. */
  readonly nominated: ReadonlySet<string>;
}

/** Removed in both directions (RFC 9110 §7.6.1); framing is written anew by whoever sends. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'te',
  'transfer-encoding',
  'upgrade',
  'proxy-authorization',
  'proxy-authenticate',
  'proxy-authentication-info',
  'http2-settings',
]);

/** Claims about who is asking, or for what: an origin must not take them from a sandbox. */
const claims: ReadonlySet<string> = new Set([
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-scheme',
  'x-forwarded-server',
  'x-forwarded-uri',
  'x-real-ip',
  'true-client-ip',
  'x-envoy-original-path',
  'x-host',
  'x-http-host-override',
  'x-original-host',
  'x-original-uri',
  'x-original-url',
  'x-rewrite-url',
]);

const methodOverrides: readonly string[] = [
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
];

/** Naming one of these in Connection would make us drop what the origin decides by (attack family E30). */
const neverNominated: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'content-type',
  'authorization',
  'proxy-authorization',
  'cookie',
  'cache-control',
  'via',
  'expect',
  'range',
  ...claims,
]);

/** Trailers that must not be taken for headers by anybody downstream (RFC 9110 §6.5.1). */
const neverTrailers: ReadonlySet<string> = new Set([
  ...hopByHop,
  'host',
  'content-length',
  'content-encoding',
  'content-type',
  'content-range',
  'authorization',
  'set-cookie',
  'cookie',
  'trailer',
  'cache-control',
  'expect',
  'max-forwards',
  'www-authenticate',
]);

/** The same meaning spelled with underscores, which some servers fold into hyphens. */
function isDisguised(name: string): boolean {
  if (!name.includes('_')) return false;
  const plain = name.replaceAll('_', '-');
  return (
    hopByHop.has(plain) ||
    claims.has(plain) ||
    neverNominated.has(plain) ||
    methodOverrides.includes(plain)
  );
}

/**
 * Reads the header list of one request and refuses what could be understood in two ways.
 * node:http has refused bare line ends, folding, Content-Length with Transfer-Encoding and the like
 * before; what it lets through is caught here.
 * @param hasBody as HTTP/2 frames say; undefined in HTTP/1, whose headers say it
 * @returns the facts, or a sentence that says what is wrong.
 */
export function readRequest(
  raw: RawHeaders,
  version: string,
  hasBody: boolean | undefined,
): RequestFacts | string {
  if (raw.length > maxHeaderLines * 2) return `more than ${maxHeaderLines} header lines`;
  const seen = new Map<string, string>();
  let authorizations = 0;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase();
    const value = raw[at + 1] as string;
    if (name === 'proxy-authorization') authorizations++;
    const before = seen.get(name);
    if (before !== undefined) {
      if (name === 'host') return 'there is more than one Host header';
      if (name === 'content-length') return 'there is more than one Content-Length header';
      if (name === 'transfer-encoding') return 'there is more than one Transfer-Encoding header';
    }
    seen.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const framing = framingProblem(seen, version, hasBody !== undefined);
  if (framing !== null) return framing;
  const nominated = tokens(seen.get('connection'));
  if (nominated === null) return 'the Connection header is malformed';
  for (const name of nominated) {
    if (neverNominated.has(name))
      return `Connection must not name ${name}, which is meant for the origin`;
  }
  const length = seen.get('content-length');
  return {
    host: seen.get('host'),
    authorization: authorizations === 1 ? seen.get('proxy-authorization') : undefined,
    authorizations,
    contentLength: length === undefined ? undefined : Number(length),
    hasBody: hasBody ?? (seen.has('transfer-encoding') || Number(length ?? 0) > 0),
    expect: seen.get('expect'),
    upgrade: version === '1.1' && nominated.has('upgrade') ? seen.get('upgrade') : undefined,
    via: seen.get('via'),
    maxForwards: seen.get('max-forwards'),
    takesTrailers: seen.get('te')?.toLowerCase() === 'trailers',
    overridesMethod: methodOverrides.some((name) => seen.has(name)),
    nominated,
  };
}

function framingProblem(
  seen: ReadonlyMap<string, string>,
  version: string,
  multiplexed: boolean,
): string | null {
  if (!multiplexed && version !== '1.1' && version !== '1.0') {
    return 'only HTTP/1.1 and HTTP/1.0 are spoken here';
  }
  if (version !== '1.0' && !seen.has('host')) return 'the Host header is missing';
  const coding = seen.get('transfer-encoding');
  const length = seen.get('content-length');
  if (coding !== undefined) {
    if (version === '1.0') return 'HTTP/1.0 has no Transfer-Encoding';
    if (coding !== 'chunked')
      return 'the only Transfer-Encoding that is understood here is chunked';
    if (length !== undefined) return 'a request has either Content-Length or Transfer-Encoding';
  }
  if (length !== undefined && !/^(?:0|[1-9][0-9]{0,15})$/.test(length)) {
    return 'Content-Length must be a plain number';
  }
  return multiplexed ? http2Problem(seen) : null;
}

const connectionSpecific = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
] as const;

/** RFC 9113 §8.2.2: such a request is malformed. Lengths have been held against the frames before. */
function http2Problem(seen: ReadonlyMap<string, string>): string | null {
  const name = connectionSpecific.find((one) => seen.has(one));
  if (name !== undefined) return `HTTP/2 has no header ${name}`;
  const te = seen.get('te');
  return te === undefined || te.toLowerCase() === 'trailers'
    ? null
    : 'in HTTP/2, TE may only say trailers';
}

/** A comma-separated list of tokens, lower case; null if it is not one. */
function tokens(value: string | undefined): ReadonlySet<string> | null {
  const found = new Set<string>();
  if (value === undefined) return found;
  for (const part of value.split(',')) {
    const token = part.trim().toLowerCase();
    if (token === '') continue;
    for (let at = 0; at < token.length; at++) {
      if (!isTokenCode(token.charCodeAt(at))) return null;
    }
    found.add(token);
  }
  return found;
}

export interface ForwardOptions {
  /** The Host header that the origin gets: always from the target, never from the client. */
  readonly host: string;
  readonly version: string;
  /** New value of Max-Forwards, if the request carries one. */
  readonly maxForwards: string | undefined;
  /** What else of the client's is left out, by lower-case name. */
  readonly isStripped: ((name: string) => boolean) | null;
}

/** The header list for the origin: rebuilt, with one Host, one framing and our Via. */
export function requestHeaders(
  raw: RawHeaders,
  facts: RequestFacts,
  options: ForwardOptions,
): string[] {
  const out = ['Host', options.host];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] as string;
    const value = raw[at + 1] as string;
    const lower = name.toLowerCase();
    if (lower === 'max-forwards' && options.maxForwards !== undefined) {
      out.push(name, options.maxForwards);
    } else if (!isDropped(lower, facts) && options.isStripped?.(lower) !== true) {
      out.push(name, value);
    }
  }
  // Behind those of earlier hops, which keep their order (RFC 9110 §7.6.3).
  out.push('Via', `${options.version} ${viaName}`);
  return out;
}

function isDropped(name: string, facts: RequestFacts): boolean {
  if (name === 'host' || name === 'expect' || name === 'trailer') return true;
  if (hopByHop.has(name) || claims.has(name) || facts.nominated.has(name)) return true;
  return isDisguised(name);
}

/** Most header lines of a response; browsers and node:http stop near this too. */
const maxResponseLines = 1_000;

/**
 * The header list for the client, or null if the response cannot be passed on safely.
 * @param raw what the origin sent.
 * @param status decides whether there may be a length: RFC 9110 §8.6 has none on 1xx and 204.
 * @param trailers the client gets the body in chunks, so trailers can follow it.
 */
export function responseHeaders(
  raw: RawHeaders,
  status: number,
  trailers: boolean,
): string[] | null {
  if (raw.length > maxResponseLines * 2) return null;
  const nominated = new Set<string>();
  let lengths = 0;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase();
    const value = raw[at + 1] as string;
    if (name === 'connection') for (const token of tokens(value) ?? []) nominated.add(token);
    if (name === 'content-length') lengths++;
    // Any other coding would reach the client without the header that names it.
    if (name === 'transfer-encoding' && value.toLowerCase() !== 'chunked') return null;
  }
  if (lengths > 1) return null;
  const bare = status < 200 || status === 204;
  const out: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const lower = (raw[at] as string).toLowerCase();
    if (hopByHop.has(lower) || (nominated.has(lower) && !neverNominated.has(lower))) continue;
    if (lower === 'content-length' && bare) continue;
    if (lower === 'trailer' && (!trailers || lengths > 0)) continue;
    out.push(raw[at] as string, raw[at + 1] as string);
  }
  out.push('Via', `1.1 ${viaName}`);
  return out;
}

/** Trailers that may be passed on, as pairs; those that would act like headers are dropped. */
export function trailerPairs(raw: RawHeaders): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] as string;
    if (!neverTrailers.has(name.toLowerCase())) pairs.push([name, raw[at + 1] as string]);
  }
  return pairs;
}
