import { type Ip, ipv4FromWord } from './ip.ts';

/** The ways to write or carry an IPv4 address inside an IPv6 one that hosts and routers honour. */
export type Embedding =
  | 'mapped'
  | 'nat64'
  | 'nat64-local'
  | 'compatible'
  | 'siit'
  | '6to4'
  | 'teredo'
  | 'isatap';

/**
 * How an IPv4 address is embedded in `ip`, or null if it is not: `::ffff:0:0/96` (RFC 4291
 * §2.5.5.2), `64:ff9b::/96` (RFC 6052 §2.1), `64:ff9b:1::/48` (RFC 8215), `::/96` (RFC 4291
 * §2.5.5.1, but for `::` and `::1`), `::ffff:0:0:0/96` (RFC 2765 §2.1), `2002::/16` (RFC 3056 §2),
 * `2001::/32` (RFC 4380 §4) and the interface identifier of ISATAP under any prefix (RFC 5214 §6.1).
 */
export function embeddingOf(ip: Ip): Embedding | null {
  if (ip.family === 4) return null;
  const [first, second, third, fourth] = ip.words as [number, number, number, number];
  if (first === 0 && second === 0) {
    if (third === 0xffff) return 'mapped';
    if (third === 0xffff0000) return 'siit';
    return third === 0 && fourth > 1 ? 'compatible' : isatap(third);
  }
  if (first === 0x64ff9b) {
    if (second === 0 && third === 0) return 'nat64';
    if (second >>> 16 === 1) return 'nat64-local';
  }
  if (first >>> 16 === 0x2002) return '6to4';
  if (first === 0x20010000) return 'teredo';
  return isatap(third);
}

/**
 * The IPv4 address that a packet to `ip` reaches, as a uint32: IPv4 itself, IPv4-mapped and the
 * well-known NAT64 prefix, the forms that stacks and translators turn into plain IPv4 without
 * anybody's setup. -1 for every other address.
 */
export function embeddedIpv4(ip: Ip): number {
  if (ip.family === 4) return ip.words[0] as number;
  const embedding = embeddingOf(ip);
  return embedding === 'mapped' || embedding === 'nat64' ? (ip.words[3] as number) : -1;
}

/**
 * True if `test` holds for any IPv4 address (uint32) that some stack may read out of `ip`. Teredo
 * carries two; a local NAT64 prefix may use any layout of RFC 6052 §2.2 from /48 on.
 */
export function someEmbeddedIpv4(ip: Ip, test: (ipv4: number) => boolean): boolean {
  if (ip.family === 4) return test(ip.words[0] as number);
  const embedding = embeddingOf(ip);
  if (embedding === null) return false;
  const [first, second, third, fourth] = ip.words as [number, number, number, number];
  switch (embedding) {
    case '6to4':
      return test(join(first << 16, second >>> 16));
    case 'teredo':
      // The client's address is stored with every bit inverted (RFC 4380 §4).
      return test(second) || test(~fourth >>> 0);
    case 'nat64-local':
      return (
        test(fourth) ||
        test(join(second << 16, (third >>> 8) & 0xffff)) ||
        test(join(second << 24, third & 0xffffff)) ||
        test(join(third << 8, fourth >>> 24))
      );
    default:
      return test(fourth);
  }
}

/**
 * An IPv4-mapped address as plain IPv4, everything else unchanged: dual-stack sockets report IPv4
 * peers in the mapped form.
 */
export function unmapped(ip: Ip): Ip {
  return embeddingOf(ip) === 'mapped' ? ipv4FromWord(ip.words[3] as number) : ip;
}

function isatap(third: number): 'isatap' | null {
  return third === 0x5efe || third === 0x02005efe ? 'isatap' : null;
}

function join(high: number, low: number): number {
  return (high | low) >>> 0;
}
