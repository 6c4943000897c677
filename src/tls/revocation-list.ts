import { type KeyObject, verify, X509Certificate } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import {
  DerError,
  type DerReader,
  enterWhole,
  readBoolean,
  readObjectId,
  tags,
} from '../core/der.ts';
import { readCertificate, readExtensions, readSerial, readTime } from '../core/x509.ts';
import { pemBlocks } from './pem.ts';
import { SerialSet } from './serial-set.ts';

/** A revocation list that cannot be believed. The message names the file and says why. */
export class RevocationListError extends Error {
  override readonly name = 'RevocationListError';
}

/** What the authorities of a listener have revoked. */
export interface RevocationList {
  /**
   * Must a certificate with this serial number be refused at `now`, ms since the Unix epoch? Once a
   * list has ended, every one: what has been revoked since cannot be known.
   *
   * @param serial as `serialText` writes it
   */
  has(serial: string, now: number): boolean;
  /** Ms since the Unix epoch at which the first of the lists ends (`nextUpdate`). */
  readonly expiresAt: number;
  /** Revoked certificates. */
  readonly size: number;
}

const MAX_BYTES = 10 * 1024 * 1024;
/** Ahead of its time by less than this, ms, a list comes from a machine whose clock is a little fast. */
const CLOCK_TOLERANCE = 300_000;
const DELTA_INDICATOR = '2.5.29.27';
const ISSUING_DISTRIBUTION_POINT = '2.5.29.28';

interface SignatureAlgorithm {
  /** Null where the key says it. */
  readonly digest: string | null;
  readonly key: 'ec' | 'rsa' | 'ed25519';
}

/** RFC 5758, RFC 4055, RFC 8410. Nothing with SHA-1. */
const signatureAlgorithms: ReadonlyMap<string, SignatureAlgorithm> = new Map([
  ['1.2.840.10045.4.3.2', { digest: 'sha256', key: 'ec' }],
  ['1.2.840.10045.4.3.3', { digest: 'sha384', key: 'ec' }],
  ['1.2.840.10045.4.3.4', { digest: 'sha512', key: 'ec' }],
  ['1.2.840.113549.1.1.11', { digest: 'sha256', key: 'rsa' }],
  ['1.2.840.113549.1.1.12', { digest: 'sha384', key: 'rsa' }],
  ['1.2.840.113549.1.1.13', { digest: 'sha512', key: 'rsa' }],
  ['1.3.101.112', { digest: null, key: 'ed25519' }],
]);

/**
 * Reads a revocation list (RFC 5280 §5) in PEM or DER and verifies it; PEM may hold several. Each must
 * be signed by one of the authorities, and each authority must have one: one without would revoke
 * nothing and nobody would notice. A list that has ended is no error here, so that a restart does not
 * stop a whole proxy; `has` then refuses every certificate, and `expiresAt` is there to warn.
 *
 * @param caPem certificates of the authorities that the listener trusts
 * @param now wall clock, milliseconds since the Unix epoch
 * @throws RevocationListError if anything about it is not as it must be
 */
export function loadRevocationList(path: string, caPem: string, now: number): RevocationList {
  try {
    return parseRevocationLists(readList(path), caPem, now);
  } catch (error) {
    if (error instanceof DerError || error instanceof RevocationListError) {
      throw new RevocationListError(`${path}: ${error.message}.`, { cause: error });
    }
    throw error;
  }
}

function parseRevocationLists(file: Buffer, caPem: string, now: number): RevocationList {
  const authorities = parseAuthorities(caPem);
  const ders = file[0] === tags.sequence ? [file] : pemBlocks(file.toString('latin1'), 'X509 CRL');
  if (ders.length === 0) throw new RevocationListError('there is no revocation list in it');
  const covered = new Set<X509Certificate>();
  const lists = ders.map((der) => readVerified(der, authorities, covered, now));
  const bare = authorities.find((authority) => !covered.has(authority));
  if (bare !== undefined) {
    const name = bare.subject.split('\n').join(', ');
    throw new RevocationListError(
      `it has no list of ${name}, which the client CA file names: append that list, also if it is empty`,
    );
  }
  const expiresAt = Math.min(...lists.map((list) => list.nextUpdate));
  const size = lists.reduce((sum, { serials }) => sum + serials.size, 0);
  // By number alone, whoever the issuer: with two authorities that have the same number the wrong
  // one is refused as well, which random numbers make impossible and which is the safe way to err.
  const has = (serial: string, at: number): boolean =>
    at >= expiresAt || lists.some(({ serials }) => serials.has(serial));
  return { has, expiresAt, size };
}

function parseAuthorities(pem: string): X509Certificate[] {
  try {
    return pemBlocks(pem, 'CERTIFICATE').map((der) => new X509Certificate(der));
  } catch (error) {
    throw new RevocationListError('the client CA file has a certificate that is none', {
      cause: error,
    });
  }
}

