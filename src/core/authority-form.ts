import { canonicalHostname } from './hostname.ts';
import { type Ip, parseIpv4, parseIpv6 } from './ip.ts';
import { hostProblem, targetProblems } from './target-problem.ts';

/** What a client asked for, parsed once. Everything later in a connection uses this and no text. */
export interface Target {
  /** Canonical name (`canonicalHostname`), or canonical IP text without brackets. */
  readonly host: string;
  /** The address if the target is an IP literal. */
  readonly ip: Ip | null;
  /** 1–65535. */
  readonly port: number;
}

/** A request that names its origin by a whole URL (RFC 9112 §3.2.2). */
export interface AbsoluteTarget {
  readonly scheme: 'http';
  readonly target: Target;
  /** What to ask the origin for: `/path?query`, or `*` (RFC 9112 §3.2.4). */
  readonly path: string;
}

/** Room for a 253-byte name with its dot, a port, and then some: a longer one is not looked at. */
const MAX_AUTHORITY_BYTES = 300;
const MAX_TARGET_BYTES = 16 * 1024;
const HTTP_PORT = 80;

const COLON = 0x3a;
const OPENING_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const HASH = 0x23;
const QUESTION_MARK = 0x3f;
const SLASH = 0x2f;
const ZERO = 0x30;

/**
 * The target of a CONNECT, authority-form with its port (RFC 9112 §3.2.3). A string is the problem:
 * a fragment in words, never with text of the client's. Does not throw.
 */
export function parseAuthority(text: string): Target | string {
  return parse(text, 0);
}

/**
 * A Host header or the authority of a URL, `host` or `host:port` (RFC 9110 §7.2). An empty port is
 * refused, not taken for the default. A string is the problem, as in `parseAuthority`.
 */
export function parseHostPort(text: string, defaultPort: number): Target | string {
  return parse(text, defaultPort);
}

/**
 * The target of a plain request to a proxy: `http://` in any case of letters, an authority without
 * userinfo, path and query as they came. Other schemes, `https` among them, are problems; so are
 * fragments. `http://host?x` is `/?x`; OPTIONS without path and query is `*`.
 */
export function parseAbsoluteForm(text: string, method: string): AbsoluteTarget | string {
  if (text.length > MAX_TARGET_BYTES) return targetProblems.tooLong;
  const scheme = 'http://';
  if (text.slice(0, scheme.length).toLowerCase() !== scheme) return schemeProblem(text);
  const end = authorityEnd(text, scheme.length);
  const target = parse(text.slice(scheme.length, end), HTTP_PORT);
  if (typeof target === 'string') return target;
  const rest = text.slice(end);
  if (rest === '') return { scheme: 'http', target, path: method === 'OPTIONS' ? '*' : '/' };
  const path = rest.charCodeAt(0) === QUESTION_MARK ? `/${rest}` : rest;
  return pathProblem(path) ?? { scheme: 'http', target, path };
}

/**
 * What is wrong with a path and query as bytes, or null. Visible ASCII passes untouched, but for
 * `#`, which no client sends (RFC 9110 §7.1), and a backslash before the query, which URL parsers
 * take for a slash and others do not. Whether the path is allowed is the policy's business.
 */
export function pathProblem(path: string): string | null {
  if (path.length > MAX_TARGET_BYTES) return targetProblems.tooLong;
  let query = false;
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at);
    if (code <= 0x20 || code >= 0x7f) return targetProblems.pathBytes;
    if (code === HASH) return targetProblems.fragment;
    if (code === BACKSLASH && !query) return targetProblems.backslash;
    if (code === QUESTION_MARK) query = true;
  }
  return path.charCodeAt(0) === SLASH ? null : targetProblems.pathStart;
}

/** `host:port`, with brackets around IPv6. What `parseAuthority` reads back to the same target. */
export function formatAuthority(target: Target): string {
  return target.ip?.family === 6
    ? `[${target.host}]:${target.port}`
    : `${target.host}:${target.port}`;
}

/** `defaultPort` 0: the port is required. */
function parse(text: string, defaultPort: number): Target | string {
  if (text.length > MAX_AUTHORITY_BYTES) return targetProblems.tooLong;
  const bracketed = text.charCodeAt(0) === OPENING_BRACKET;
  const hostEnd = bracketed ? text.indexOf(']') + 1 : endOfName(text);
  if (bracketed && hostEnd === 0) return targetProblems.brackets;
  const host = bracketed ? text.slice(1, hostEnd - 1) : text.slice(0, hostEnd);
  const ip = bracketed ? parseIpv6(host) : parseIpv4(host);
  const name = ip === null && !bracketed ? canonicalHostname(host) : null;
  if (ip === null && name === null) return refusedHost(text, host, bracketed);
  const port = readPort(text, hostEnd, defaultPort);
  if (typeof port === 'string') return port;
  return { host: ip?.text ?? (name as string), ip, port };
}

function endOfName(text: string): number {
  const colon = text.indexOf(':');
  return colon === -1 ? text.length : colon;
}

function refusedHost(text: string, host: string, bracketed: boolean): string {
  if (text.includes('@')) return targetProblems.userinfo;
  if (bracketed) return host.includes('%') ? targetProblems.percent : targetProblems.brackets;
  return text.indexOf(':') === text.lastIndexOf(':')
    ? hostProblem(host)
    : targetProblems.noBrackets;
}

/** The port that stands behind the host at `at`, or the problem. */
function readPort(text: string, at: number, defaultPort: number): number | string {
  const length = text.length;
  if (at === length) return defaultPort === 0 ? targetProblems.noPort : defaultPort;
  if (text.charCodeAt(at) !== COLON) return targetProblems.brackets;
  if (at + 1 === length) return targetProblems.noPort;
  const port = parsePort(text, at + 1);
  return port === -1 ? portProblem(text, at + 1) : port;
}

/** 1–65535 in one to five digits without a leading zero, up to the end of `text`; else -1. */
function parsePort(text: string, start: number): number {
  if (text.length - start > 5 || text.charCodeAt(start) === ZERO) return -1;
  let port = 0;
  for (let at = start; at < text.length; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    port = port * 10 + digit;
  }
  return port <= 65_535 ? port : -1;
}

function portProblem(text: string, start: number): string {
  if (text.includes('@', start)) return targetProblems.userinfo;
  if (text.includes(':', start)) return targetProblems.noBrackets;
  if (/[/?#]/.test(text)) return targetProblems.path;
  return targetProblems.badPort;
}

/** Where the authority of a URL that begins at `start` ends: at `/`, `?`, `#` or the end. */
function authorityEnd(text: string, start: number): number {
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === SLASH || code === QUESTION_MARK || code === HASH) return at;
  }
  return text.length;
}

function schemeProblem(text: string): string {
  if (text.startsWith('/')) return targetProblems.originForm;
  const start = text.slice(0, 8).toLowerCase();
  if (start.startsWith('https:')) return targetProblems.https;
  if (start.startsWith('ws:') || start.startsWith('wss:')) return targetProblems.websocket;
  return text.includes('://') ? targetProblems.scheme : targetProblems.notUrl;
}
