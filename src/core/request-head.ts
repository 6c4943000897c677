/**
 * The strict parser for the head of a CONNECT request (RFC 9110 §9.3.6, RFC 9112 §2–5). Other
 * methods go to node:http; `collectConnectFields` then reads its header list with the same rules,
 * so that a CONNECT means one thing whichever parser saw it.
 */

/** Longest head that is read, in bytes: request line and all header lines. */
export const maxHeadBytes = 16_384;
/** Most header lines in one request. */
export const maxHeaderLines = 100;

/** What a CONNECT request carries, as far as a proxy may act on it. */
export interface ConnectHead {
  /** The request-target as sent; not yet parsed. */
  readonly target: string;
  readonly version: '1.0' | '1.1';
  readonly hosts: number;
  /** The one Proxy-Authorization value; undefined if there is none. */
  readonly authorization: string | undefined;
  readonly authorizations: number;
  /** Transfer-Encoding, or a Content-Length other than 0: a body, which CONNECT must not have. */
  readonly body: boolean;
  readonly via: string | undefined;
}

export interface ParsedHead {
  readonly head: ConnectHead;
  /** Bytes that the head took, the empty line included; what follows belongs to the tunnel. */
  readonly length: number;
}

const CR = 13;
const LF = 10;
const SP = 32;
const connect = 'CONNECT ';

/** How the bytes begin: surely a CONNECT, surely something else, or not yet known. */
export function startsWithConnect(bytes: Buffer, from: number): 'yes' | 'no' | 'more' {
  const end = Math.min(bytes.length, from + connect.length);
  for (let at = from; at < end; at++) {
    if (bytes[at] !== connect.charCodeAt(at - from)) return 'no';
  }
  return end - from === connect.length ? 'yes' : 'more';
}

/** Index behind at most two empty lines before the request line (RFC 9112 §2.2 asks for one). */
export function skipEmptyLines(bytes: Buffer): number {
  let at = 0;
  while (at < 4 && bytes[at] === CR && bytes[at + 1] === LF) at += 2;
  return at;
}

/**
 * Reads one CONNECT head that begins at `from`.
 * @returns the head, `null` while its end has not arrived, or a sentence that says what is wrong.
 */
export function parseConnectHead(bytes: Buffer, from: number): ParsedHead | null | string {
  const end = bytes.indexOf('\r\n\r\n', from, 'latin1');
  if (end < 0) {
    return bytes.length - from > maxHeadBytes ? 'the request head is longer than 16 KiB' : null;
  }
  if (end - from > maxHeadBytes) return 'the request head is longer than 16 KiB';
  const text = bytes.toString('latin1', from, end);
  const lineEnd = text.indexOf('\r\n');
  const requestLine = lineEnd < 0 ? text : text.slice(0, lineEnd);
  const targetEnd = requestLine.indexOf(' ', connect.length);
  if (targetEnd < 0) return 'the request line must be "CONNECT host:port HTTP/1.1"';
  const version = requestLine.slice(targetEnd + 1);
  if (version !== 'HTTP/1.1' && version !== 'HTTP/1.0') {
    return 'the request line must end in HTTP/1.1 or HTTP/1.0';
  }
  const fields: string[] = [];
  const problem = lineEnd < 0 ? null : splitFields(text, lineEnd + 2, fields);
  if (problem !== null) return problem;
  return {
    head: collectConnectFields(
      requestLine.slice(connect.length, targetEnd),
      version === 'HTTP/1.1' ? '1.1' : '1.0',
      fields,
    ),
    length: end + 4,
  };
}

/** Header lines → name, value, name, value …; refuses everything RFC 9112 §5 does not allow. */
function splitFields(text: string, start: number, into: string[]): string | null {
  let at = start;
  while (at <= text.length) {
    if (into.length >= maxHeaderLines * 2) return `more than ${maxHeaderLines} header lines`;
    let next = text.indexOf('\r\n', at);
    if (next < 0) next = text.length;
    const problem = splitField(text, at, next, into);
    if (problem !== null) return problem;
    at = next + 2;
  }
  return null;
}

function splitField(text: string, start: number, end: number, into: string[]): string | null {
  let colon = start;
  for (; colon < end; colon++) {
    const code = text.charCodeAt(colon);
    if (code === 58) break;
    if (!isTokenCode(code)) return 'a header name holds a character that is not allowed there';
  }
  if (colon === end) return 'a header line has no colon';
  if (colon === start) return 'a header line has no name';
  let from = colon + 1;
  let to = end;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  for (let at = from; at < to; at++) {
    const code = text.charCodeAt(at);
    if ((code < SP && code !== 9) || code === 127) {
      return 'a header value holds a control character';
    }
  }
  into.push(text.slice(start, colon), text.slice(from, to));
  return null;
}

const isBlank = (code: number): boolean => code === SP || code === 9;

/** RFC 9110 §5.6.2 tchar. */
const tokenCodes = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  tokenCodes[char.charCodeAt(0)] = 1;
}
export const isTokenCode = (code: number): boolean => code < 256 && tokenCodes[code] === 1;

/**
 * Picks out of a header list (name, value, name, value …) what a CONNECT is judged by.
 * Only names of the five lengths that matter are folded, so that most headers cost one comparison.
 */
export function collectConnectFields(
  target: string,
  version: '1.0' | '1.1',
  fields: readonly string[],
): ConnectHead {
  let hosts = 0;
  let authorization: string | undefined;
  let authorizations = 0;
  let body = false;
  let via: string | undefined;
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] as string;
    const value = fields[at + 1] as string;
    switch (name.length) {
      case 3:
        if (name.toLowerCase() === 'via') via = via === undefined ? value : `${via}, ${value}`;
        break;
      case 4:
        if (name.toLowerCase() === 'host') hosts++;
        break;
      case 14:
        if (name.toLowerCase() === 'content-length' && value !== '0') body = true;
        break;
      case 17:
        if (name.toLowerCase() === 'transfer-encoding') body = true;
        break;
      case 19:
        if (name.toLowerCase() === 'proxy-authorization') {
          authorizations++;
          authorization = value;
        }
        break;
      default:
    }
  }
  return { target, version, hosts, authorization, authorizations, body, via };
}
