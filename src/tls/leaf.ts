import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { isSpiffeId, type NameAttribute, parseSubject } from '../core/certificate-name.ts';
import { DerError, readWhole, tags } from '../core/der.ts';
import { canonicalHostname } from '../core/hostname.ts';
import { parseIp } from '../core/ip.ts';
import { SecretFileError } from '../core/secret-file.ts';
import { extensionIds, readCertificate, serialText } from '../core/x509.ts';
import type { Authority } from './authority.ts';
import {
  type AlternativeNames,
  alternativeNames,
  authorityKey,
  buildCertificate,
  type CertificateSpec,
  certificatePem,
  keyIdentifier,
  leafConstraint,
  leafKeyUsage,
  leafPurpose,
  nameDer,
  randomSerial,
  subjectKey,
  timedSerial,
} from './certificate.ts';

/** A new certificate that the authority has signed, and its key. */
export interface Leaf {
  /** PEM (PKCS #8) of a P-256 key made for it. */
  readonly key: string;
  /** PEM of the certificate, then of the authority's: what a TLS client or server presents. */
  readonly chain: string;
  /** As logs have it, without `cert:`. */
  readonly serial: string;
  /** Milliseconds since the Unix epoch: as asked, or the authority's own end if that is before. */
  readonly notAfter: number;
}

/**
 * So long before now, ms, a certificate holds already: clocks of whoever checks it may be behind. For
 * agents that is a proxy, of which little is expected, and less than the difference up to which the
 * serial number says when the certificate was made; for listeners it is any sandbox.
 */
const backdated = { client: 60_000, server: 3_600_000 } as const;

/** RFC 5280 appendix A.1, ub-common-name. */
const MAX_COMMON_NAME = 64;

/**
 * A certificate by which an agent is known. A SPIFFE id goes into the alternative names and the
 * subject stays empty (X509-SVID §2): it then has one name and not two.
 *
 * @param name a SPIFFE id or an exact subject, as an agent's `certificates` has it
 * @param ttl milliseconds
 * @throws SecretFileError if the authority has ended or cannot be read
 */
export function issueClientCertificate(
  authority: Authority,
  name: string,
  now: number,
  ttl: number,
): Leaf {
  const subject = isSpiffeId(name) ? [] : parseSubject(name);
  if (subject === null) throw new TypeError(`not the name of a certificate: ${name}`);
  const names = subject.length === 0 ? { uris: [name] } : undefined;
  return issue(authority, { subject, names, purpose: 'client' }, now, ttl);
}

/**
 * A certificate for a TLS listener.
 *
 * @param hosts names and IP addresses under which clients reach it, at least one, checked by `serverNames`
 * @param ttl milliseconds
 * @throws SecretFileError if the authority has ended or cannot be read
 */
export function issueServerCertificate(
  authority: Authority,
  hosts: ServerNames,
  now: number,
  ttl: number,
): Leaf {
  const subject = serverSubject(hosts);
  return issue(authority, { subject, names: hosts, purpose: 'server' }, now, ttl);
}

/** The first name that fits there, for people: clients look among the alternative names. */
function serverSubject({ hosts }: ServerNames): NameAttribute[] {
  const common = hosts.find((host) => host.length <= MAX_COMMON_NAME);
  return common === undefined ? [] : [{ name: 'CN', value: common }];
}

export interface ServerNames {
  readonly hosts: readonly string[];
  readonly addresses: readonly Buffer[];
}

/** Names and addresses told apart; the first text that is neither, if there is one. */
export function serverNames(texts: readonly string[]): ServerNames | string {
  const hosts: string[] = [];
  const addresses: Buffer[] = [];
  for (const text of texts) {
    const ip = parseIp(text);
    if (ip !== null) {
      const words = Buffer.alloc(ip.words.length * 4);
      for (const [index, word] of ip.words.entries()) words.writeUInt32BE(word >>> 0, index * 4);
      addresses.push(words);
    } else if (canonicalHostname(text) === text) {
      hosts.push(text);
    } else {
      return text;
    }
  }
  return { hosts, addresses };
}

