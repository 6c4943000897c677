import { randomBytes } from 'node:crypto';

/**
 * Builds TLS ClientHello bytes for tests: every field can be set, left out or broken, because most
 * of what a hello parser must survive is never sent by a well-behaved library.
 * RFC 8446 §4.1.2 (message), §5.1 (records), RFC 6066 §3 (SNI), RFC 8701 (GREASE), RFC 9849 (ECH).
 */
export interface HelloOptions {
  /** One name, raw bytes, several names, a whole extension body, or null for no extension. */
  readonly sni?: string | Buffer | readonly string[] | { readonly raw: Buffer } | null;
  readonly alpn?: readonly string[] | null;
  /** Wire versions in supported_versions; null leaves the extension out (a TLS 1.2 hello). */
  readonly versions?: readonly number[] | null;
  readonly legacyVersion?: number;
  /** GREASE in cipher suites, versions, groups and as first and last extension, as Chromium does. */
  readonly grease?: boolean;
  /** Body of the encrypted_client_hello extension, e.g. of `echOuter()`. */
  readonly ech?: Buffer;
  /** Adds the extension 0xffce of the ESNI drafts. */
  readonly esni?: boolean;
  /** Adds a hybrid X25519MLKEM768 key share: 1,216 bytes, the usual reason for a two-segment hello. */
  readonly hybridKeyShare?: boolean;
  /** Adds a session ticket of this many bytes. */
  readonly ticket?: number;
  /** Extensions put behind the others, as [type, body]. */
  readonly extra?: readonly (readonly [number, Buffer])[];
  readonly sessionId?: Buffer;
  readonly random?: Buffer;
  /** Leaves the whole extensions block out, as hellos before TLS 1.0 extensions did. */
  readonly noExtensions?: boolean;
}

export const extensionType = {
  serverName: 0x0000,
  supportedGroups: 0x000a,
  signatureAlgorithms: 0x000d,
  alpn: 0x0010,
  sessionTicket: 0x0023,
  supportedVersions: 0x002b,
  keyShare: 0x0033,
  encryptedClientHello: 0xfe0d,
  draftEsni: 0xffce,
} as const;

/** A ClientHello handshake message: type, 24-bit length, body; no record around it. */
export function helloMessage(options: HelloOptions = {}): Buffer {
  const grease = options.grease ? [u16(0x2a2a)] : [];
  const suites = Buffer.concat([...grease, u16(0x1301), u16(0x1302), u16(0x1303), u16(0xc02f)]);
  const parts = [
    u16(options.legacyVersion ?? 0x0303),
    options.random ?? randomBytes(32),
    vector8(options.sessionId ?? randomBytes(32)),
    vector16(suites),
    vector8(Buffer.from([0])),
  ];
  if (!options.noExtensions) parts.push(vector16(Buffer.concat(extensions(options))));
  return handshake(1, Buffer.concat(parts));
}

/** A handshake message of any type, with its real length. */
export function handshake(type: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type]), u24(body.length), body]);
}

/** One TLS record around `payload`; nothing is checked, so broken ones can be made too. */
export function record(payload: Buffer, type = 0x16, version = 0x0301): Buffer {
  return Buffer.concat([Buffer.from([type]), u16(version), u16(payload.length), payload]);
}

/** Cuts a handshake message into records of at most `size` bytes of payload each. */
export function records(message: Buffer, size = 16_384): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    parts.push(record(message.subarray(at, at + size)));
  }
  return Buffer.concat(parts);
}

/** A whole ClientHello on the wire, in records of at most `recordSize` bytes of payload. */
export function clientHello(options: HelloOptions = {}, recordSize = 16_384): Buffer {
  return records(helloMessage(options), recordSize);
}

/** What a Chromium page sends: GREASE everywhere, GREASE ECH, a hybrid key share. */
export function chromiumHello(host: string): Buffer {
  return clientHello({
    sni: host,
    alpn: ['h2', 'http/1.1'],
    grease: true,
    hybridKeyShare: true,
    ech: echOuter(),
  });
}

export interface EchOptions {
  readonly kdf?: number;
  readonly aead?: number;
  readonly configId?: number;
  readonly enc?: Buffer;
  readonly payload?: Buffer;
}

/** An outer encrypted_client_hello body; the defaults are the shape of BoringSSL's GREASE. */
export function echOuter(options: EchOptions = {}): Buffer {
  return Buffer.concat([
    Buffer.from([0]),
    u16(options.kdf ?? 0x0001),
    u16(options.aead ?? 0x0001),
    Buffer.from([options.configId ?? 0x5a]),
    vector16(options.enc ?? randomBytes(32)),
    vector16(options.payload ?? randomBytes(144)),
  ]);
}

