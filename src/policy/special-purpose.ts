import { type Cidr, parseCidr } from '../core/ip.ts';

/** What is known about a class of addresses. */
export interface AddressClassInfo {
  /** Who may reach it: everybody, entries whose `addresses` name it, or nobody at all. */
  readonly reach: 'everybody' | 'granted' | 'nobody';
  /** For a person; completes "it is …". */
  readonly about: string;
}

/** The closed set of address classes. The first that applies, from the table below, counts. */
export const addressClasses = {
  global: { reach: 'everybody', about: 'a globally reachable address' },
  metadata: { reach: 'nobody', about: 'a cloud metadata or platform service' },
  unspecified: { reach: 'nobody', about: 'an unspecified address, which leads back to this host' },
  multicast: { reach: 'nobody', about: 'a multicast address' },
  broadcast: { reach: 'nobody', about: 'the broadcast address' },
  private: { reach: 'granted', about: 'an address of a private network' },
  'unique-local': { reach: 'granted', about: 'a unique local address of a private network' },
  shared: { reach: 'granted', about: 'a shared address behind a carrier-grade NAT' },
  loopback: { reach: 'granted', about: 'a loopback address of the proxy itself' },
  'link-local': { reach: 'granted', about: 'a link-local address' },
  'site-local': { reach: 'granted', about: 'a site-local address, deprecated' },
  documentation: { reach: 'granted', about: 'an address kept for documentation' },
  benchmarking: { reach: 'granted', about: 'an address kept for benchmarks' },
  protocol: { reach: 'granted', about: 'an address kept for IETF protocols' },
  reserved: { reach: 'granted', about: 'a reserved address that nobody has been given' },
  'nat64-local': { reach: 'granted', about: 'an IPv4 address behind a local NAT64 translator' },
  'v4-compatible': { reach: 'granted', about: 'an IPv4-compatible address, deprecated' },
  siit: { reach: 'granted', about: 'an IPv4-translated address' },
  '6to4': { reach: 'granted', about: 'an IPv4 address behind a 6to4 relay' },
  teredo: { reach: 'granted', about: 'an IPv4 address behind a Teredo relay' },
  isatap: { reach: 'granted', about: 'an IPv4 address behind an ISATAP router' },
} as const satisfies Record<string, AddressClassInfo>;

export type AddressClass = keyof typeof addressClasses;

/** A block of addresses that is not simply global unicast, or was taken out of such a block. */
export interface SpecialBlock {
  readonly cidr: Cidr;
  readonly class: AddressClass;
  readonly name: string;
}

type Row = readonly [block: string, addressClass: AddressClass, name: string];

/**
 * Services that hand credentials or control to whoever can connect. They are exact addresses, some
 * of them in public space, so that no range would cover them. Sources: the vendors' documentation.
 */
const metadata: readonly Row[] = [
  ['169.254.169.254/32', 'metadata', 'instance metadata of AWS, Azure, Google Cloud and others'],
  ['169.254.170.2/32', 'metadata', 'AWS ECS task credentials'],
  ['169.254.170.23/32', 'metadata', 'AWS EKS Pod Identity'],
  ['169.254.169.123/32', 'metadata', 'AWS time service'],
  ['169.254.169.253/32', 'metadata', 'AWS name server'],
  ['169.254.42.42/32', 'metadata', 'Scaleway instance metadata'],
  ['169.254.0.23/32', 'metadata', 'Tencent Cloud instance metadata'],
  ['100.100.100.200/32', 'metadata', 'Alibaba Cloud instance metadata'],
  ['168.63.129.16/32', 'metadata', 'Azure WireServer'],
  ['192.0.0.192/32', 'metadata', 'Oracle Cloud Classic instance metadata'],
  ['fd00:ec2::/32', 'metadata', 'AWS instance metadata, Pod Identity, time and names'],
  ['fd20:ce::254/128', 'metadata', 'Google Cloud instance metadata'],
  ['fd00:c1::a9fe:a9fe/128', 'metadata', 'Oracle Cloud instance metadata'],
  ['fd00:42::42/128', 'metadata', 'Scaleway instance metadata'],
  ['fd00:a9fe:a9fe::1/128', 'metadata', 'Akamai Cloud instance metadata'],
  ['fd00:100::100:200/128', 'metadata', 'Alibaba Cloud instance metadata'],
  ['fe80::a9fe:a9fe/128', 'metadata', 'OpenStack instance metadata'],
];

/** The names under which those services are asked for. */
export const metadataNames: ReadonlySet<string> = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'metadata.tencentyun.com',
  'instance-data',
  'kubernetes.default.svc',
  'host.docker.internal',
]);

/**
 * The IANA IPv4 special-purpose address registry, whole, and multicast (RFC 5771). Rows that IANA
 * marks globally reachable are `global`.
 */
