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
  const fields = new ConnectFields();
  const problem = lineEnd < 0 ? null : readFields(text, lineEnd + 2, fields);
  if (problem !== null) return problem;
  const target = requestLine.slice(connect.length, targetEnd);
  return {
    head: fields.head(target, version === 'HTTP/1.1' ? '1.1' : '1.0'),
    length: end + 4,
  };
}

/** Reads header lines; refuses everything RFC 9112 §5 does not allow. */
function readFields(text: string, start: number, into: ConnectFields): string | null {
  let lines = 0;
  let at = start;
  while (at <= text.length) {
    lines++;
    if (lines > maxHeaderLines) return `more than ${maxHeaderLines} header lines`;
    let next = text.indexOf('\r\n', at);
    if (next < 0) next = text.length;
    const problem = readField(text, at, next, into);
    if (problem !== null) return problem;
    at = next + 2;
  }
  return null;
}

function readField(text: string, start: number, end: number, into: ConnectFields): string | null {
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
  if (mattersByLength(colon - start)) into.add(text.slice(start, colon), text.slice(from, to));
  return null;
}

const isBlank = (code: number): boolean => code === SP || code === 9;

/** RFC 9110 §5.6.2 tchar. */
const tokenCodes = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  tokenCodes[char.charCodeAt(0)] = 1;
}
export const isTokenCode = (code: number): boolean => code < 256 && tokenCodes[code] === 1;

/** Lengths of the names that `ConnectFields` looks at: no string is made for any other line. */
function mattersByLength(length: number): boolean {
  return length === 3 || length === 4 || length === 14 || length === 17 || length === 19;
}

/** What a CONNECT is judged by, picked out of its header lines one by one. */
class ConnectFields {
  #hosts = 0;
  #authorization: string | undefined;
  #authorizations = 0;
  #body = false;
  #via: string | undefined;

  add(name: string, value: string): void {
    switch (name.toLowerCase()) {
      case 'via':
        this.#via = this.#via === undefined ? value : `${this.#via}, ${value}`;
        break;
      case 'host':
        this.#hosts++;
        break;
      case 'content-length':
        if (value !== '0') this.#body = true;
        break;
      case 'transfer-encoding':
        this.#body = true;
        break;
      case 'proxy-authorization':
        this.#authorizations++;
        this.#authorization = value;
        break;
      default:
    }
  }

  head(target: string, version: '1.0' | '1.1'): ConnectHead {
    return {
      target,
      version,
      hosts: this.#hosts,
      authorization: this.#authorization,
      authorizations: this.#authorizations,
      body: this.#body,
      via: this.#via,
    };
  }
}

/** The same out of a header list that node:http has read: name, value, name, value … */
export function collectConnectFields(
  target: string,
  version: '1.0' | '1.1',
  fields: readonly string[],
): ConnectHead {
  const collected = new ConnectFields();
  for (let at = 0; at + 1 < fields.length; at += 2) {
    collected.add(fields[at] as string, fields[at + 1] as string);
  }
  return collected.head(target, version);
}

/** What is wrong with the head of a CONNECT beside its target, as a sentence; null if nothing. */
export function connectHeadProblem(head: ConnectHead): string | null {
  if (head.version === '1.1' && head.hosts === 0) {
    return 'the Host header is missing; HTTP/1.1 asks for exactly one';
  }
  if (head.hosts > 1) return 'there is more than one Host header';
  return head.body ? 'a CONNECT request must not have a body' : null;
}
