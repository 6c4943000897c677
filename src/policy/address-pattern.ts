import { type Cidr, type Ip, ipv4FromWord, parseIp, parseIpv4, parseIpv6 } from '../core/ip.ts';
import { maskWord } from './mask-word.ts';
import { badPattern, type Finding } from './pattern-finding.ts';

/** `::ffff:0:0/96`, RFC 4291 §2.5.5.2. */
const MAPPED_PREFIX = 96;
const MAPPED_WORD = 0xffff;

/** An IP pattern, read. */
export interface AddressReading {
  readonly cidr: Cidr;
  /** Canonical: no brackets, and no prefix on a single address. */
  readonly text: string;
}

/**
 * An IPv4 or IPv6 address, or a network in CIDR notation with its host bits zero, in canonical
 * spelling (RFC 5952 for IPv6). Brackets around an IPv6 address are accepted. IPv4-mapped
 * addresses and networks are their IPv4 selves, as targets are.
 */
export function readAddressPattern(text: string): AddressReading | Finding {
  const slash = text.indexOf('/');
  const address = slash === -1 ? text : text.slice(0, slash);
  const bare = withoutBrackets(address);
  if (bare.includes('%')) {
    return badPattern('a zone id means nothing to a proxy', bare.slice(0, bare.indexOf('%')));
  }
  const ip = parseIp(bare);
  if (ip === null) return badPattern('this is no IP address in any spelling that is read');
  if (ip.family === 4 && bare !== address) {
    return badPattern('only IPv6 addresses stand in brackets', bare);
  }
  const width = ip.family === 4 ? 32 : 128;
  const prefix = slash === -1 ? width : readPrefix(text.slice(slash + 1), width);
  if (prefix === -1) {
    return badPattern(`behind the slash belongs a prefix length from 0 to ${width}`);
  }
  return checked(ip, prefix, slash === -1 ? bare : `${bare}${text.slice(slash)}`);
}

/** The address that C libraries read from short, octal and hexadecimal forms, for hints only. */
export function looseIpv4(text: string): string | undefined {
  const parts = text.split('.');
  if (parts.length > 4) return undefined;
  const numbers = parts.map(looseNumber);
  const last = numbers.pop() ?? -1;
  if (numbers.some((part) => part < 0 || part > 255)) return undefined;
  if (last < 0 || last >= 256 ** (4 - numbers.length)) return undefined;
  const high = numbers.reduce((sum, part, i) => sum + part * 256 ** (3 - i), 0);
  return ipv4FromWord(high + last).text;
}

/** `10.1.*.*` or `10.*` as a network, for hints only. */
export function starredIpv4(text: string): string | undefined {
  const parts = text.split('.');
  const fixed = parts.slice(0, parts.indexOf('*'));
  if (fixed.length === 0 || fixed.length > 3 || parts.length > 4) return undefined;
  if (parts.slice(fixed.length).some((part) => part !== '*')) return undefined;
  const address = [...fixed, '0', '0', '0'].slice(0, 4).join('.');
  return parseIpv4(address) === null ? undefined : `${address}/${8 * fixed.length}`;
}

function checked(ip: Ip, prefix: number, spelling: string): AddressReading | Finding {
  const network = networkOf(ip, prefix);
  const text = print(network, prefix);
  if (network.text !== ip.text) {
    return badPattern(`the bits behind the first ${prefix} must be zero`, text);
  }
  if (spelling !== text && spelling !== `${ip.text}/${prefix}`) {
    return badPattern('an address is written in its canonical form', text);
  }
  const plain = unmappedNetwork(network, prefix);
  return { cidr: plain, text: print(plain.ip, plain.prefix) };
}

function networkOf(ip: Ip, prefix: number): Ip {
  const words = ip.words.map((word, i) => maskWord(word, prefix - 32 * i));
  if (ip.family === 4) return ipv4FromWord(words[0] ?? 0);
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  return parseIpv6(groups.map((group) => group.toString(16)).join(':')) ?? ip;
}

function unmappedNetwork(ip: Ip, prefix: number): Cidr {
  const [first, second, third, fourth] = ip.words;
  const mapped = ip.family === 6 && first === 0 && second === 0 && third === MAPPED_WORD;
  if (!mapped || prefix < MAPPED_PREFIX) return { ip, prefix, text: `${ip.text}/${prefix}` };
  const plain = ipv4FromWord(fourth ?? 0);
  const bits = prefix - MAPPED_PREFIX;
  return { ip: plain, prefix: bits, text: `${plain.text}/${bits}` };
}

function print(ip: Ip, prefix: number): string {
  return prefix === (ip.family === 4 ? 32 : 128) ? ip.text : `${ip.text}/${prefix}`;
}

/** Decimal; leading zeros are read, and refused by the comparison with the canonical spelling. */
function readPrefix(text: string, width: number): number {
  if (!/^[0-9]{1,4}$/.test(text)) return -1;
  const prefix = Number(text);
  return prefix <= width ? prefix : -1;
}

/** -1 if it is no number that `inet_aton` reads. */
function looseNumber(text: string): number {
  if (/^0[xX][0-9a-fA-F]{1,8}$/.test(text)) return Number.parseInt(text.slice(2), 16);
  if (/^0[0-7]{1,11}$/.test(text)) return Number.parseInt(text, 8);
  return /^[0-9]{1,10}$/.test(text) ? Number(text) : -1;
}

function withoutBrackets(text: string): string {
  return text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
}