/** An inner encrypted_client_hello body, which never appears in clear from an honest client. */
export function echInner(): Buffer {
  return Buffer.from([1]);
}

/** The body of a server_name extension with entries of any name type. */
export function serverNameList(...names: readonly (readonly [number, Buffer])[]): Buffer {
  return vector16(
    Buffer.concat(
      names.map(([type, name]) => Buffer.concat([Buffer.from([type]), vector16(name)])),
    ),
  );
}

/** SHA-256 of "HelloRetryRequest", the random that marks one (RFC 8446 §4.1.3). */
export const retryRandom = Buffer.from(
  'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c',
  'hex',
);

/** A ServerHello on the wire; with `retryRandom` it is a HelloRetryRequest. */
export function serverHello(random: Buffer = randomBytes(32), recordSize = 16_384): Buffer {
  const body = Buffer.concat([
    u16(0x0303),
    random,
    vector8(randomBytes(32)),
    u16(0x1301),
    Buffer.from([0]),
    vector16(extension(extensionType.supportedVersions, u16(0x0304))),
  ]);
  return records(handshake(2, body), recordSize);
}

export function extension(type: number, body: Buffer): Buffer {
  return Buffer.concat([u16(type), vector16(body)]);
}

export function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

export function vector8(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([body.length]), body]);
}

export function vector16(body: Buffer): Buffer {
  return Buffer.concat([u16(body.length), body]);
}

function u24(value: number): Buffer {
  return Buffer.from([value >> 16, (value >> 8) & 0xff, value & 0xff]);
}

function extensions(options: HelloOptions): Buffer[] {
  const list: Buffer[] = [];
  if (options.grease) list.push(extension(0x1a1a, Buffer.alloc(0)));
  if (options.sni !== null && options.sni !== undefined) {
    list.push(extension(extensionType.serverName, serverName(options.sni)));
  }
  list.push(extension(extensionType.supportedGroups, vector16(groups(options))));
  list.push(extension(extensionType.signatureAlgorithms, vector16(u16(0x0403))));
  if (options.alpn) {
    const names = options.alpn.map((name) => vector8(Buffer.from(name, 'latin1')));
    list.push(extension(extensionType.alpn, vector16(Buffer.concat(names))));
  }
  if (options.ticket !== undefined) {
    list.push(extension(extensionType.sessionTicket, randomBytes(options.ticket)));
  }
  if (options.versions !== null) {
    const grease = options.grease ? [u16(0x3a3a)] : [];
    const versions = (options.versions ?? [0x0304, 0x0303]).map(u16);
    const body = vector8(Buffer.concat([...grease, ...versions]));
    list.push(extension(extensionType.supportedVersions, body));
    list.push(extension(extensionType.keyShare, vector16(keyShares(options))));
  }
  if (options.ech) list.push(extension(extensionType.encryptedClientHello, options.ech));
  if (options.esni) list.push(extension(extensionType.draftEsni, randomBytes(292)));
  for (const [type, body] of options.extra ?? []) list.push(extension(type, body));
  if (options.grease) list.push(extension(0x4a4a, Buffer.from([0])));
  return list;
}

function serverName(sni: NonNullable<HelloOptions['sni']>): Buffer {
  if (typeof sni === 'string') return serverNameList([0, Buffer.from(sni, 'latin1')]);
  if (Buffer.isBuffer(sni)) return serverNameList([0, sni]);
  if ('raw' in sni) return sni.raw;
  return serverNameList(...sni.map((name) => [0, Buffer.from(name, 'latin1')] as const));
}

function groups(options: HelloOptions): Buffer {
  const list = [u16(0x001d), u16(0x0017)];
  if (options.hybridKeyShare) list.unshift(u16(0x11ec));
  if (options.grease) list.unshift(u16(0x5a5a));
  return Buffer.concat(list);
}

function keyShares(options: HelloOptions): Buffer {
  const list = [Buffer.concat([u16(0x001d), vector16(randomBytes(32))])];
  if (options.hybridKeyShare)
    list.unshift(Buffer.concat([u16(0x11ec), vector16(randomBytes(1216))]));
  if (options.grease) list.unshift(Buffer.concat([u16(0x5a5a), vector16(Buffer.from([0]))]));
  return Buffer.concat(list);
}