/**
 * Mints certificates under which the proxy stands in for hosts, all for one key: what they have in
 * common is built once.
 */
export class ServerLeafMint {
  readonly #authority: Authority;
  readonly #issuer: Buffer;
  readonly #publicKey: KeyObject;
  readonly #common: CertificateSpec['extensions'];

  /** @throws SecretFileError if the authority's certificate cannot be read */
  constructor(authority: Authority, publicKey: KeyObject) {
    const issuer = issuerOf(authority);
    this.#authority = authority;
    this.#issuer = issuer.name;
    this.#publicKey = publicKey;
    const spec = { subject: [], names: undefined, purpose: 'server' } as const;
    this.#common = extensionsOf(spec, publicKey, issuer.key);
  }

  /**
   * @param host a canonical name or address: the only one that the certificate has
   * @param notBefore and notAfter: milliseconds since the Unix epoch
   * @returns DER
   */
  issue(host: string, notBefore: number, notAfter: number): Buffer {
    const names = serverNames([host]);
    if (typeof names === 'string') throw new TypeError(`not a canonical host: ${host}`);
    const subject = serverSubject(names);
    return buildCertificate(
      {
        serial: randomSerial(),
        issuer: this.#issuer,
        subject: nameDer(subject),
        publicKey: this.#publicKey,
        notBefore,
        notAfter,
        extensions: [...this.#common, alternativeNames(names, subject.length === 0)],
      },
      this.#authority.key,
    );
  }
}

interface LeafSpec {
  readonly subject: readonly NameAttribute[];
  readonly names: AlternativeNames | undefined;
  readonly purpose: 'client' | 'server';
}

function issue(authority: Authority, spec: LeafSpec, now: number, ttl: number): Leaf {
  const start = authority.certificate.validFromDate.getTime();
  const end = authority.certificate.validToDate.getTime();
  if (now >= end) {
    throw new SecretFileError(
      `The authority's certificate ended ${authority.certificate.validToDate.toISOString()}: move ca.key and ca.crt away and run \`sallyport ca init\`.`,
    );
  }
  const issuer = issuerOf(authority);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const serial = timedSerial(now);
  const second = Math.floor(now / 1000) * 1000;
  const notBefore = Math.max(second - backdated[spec.purpose], start);
  const notAfter = Math.min(second + ttl, end);
  const certificate = buildCertificate(
    {
      serial,
      issuer: issuer.name,
      subject: nameDer(spec.subject),
      publicKey,
      notBefore,
      notAfter,
      extensions: extensionsOf(spec, publicKey, issuer.key),
    },
    authority.key,
  );
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    chain: certificatePem(certificate) + certificatePem(authority.certificate.raw),
    serial: serialText(serial),
    notAfter,
  };
}

function extensionsOf({ subject, names, purpose }: LeafSpec, key: KeyObject, issuer: Buffer) {
  return [
    leafConstraint(),
    leafKeyUsage(),
    leafPurpose(purpose),
    subjectKey(keyIdentifier(key)),
    authorityKey(issuer),
    ...(names === undefined ? [] : [alternativeNames(names, subject.length === 0)]),
  ];
}

/**
 * Name and key identifier of the authority byte for byte as its own certificate has them, which may
 * come from elsewhere: verifiers compare them so.
 */
function issuerOf(authority: Authority): { readonly name: Buffer; readonly key: Buffer } {
  try {
    const { subject, extensions } = readCertificate(authority.certificate.raw);
    const identifier = extensions.get(extensionIds.subjectKeyIdentifier)?.value;
    if (identifier === undefined)
      return { name: subject, key: keyIdentifier(authority.certificate.publicKey) };
    return { name: subject, key: readWhole(identifier, tags.octetString) };
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw new SecretFileError(`The authority's certificate cannot be read: ${error.message}.`, {
      cause: error,
    });
  }
}