const ipv4Registry: readonly Row[] = [
  ['0.0.0.0/8', 'unspecified', '"this network", RFC 791'],
  ['0.0.0.0/32', 'unspecified', '"this host on this network", RFC 1122'],
  ['10.0.0.0/8', 'private', 'Private-Use, RFC 1918'],
  ['100.64.0.0/10', 'shared', 'Shared Address Space, RFC 6598'],
  ['127.0.0.0/8', 'loopback', 'Loopback, RFC 1122'],
  ['169.254.0.0/16', 'link-local', 'Link Local, RFC 3927'],
  ['172.16.0.0/12', 'private', 'Private-Use, RFC 1918'],
  ['192.0.0.0/24', 'protocol', 'IETF Protocol Assignments, RFC 6890'],
  ['192.0.0.0/29', 'protocol', 'IPv4 Service Continuity Prefix, RFC 7335'],
  ['192.0.0.8/32', 'protocol', 'IPv4 dummy address, RFC 7600'],
  ['192.0.0.9/32', 'global', 'Port Control Protocol Anycast, RFC 7723'],
  ['192.0.0.10/32', 'global', 'TURN Anycast, RFC 8155'],
  ['192.0.0.170/32', 'protocol', 'NAT64/DNS64 Discovery, RFC 8880'],
  ['192.0.0.171/32', 'protocol', 'NAT64/DNS64 Discovery, RFC 8880'],
  ['192.0.2.0/24', 'documentation', 'TEST-NET-1, RFC 5737'],
  ['192.31.196.0/24', 'global', 'AS112-v4, RFC 7535'],
  ['192.52.193.0/24', 'global', 'AMT, RFC 7450'],
  ['192.88.99.0/24', 'reserved', 'deprecated 6to4 Relay Anycast, RFC 7526'],
  ['192.88.99.2/32', 'reserved', '6a44 relay anycast, RFC 6751'],
  ['192.168.0.0/16', 'private', 'Private-Use, RFC 1918'],
  ['192.175.48.0/24', 'global', 'Direct Delegation AS112 Service, RFC 7534'],
  ['198.18.0.0/15', 'benchmarking', 'Benchmarking, RFC 2544'],
  ['198.51.100.0/24', 'documentation', 'TEST-NET-2, RFC 5737'],
  ['203.0.113.0/24', 'documentation', 'TEST-NET-3, RFC 5737'],
  ['224.0.0.0/4', 'multicast', 'Multicast, RFC 5771'],
  ['240.0.0.0/4', 'reserved', 'Reserved, RFC 1112'],
  ['255.255.255.255/32', 'broadcast', 'Limited Broadcast, RFC 919'],
];

/**
 * The IANA IPv6 special-purpose address registry, but for `::ffff:0:0/96` and `64:ff9b::/96`, which
 * are judged by the IPv4 address inside, and what other documents took out of 2000::/3 or of use.
 */
const ipv6Registry: readonly Row[] = [
  ['::/128', 'unspecified', 'Unspecified, RFC 4291'],
  ['::1/128', 'loopback', 'Loopback, RFC 4291'],
  ['::/96', 'v4-compatible', 'IPv4-compatible, RFC 4291'],
  ['::ffff:0:0:0/96', 'siit', 'IPv4-translated, RFC 2765'],
  ['64:ff9b:1::/48', 'nat64-local', 'IPv4-IPv6 Translation for local use, RFC 8215'],
  ['100::/64', 'reserved', 'Discard-Only, RFC 6666'],
  ['100:0:0:1::/64', 'reserved', 'Dummy IPv6 Prefix, RFC 9780'],
  ['2001::/23', 'protocol', 'IETF Protocol Assignments, RFC 2928'],
  ['2001::/32', 'teredo', 'Teredo, RFC 4380'],
  ['2001:1::1/128', 'global', 'Port Control Protocol Anycast, RFC 7723'],
  ['2001:1::2/128', 'global', 'TURN Anycast, RFC 8155'],
  ['2001:1::3/128', 'global', 'DNS-SD SRP Anycast, RFC 9665'],
  ['2001:2::/48', 'benchmarking', 'Benchmarking, RFC 5180'],
  ['2001:3::/32', 'global', 'AMT, RFC 7450'],
  ['2001:4:112::/48', 'global', 'AS112-v6, RFC 7535'],
  ['2001:10::/28', 'reserved', 'deprecated ORCHID, RFC 4843'],
  ['2001:20::/28', 'global', 'ORCHIDv2, RFC 7343'],
  ['2001:30::/28', 'global', 'Drone Remote ID, RFC 9374'],
  ['2001:db8::/32', 'documentation', 'Documentation, RFC 3849'],
  ['2002::/16', '6to4', '6to4, RFC 3056'],
  ['2620:4f:8000::/48', 'global', 'Direct Delegation AS112 Service, RFC 7534'],
  ['3ffe::/16', 'reserved', '6bone, RFC 3701'],
  ['3fff::/20', 'documentation', 'Documentation, RFC 9637'],
  ['5f00::/16', 'reserved', 'Segment Routing SIDs, RFC 9602'],
  ['fc00::/7', 'unique-local', 'Unique-Local, RFC 4193'],
  ['fe80::/10', 'link-local', 'Link-Local Unicast, RFC 4291'],
  ['fec0::/10', 'site-local', 'Site-Local Unicast, RFC 3879'],
  ['ff00::/8', 'multicast', 'Multicast, RFC 4291'],
];

/** Every block in the order in which they are asked: metadata, then the longest prefixes. */
export const specialBlocks: readonly SpecialBlock[] = [
  ...metadata.map(toBlock),
  ...[...ipv4Registry, ...ipv6Registry].map(toBlock).sort((a, b) => b.cidr.prefix - a.cidr.prefix),
];

function toBlock([block, addressClass, name]: Row): SpecialBlock {
  const cidr = parseCidr(block);
  if (cidr === null) throw new Error(`special-purpose.ts: ${block} is not a range`);
  return { cidr, class: addressClass, name };
}