interface OneList {
  readonly nextUpdate: number;
  readonly serials: SerialSet;
}

function readVerified(
  der: Buffer,
  authorities: readonly X509Certificate[],
  covered: Set<X509Certificate>,
  now: number,
): OneList {
  const outer = enterWhole(der, tags.sequence);
  const body = outer.readElement(tags.sequence);
  const algorithm = outer.readElement(tags.sequence);
  const bits = outer.read(tags.bitString);
  outer.finish();
  if (bits[0] !== 0) throw new DerError('a signature of incomplete bytes');
  const list = readBody(body, algorithm);
  const signers = authorities.filter(
    (authority) =>
      readCertificate(authority.raw).subject.equals(list.issuer) &&
      isSigned(body, algorithm, bits.subarray(1), authority.publicKey),
  );
  if (signers.length === 0) {
    throw new RevocationListError('the list is not signed by an authority of the client CA file');
  }
  for (const signer of signers) covered.add(signer);
  if (list.thisUpdate > now + CLOCK_TOLERANCE) {
    const from = new Date(list.thisUpdate).toISOString();
    throw new RevocationListError(`the list holds only from ${from} on`);
  }
  return list;
}

function isSigned(body: Buffer, algorithm: Buffer, signature: Buffer, key: KeyObject): boolean {
  const id = readObjectId(enterWhole(algorithm, tags.sequence));
  const known = signatureAlgorithms.get(id);
  if (known === undefined) {
    throw new RevocationListError(
      `the list is signed with an algorithm that is not accepted (${id}): ECDSA, RSA with PKCS #1 padding, both with SHA-2, or Ed25519`,
    );
  }
  return key.asymmetricKeyType === known.key && verify(known.digest, body, key, signature);
}

/** The signed part. `algorithm` stands beside it too, and must be the same (RFC 5280 §5.1.1.2). */
function readBody(bytes: Buffer, algorithm: Buffer) {
  const body = enterWhole(bytes, tags.sequence);
  if (body.peek() === tags.integer && !body.read(tags.integer).equals(Buffer.of(1))) {
    throw new DerError('a list of another version than 2');
  }
  if (!body.readElement(tags.sequence).equals(algorithm)) throw new DerError('two algorithms');
  const issuer = body.readElement(tags.sequence);
  const thisUpdate = readTime(body);
  if (body.peek() !== tags.utcTime && body.peek() !== tags.generalizedTime) {
    throw new RevocationListError('the list does not say when the next one comes (nextUpdate)');
  }
  const nextUpdate = readTime(body);
  const offsets = body.peek() === tags.sequence ? readEntries(body.enter(tags.sequence)) : [];
  if (!body.atEnd) refuseUnknown(body.enter(0xa0));
  body.finish();
  return { issuer, thisUpdate, nextUpdate, serials: new SerialSet(bytes, offsets) };
}

/** Where in the reader's bytes the serial numbers stand. When and why they were revoked is not asked. */
function readEntries(list: DerReader): number[] {
  const offsets: number[] = [];
  while (!list.atEnd) {
    const entry = list.enter(tags.sequence);
    readSerial(entry);
    offsets.push(entry.contentStart);
    entry.skip(entry.peek() === tags.utcTime ? tags.utcTime : tags.generalizedTime);
    if (!entry.atEnd) refuseCritical(entry.enter(tags.sequence));
    entry.finish();
  }
  return offsets;
}

/** Extensions of an entry: a critical one may say that another authority's certificate is meant. */
function refuseCritical(extensions: DerReader): void {
  while (!extensions.atEnd) {
    const one = extensions.enter(tags.sequence);
    one.skip(tags.oid);
    if (one.peek() === tags.boolean && readBoolean(one)) {
      throw new RevocationListError('an entry has a critical extension, which is not supported');
    }
    one.skip(tags.octetString);
    one.finish();
  }
}

/** Extensions of the list: those that are critical change what it covers. */
function refuseUnknown(explicit: DerReader): void {
  for (const [id, { critical }] of readExtensions(explicit)) {
    if (id === DELTA_INDICATOR) {
      throw new RevocationListError('it is a delta list: give the complete one');
    }
    if (id === ISSUING_DISTRIBUTION_POINT) {
      throw new RevocationListError(
        'the list covers a part of the certificates only (issuing distribution point): give the complete one',
      );
    }
    if (critical) {
      throw new RevocationListError(`the list has a critical extension that is not known, ${id}`);
    }
  }
}

function readList(path: string): Buffer {
  let fd: number;
  try {
    // Not blocking, so that a named pipe in the file's place cannot hold the start.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new RevocationListError(`the revocation list cannot be read (${code})`, { cause: error });
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new RevocationListError('it is not a regular file');
    if (stat.size > MAX_BYTES) throw new RevocationListError('a list of more than 10 MiB');
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}
