import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { isSpiffeId, type NameAttribute, parseSubject } from '../core/certificate-name.ts';
import { canonicalHostname } from '../core/hostname.ts';
import { ipBytes, ipFromBytes, parseIp } from '../core/ip.ts';
import { SecretFileError } from '../core/secret-file.ts';
import { serialText } from '../core/x509.ts';
import { type Authority, crossAt, mayStandFor } from './authority.ts';
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
import { describeSubtrees } from './name-constraints.ts';
import { issuerOf } from './root-certificate.ts';

/** A new certificate that the authority has signed, and its key. */
export interface Leaf {
  /** PEM (PKCS #8) of a P-256 key made for it. */
  readonly key: string;
  /**
   * PEM of the certificate, then of the authority's, or of what makes it one while it takes over from
   * another: what a TLS client or server presents.
   */
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
 * @throws SecretFileError if the authority has ended, cannot be read, or may not sign for it
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
 * @throws SecretFileError if the authority has ended, cannot be read, or may not sign for one of them
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
      addresses.push(ipBytes(ip));
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
    const issuer = issuerOf(authority.certificate);
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
  checkConstraints(authority, spec);
  const issuer = issuerOf(authority.certificate);
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
    chain:
      certificatePem(certificate) +
      certificatePem((crossAt(authority, now) ?? authority.certificate).raw),
    serial: serialText(serial),
    notAfter,
  };
}

/**
 * Refuses what verifiers would: they hold each name against the constraints, and where there is no
 * name of a server, a common name that looks like one.
 */
function checkConstraints(authority: Authority, { subject, names }: LeafSpec): void {
  const common = subject.flatMap(({ name, value }) => (name === 'CN' ? [value] : []));
  const hosts =
    names === undefined
      ? common.filter((value) => value.includes('.') && canonicalHostname(value) === value)
      : [
          ...(names.hosts ?? []),
          ...(names.addresses ?? []).map((bytes) => ipFromBytes(bytes)?.text ?? ''),
        ];
  const outside = hosts.find((host) => !mayStandFor(authority, host));
  if (outside === undefined || authority.constraints === null) return;
  const permitted = describeSubtrees(authority.constraints.permitted).join(', ');
  throw new SecretFileError(
    `The authority may not sign for ${outside}: its name constraints permit ${permitted || 'other hosts'} alone. \`sallyport ca rotate --permit …\` makes one that may.`,
  );
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
