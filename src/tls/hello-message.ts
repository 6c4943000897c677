import { classifyEch, type EchForm } from './ech.ts';

/** What a ClientHello shows of itself (RFC 8446 §4.1.2), as far as a decision needs it. */
export interface ClientHello {
  /**
   * The server name as sent, bytes as Latin-1, at most 255 of them: text of the client's, not a
   * checked host name. Null if there is no server_name extension. A list with several names is
   * joined by commas and one without a readable name is empty, so that neither equals any host.
   */
  readonly sni: string | null;
  /** Application protocols offered, in the client's order, as Latin-1; empty if none. */
  readonly alpn: readonly string[];
  /** Wire versions offered, GREASE left out: 0x0304 is TLS 1.3, 0x0303 TLS 1.2. */
  readonly versions: readonly number[];
  readonly ech: EchForm;
}

const SERVER_NAME = 0x0000;
const ALPN = 0x0010;
const SUPPORTED_VERSIONS = 0x002b;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;
/** encrypted_server_name of the ESNI drafts: hides the name by design. */
const DRAFT_ESNI = 0xffce;

const TLS_1_3 = 0x0304;
const HOST_NAME = 0;
const SNI_KEPT = 255;
/** legacy_version and random. */
const FIXED_LENGTH = 2 + 32;

interface Extensions {
  sni: string | null;
  alpn: string[];
  versions: number[] | null;
  ech: EchForm;
}

/**
 * Reads the body of a ClientHello handshake message. Null if any length does not add up, an
 * extension occurs twice (RFC 8446 §4.2), or the version is none that TLS 1.0 to 1.3 clients send.
 * Unknown values and GREASE (RFC 8701) are passed over. Does not throw; linear in `body`.
 */
export function parseHelloBody(body: Buffer): ClientHello | null {
  if (body.length < FIXED_LENGTH || body[0] !== 3) return null;
  const minor = body[1] as number;
  if (minor < 1 || minor > 3) return null;
  const at = extensionsStart(body);
  if (at === -1) return null;
  const legacy = 0x0300 | minor;
  if (at === body.length) return { sni: null, alpn: [], versions: [legacy], ech: 'none' };
  if (end16(body, at) !== body.length) return null;
  const found = readExtensions(body, at + 2);
  if (found === null) return null;
  const versions = found.versions ?? [legacy];
  return { sni: found.sni, alpn: found.alpn, versions, ech: echOf(found.ech, versions) };
}

/** Nobody who cannot speak TLS 1.3 sends GREASE ECH. */
function echOf(ech: EchForm, versions: readonly number[]): EchForm {
  return ech === 'grease' && !versions.includes(TLS_1_3) ? 'opaque' : ech;
}

/** Where the extensions' length stands, behind session id, cipher suites and compression; -1 if malformed. */
function extensionsStart(body: Buffer): number {
  const suites = end8(body, FIXED_LENGTH);
  if (suites === -1 || suites - FIXED_LENGTH - 1 > 32) return -1;
  const compression = end16(body, suites);
  const suitesLength = compression - suites - 2;
  if (compression === -1 || suitesLength < 2 || suitesLength % 2 !== 0) return -1;
  const end = end8(body, compression);
  return end - compression > 1 ? end : -1;
}

function readExtensions(body: Buffer, start: number): Extensions | null {
  const found: Extensions = { sni: null, alpn: [], versions: null, ech: 'none' };
  const seen = new Set<number>();
  let at = start;
  while (at < body.length) {
    const end = end16(body, at + 2);
    if (end === -1) return null;
    const type = body.readUInt16BE(at);
    if (seen.has(type)) return null;
    seen.add(type);
    if (!readExtension(type, body.subarray(at + 4, end), found)) return null;
    at = end;
  }
  return found;
}

/** False if the extension is one that we read and its lengths do not add up. */
function readExtension(type: number, body: Buffer, found: Extensions): boolean {
  switch (type) {
    case SERVER_NAME:
      found.sni = readServerName(body);
      return found.sni !== null;
    case ALPN: {
      const names = readProtocols(body);
      found.alpn = names ?? [];
      return names !== null;
    }
    case SUPPORTED_VERSIONS:
      found.versions = readVersions(body);
      return found.versions !== null;
    case ENCRYPTED_CLIENT_HELLO:
      // An ESNI that came before has decided already.
      if (found.ech === 'none') found.ech = classifyEch(body);
      return true;
    case DRAFT_ESNI:
      found.ech = 'opaque';
      return true;
    default:
      return true;
  }
}

/** RFC 6066 §3. Null if the lengths lie; the empty text for a list that names no host. */
function readServerName(body: Buffer): string | null {
  if (end16(body, 0) !== body.length) return null;
  const names: string[] = [];
  let at = 2;
  while (at < body.length) {
    const end = end16(body, at + 1);
    if (end === -1) return null;
    // Only host_name has a defined form; another type makes the list one that we cannot vouch for.
    if (body[at] !== HOST_NAME) return '';
    names.push(body.toString('latin1', at + 3, Math.min(end, at + 3 + SNI_KEPT)));
    at = end;
  }
  return names.length === 1 ? (names[0] as string) : names.slice(0, 2).join(',').slice(0, SNI_KEPT);
}

/** RFC 7301 §3.1: one or more names of one or more bytes. */
function readProtocols(body: Buffer): string[] | null {
  if (body.length < 4 || end16(body, 0) !== body.length) return null;
  const names: string[] = [];
  let at = 2;
  while (at < body.length) {
    const end = end8(body, at);
    if (end === -1 || end === at + 1) return null;
    names.push(body.toString('latin1', at + 1, end));
    at = end;
  }
  return names;
}

/** RFC 8446 §4.2.1, without the GREASE values 0x?a?a of RFC 8701. */
function readVersions(body: Buffer): number[] | null {
  if (body.length < 3 || body.length % 2 === 0 || end8(body, 0) !== body.length) return null;
  const versions: number[] = [];
  for (let at = 1; at < body.length; at += 2) {
    const version = body.readUInt16BE(at);
    if ((version & 0x0f0f) !== 0x0a0a) versions.push(version);
  }
  return versions;
}

/** Where a vector with a one-byte length at `at` ends; -1 if that is beyond the buffer. */
function end8(body: Buffer, at: number): number {
  if (at >= body.length) return -1;
  const end = at + 1 + (body[at] as number);
  return end <= body.length ? end : -1;
}

/** The same with a two-byte length. */
function end16(body: Buffer, at: number): number {
  if (at + 2 > body.length) return -1;
  const end = at + 2 + body.readUInt16BE(at);
  return end <= body.length ? end : -1;
}
