import {
  createHash,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';

/** PEM of a certificate and its key, as node:tls takes them. */
export interface KeyedCertificate {
  readonly cert: string;
  readonly key: string;
}

export interface LeafOptions {
  /** Milliseconds since the epoch; default yesterday. */
  readonly notBefore?: number;
  /** Milliseconds since the epoch; default tomorrow. */
  readonly notAfter?: number;
  /** URIs among the subject alternative names: `spiffe://…`. */
  readonly uris?: readonly string[];
}

const day = 86_400_000;

/** Distinguished encoding rules (X.690): tag, length, content of less than 16 MiB. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  const size = length < 0x100 ? 1 : length < 0x10000 ? 2 : 3;
  const head = Buffer.of(tag, 0x80 | size, 0, 0, 0).subarray(0, 2 + size);
  head.writeUIntBE(length, 2, size);
  return Buffer.concat([head, content]);
}

export const sequence = (...parts: readonly Uint8Array[]) => der(0x30, ...parts);
export const set = (...parts: readonly Uint8Array[]) => der(0x31, ...parts);
export const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
const text = (value: string) => der(0x0c, Buffer.from(value));
export const octets = (...parts: readonly Uint8Array[]) => der(0x04, ...parts);
export const bits = (content: Uint8Array) => der(0x03, Buffer.of(0), content);
export const truth = der(0x01, Buffer.of(0xff));

/** 1.2.840.10045.4.3.2, ecdsa-with-SHA256 */
export const signatureAlgorithm = sequence(oid('2a8648ce3d040302'));

/** GeneralizedTime, `YYYYMMDDHHMMSSZ` */
export function time(at: number): Buffer {
  const digits = new Date(at).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return der(0x18, Buffer.from(`${digits}Z`));
}

/** A distinguished name of one common name (2.5.4.3). */
export const nameOf = (common: string) => sequence(set(sequence(oid('550403'), text(common))));

export function extension(id: string, critical: boolean, content: Buffer): Buffer {
  return critical ? sequence(oid(id), truth, octets(content)) : sequence(oid(id), octets(content));
}

/** RFC 5280 §4.2.1.6: dNSName [2], uniformResourceIdentifier [6], iPAddress [7]. */
function alternativeNames(names: readonly string[], uris: readonly string[]): Buffer {
  const hosts = names.map((name) =>
    isIP(name) === 0 ? der(0x82, Buffer.from(name)) : der(0x87, addressBytes(name)),
  );
  return sequence(...hosts, ...uris.map((uri) => der(0x86, Buffer.from(uri))));
}

/** Network order; IPv6 with at most one `::` and no embedded IPv4. */
function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const groups = (half: string) => (half === '' ? [] : half.split(':'));
  const missing = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...new Array<string>(missing).fill('0'), ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

interface Body {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: readonly Buffer[];
}

/** RFC 5280 §4.1, version 3. */
function certificate(body: Body, issuerKey: KeyObject): string {
  const serial = Buffer.concat([Buffer.of(0x01), randomBytes(15)]);
  const signed = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, serial),
    signatureAlgorithm,
    nameOf(body.issuer),
    sequence(time(body.notBefore), time(body.notAfter)),
    nameOf(body.subject),
    body.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...body.extensions)),
  );
  const signature = bits(sign('sha256', signed, { key: issuerKey, dsaEncoding: 'der' }));
  const whole = sequence(signed, signatureAlgorithm, signature).toString('base64');
  // Not one empty line, where the last line is full too: OpenSSL does not read such a file.
  const lines = whole.replace(/.{64}/g, '$&\n').trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

export const keyPair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pemOf = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString();
export const keyIdentifier = (key: KeyObject) =>
  createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();

/**
 * A certificate authority that lives for one test: P-256 certificates made without openssl and
 * without the code under test.
 */
export class TestAuthority {
  /** PEM of its own certificate: what a client must trust. */
  readonly cert: string;
  readonly #name: string;
  readonly #keys = keyPair();

  constructor(name = 'Sallyport test authority') {
    this.#name = name;
    this.cert = certificate(
      {
        subject: name,
        issuer: name,
        publicKey: this.#keys.publicKey,
        notBefore: Date.now() - day,
        notAfter: Date.now() + day,
        extensions: [
          extension('551d13', true, sequence(truth)),
          extension('551d0f', true, der(0x03, Buffer.of(1, 0x06))),
          extension('551d0e', false, octets(keyIdentifier(this.#keys.publicKey))),
        ],
      },
      this.#keys.privateKey,
    );
  }

  /** A certificate for these host names and IP addresses, for servers and for clients. */
  issue(names: readonly string[], options: LeafOptions = {}): KeyedCertificate {
    const keys = keyPair();
    const issuerId = der(0x80, keyIdentifier(this.#keys.publicKey));
    const cert = certificate(
      {
        subject: names[0] ?? 'leaf',
        issuer: this.#name,
        publicKey: keys.publicKey,
        notBefore: options.notBefore ?? Date.now() - day,
        notAfter: options.notAfter ?? Date.now() + day,
        extensions: [
          extension('551d0f', true, der(0x03, Buffer.of(7, 0x80))),
          extension('551d25', false, sequence(oid('2b06010505070301'), oid('2b06010505070302'))),
          extension('551d23', false, sequence(issuerId)),
          extension('551d11', false, alternativeNames(names, options.uris ?? [])),
        ],
      },
      this.#keys.privateKey,
    );
    return { cert, key: pemOf(keys.privateKey) };
  }

  /** True if it signed this certificate. */
  signed(cert: string): boolean {
    return new X509Certificate(cert).verify(this.#keys.publicKey);
  }
}
