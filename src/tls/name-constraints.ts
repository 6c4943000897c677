import { DerError, type DerReader, enterWhole, tags } from '../core/der.ts';
import { canonicalHostname } from '../core/hostname.ts';
import {
  type Cidr,
  cidrContains,
  type Ip,
  ipBytes,
  ipFromBytes,
  parseCidr,
  parseIp,
} from '../core/ip.ts';
import { nameConstraintsDer } from './certificate.ts';

/** Which hosts an authority may sign for (RFC 5280 §4.2.1.10), as far as servers are concerned. */
export interface NameConstraints {
  readonly permitted: NameSubtrees;
  readonly excluded: NameSubtrees;
}

/** No name of a kind among `permitted` is no limit for that kind. */
export interface NameSubtrees {
  /** `example.com`: it and all below. `.example.com`: all below. Empty: every name. */
  readonly hosts: readonly string[];
  readonly ranges: readonly Cidr[];
  /** Whether there are limits on subjects. This project makes none. */
  readonly subjects: boolean;
}

/** Tags of GeneralName (RFC 5280 §4.2.1.6). */
const general = { dns: 0x82, directory: 0xa4, ip: 0x87 } as const;

const all = { dns: '', v4: parseCidr('0.0.0.0/0') as Cidr, v6: parseCidr('::/0') as Cidr } as const;

/**
 * The extension, as DER, by which an authority may sign for these and for nothing else. What is not
 * named of a kind (names, IPv4, IPv6) is excluded as a whole: it would otherwise have no limit.
 *
 * @param texts domains (`example.com`: it and all below) and ranges of addresses, at least one
 * @returns the first text that is neither, if there is one
 */
export function constraintsFor(texts: readonly string[]): Buffer | string {
  const hosts: string[] = [];
  const ranges: Cidr[] = [];
  for (const text of texts) {
    const range = parseCidr(text);
    if (range !== null) ranges.push(range);
    else if (canonicalHostname(text) === text) hosts.push(text);
    else return text;
  }
  const has = (family: Ip['family']) => ranges.some(({ ip }) => ip.family === family);
  const excluded = [...(has(4) ? [] : [all.v4]), ...(has(6) ? [] : [all.v6])];
  return nameConstraintsDer(
    { hosts, ranges: ranges.map(rangeBytes) },
    { hosts: hosts.length > 0 ? [] : [all.dns], ranges: excluded.map(rangeBytes) },
  );
}

/**
 * @param value of the extension
 * @throws DerError if it is not exactly DER, or says what RFC 5280 does not allow
 */
export function readNameConstraints(value: Buffer): NameConstraints {
  const reader = enterWhole(value, tags.sequence);
  const permitted = readSubtrees(reader, 0xa0);
  const excluded = readSubtrees(reader, 0xa1);
  reader.finish();
  return { permitted, excluded };
}

/** Would clients take a certificate for this host? A canonical name, or the canonical text of an address. */
export function isPermitted({ permitted, excluded }: NameConstraints, host: string): boolean {
  const ip = parseIp(host);
  if (ip !== null) {
    const contains = (range: Cidr): boolean => cidrContains(range, ip);
    if (excluded.ranges.some(contains)) return false;
    return permitted.ranges.length === 0 || permitted.ranges.some(contains);
  }
  // The subject of a server's certificate is its name, which no such limit is made for.
  if (permitted.subjects || excluded.subjects) return false;
  const covers = (base: string): boolean => isWithin(host, base);
  if (excluded.hosts.some(covers)) return false;
  return permitted.hosts.length === 0 || permitted.hosts.some(covers);
}

/** For people: `example.com`, `10.0.0.0/8`, `every name`. */
export function describeSubtrees({ hosts, ranges, subjects }: NameSubtrees): string[] {
  return [
    ...hosts.map((host) => (host === all.dns ? 'every name' : host)),
    ...ranges.map(({ text }) => text),
    ...(subjects ? ['certain subjects'] : []),
  ];
}

function isWithin(host: string, base: string): boolean {
  if (base === all.dns) return true;
  if (base.startsWith('.')) return host.endsWith(base);
  return host === base || host.endsWith(`.${base}`);
}

function readSubtrees(outer: DerReader, tag: number): NameSubtrees {
  const hosts: string[] = [];
  const ranges: Cidr[] = [];
  let subjects = false;
  if (outer.peek() !== tag) return { hosts, ranges, subjects };
  const list = outer.enter(tag);
  while (!list.atEnd) {
    const subtree = list.enter(tags.sequence);
    const kind = subtree.peek();
    const name = subtree.read(kind);
    // Minimum and maximum, which would stand here, no profile allows.
    subtree.finish();
    if (kind === general.dns) hosts.push(name.toString('latin1').toLowerCase());
    else if (kind === general.ip) ranges.push(readRange(name));
    else if (kind === general.directory) subjects = true;
  }
  return { hosts, ranges, subjects };
}

/** An address, and a one for each bit of it that counts. */
function rangeBytes({ ip, prefix }: Cidr): Buffer {
  const address = ipBytes(ip);
  const mask = address.map((_byte, index) => {
    const ones = Math.min(Math.max(prefix - 8 * index, 0), 8);
    return 0xff00 >>> ones;
  });
  return Buffer.concat([address, mask]);
}

function readRange(bytes: Buffer): Cidr {
  const size = bytes.length / 2;
  if (size !== 4 && size !== 16) throw new DerError('a range of addresses that is none');
  const mask = bytes.subarray(size);
  const bits = [...mask].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const prefix = bits.lastIndexOf('1') + 1;
  if (bits.indexOf('0') !== -1 && bits.indexOf('0') < prefix) {
    throw new DerError('a mask of addresses with gaps');
  }
  const address = bytes.subarray(0, size).map((byte, index) => byte & (mask[index] as number));
  const range = parseCidr(`${ipFromBytes(address)?.text}/${prefix}`);
  if (range === null) throw new DerError('a range of addresses that is none');
  return range;
}
