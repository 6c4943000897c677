import { type Ip, parseIp } from './ip.ts';

/**
 * The header by which a load balancer says for whom it speaks: PROXY protocol version 2 (HAProxy,
 * `doc/proxy-protocol.txt` §2.2). Version 1 is text that a client could write itself; it is not read.
 */
export interface ProxyHeader {
  /** Bytes of the header; what follows is the client's. */
  readonly length: number;
  /** Null: the load balancer speaks for itself (LOCAL, its health checks). */
  readonly from: { readonly ip: Ip; readonly port: number } | null;
}

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const fixedLength = 16;
/** Addresses, and TLVs that are skipped: more is no header of anybody. */
const longestRest = 4096;

const LOCAL = 0x20;
const PROXY = 0x21;
const TCP4 = 0x11;
const TCP6 = 0x21;

/**
 * Reads a header from the first bytes of a connection. Only TCP over IPv4 or IPv6 names a client:
 * with any other family the header is refused, because nobody would know who that is.
 *
 * @returns null while more bytes are needed; text: what is wrong
 */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | string | null {
  const known = Math.min(bytes.length, signature.length);
  if (signature.compare(bytes, 0, known, 0, known) !== 0) {
    return 'there is no PROXY header of version 2';
  }
  if (bytes.length < fixedLength) return null;
  const command = bytes[12];
  if (command !== LOCAL && command !== PROXY) return 'the PROXY header has an unknown command';
  const rest = bytes.readUInt16BE(14);
  if (rest > longestRest) return 'the PROXY header is too long';
  const length = fixedLength + rest;
  if (bytes.length < length) return null;
  if (command === LOCAL) return { length, from: null };
  const from = readAddress(bytes, bytes[13], rest);
  return from === null ? 'the PROXY header names no TCP client' : { length, from };
}

/** Source address, destination address, source port, destination port. */
function readAddress(bytes: Buffer, family: number | undefined, rest: number): ProxyHeader['from'] {
  const size = family === TCP4 ? 4 : 16;
  if ((family !== TCP4 && family !== TCP6) || rest < 2 * size + 4) return null;
  const ip = parseIp(textOf(bytes.subarray(fixedLength, fixedLength + size)));
  return ip === null ? null : { ip, port: bytes.readUInt16BE(fixedLength + 2 * size) };
}

function textOf(address: Buffer): string {
  if (address.length === 4) return address.join('.');
  const groups: string[] = [];
  for (let at = 0; at < address.length; at += 2) groups.push(address.readUInt16BE(at).toString(16));
  return groups.join(':');
}
