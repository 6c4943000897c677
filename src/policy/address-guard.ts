import { embeddedIpv4, embeddingOf, someEmbeddedIpv4, unmapped } from '../core/embedded-ipv4.ts';
import { type Cidr, cidrContains, type Ip, ipv4FromWord, samePrefix } from '../core/ip.ts';
import { LocalAddresses } from './local-addresses.ts';
import {
  type AddressClass,
  addressClasses,
  metadataNames,
  type SpecialBlock,
  specialBlocks,
} from './special-purpose.ts';

/** Where the proxy itself listens. `ip` null, 0.0.0.0 or :: means every address of this host. */
export interface ListenerAddress {
  readonly ip: Ip | null;
  readonly port: number;
}

export type GuardVerdict = 'ok' | 'address_not_allowed' | 'loop';

const ipv6Blocks = specialBlocks.filter(({ cidr }) => cidr.ip.family === 6);
const ipv4Blocks = specialBlocks.filter(({ cidr }) => cidr.ip.family === 4);
/** The IPv4 blocks side by side as int32, so that a look-up makes no objects. */
const ipv4Masks = Int32Array.from(ipv4Blocks, ({ cidr }) => ipv4Mask(cidr.prefix));
const ipv4Values = Int32Array.from(ipv4Blocks, ({ cidr }) => cidr.ip.words[0] as number);

/**
 * Decides whether an address may be dialled. Only globally reachable addresses are, but for ranges
 * that the deciding entry grants; metadata services, unspecified, multicast and broadcast addresses
 * and the proxy's own listeners are refused whatever is granted.
 */
export class AddressGuard {
  readonly #listeners: () => readonly ListenerAddress[];
  readonly #local: LocalAddresses;

  constructor(
    /** Every listener of the proxy at this moment, the admin one included. */
    listeners: () => readonly ListenerAddress[],
    local: LocalAddresses = new LocalAddresses(),
  ) {
    this.#listeners = listeners;
    this.#local = local;
  }

  /**
   * Judges one address that is about to be dialled. Allocates nothing unless `port` is one of our
   * own. Does not throw.
   *
   * @param granted ranges of the deciding entry; an IPv4 range also grants its addresses in the
   *   IPv4-mapped and the well-known NAT64 form
   */
  check(ip: Ip, port: number, granted: readonly Cidr[]): GuardVerdict {
    if (this.isOwnListener(ip, port)) return 'loop';
    const { reach } = addressClasses[classify(ip)];
    if (reach === 'everybody') return 'ok';
    return reach === 'granted' && isGranted(ip, granted) ? 'ok' : 'address_not_allowed';
  }

  /** Would a connection to this address and port come back to us, in any form of the address? */
  isOwnListener(ip: Ip, port: number): boolean {
    for (const listener of this.#listeners()) {
      if (listener.port === port && this.#hears(listener.ip, ip)) return true;
    }
    return false;
  }

  #hears(listener: Ip | null, target: Ip): boolean {
    const isSame = (ip: Ip) =>
      listener === null || isUnspecified(listener)
        ? isUnspecified(ip) || this.#local.has(ip)
        : // The system takes a connection to the unspecified address to a loopback listener.
          isUnspecified(ip) || ip.text === unmapped(listener).text;
    return isSame(target) || someEmbeddedIpv4(target, (word) => isSame(ipv4FromWord(word)));
  }
}

/**
 * The class of an address. IPv4-mapped and well-known NAT64 addresses are of the class of the IPv4
 * address inside; in the other embeddings only a metadata address counts, as the rest of them is
 * refused by their own class. IPv6 outside 2000::/3 is reserved (RFC 4291 §2.4).
 */
export function classify(ip: Ip): AddressClass {
  const ipv4 = embeddedIpv4(ip);
  if (ipv4 !== -1) return classifyIpv4(ipv4);
  if (someEmbeddedIpv4(ip, isMetadataIpv4)) return 'metadata';
  const block = ipv6BlockOf(ip);
  if (block !== undefined && block.class !== 'global') return block.class;
  if (embeddingOf(ip) === 'isatap') return 'isatap';
  return (ip.words[0] as number) >>> 29 === 1 ? 'global' : 'reserved';
}

/** A metadata service in any form of its address, an IPv4 one embedded in IPv6 included. */
export function isMetadata(ip: Ip): boolean {
  return classify(ip) === 'metadata';
}

/** A name of a metadata service, `host` in canonical form. */
export function isMetadataName(host: string): boolean {
  return metadataNames.has(host);
}

/**
 * Says why a grant of `cidr` could never take effect, in a sentence for the file's author; null if
 * at least a part of it can be granted. The proxy's own listeners are not known here.
 */
export function neverGranted(cidr: Cidr): string | null {
  if (isOneAddress(cidr)) return refusal(cidr.ip.text, classify(cidr.ip));
  const range = embeddedRange(cidr) ?? cidr;
  const block = specialBlocks.find((candidate) => isInside(range, candidate.cidr));
  return block === undefined ? null : refusal(cidr.text, block.class);
}

function refusal(subject: string, addressClass: AddressClass): string | null {
  const { reach, about } = addressClasses[addressClass];
  return reach === 'nobody' ? `${subject} is ${about}; no entry can grant it` : null;
}

function classifyIpv4(word: number): AddressClass {
  const index = ipv4BlockIndex(word);
  return index === -1 ? 'global' : (ipv4Blocks[index] as SpecialBlock).class;
}

function isMetadataIpv4(word: number): boolean {
  return classifyIpv4(word) === 'metadata';
}

function ipv4BlockIndex(word: number): number {
  for (let i = 0; i < ipv4Masks.length; i++) {
    if ((word & (ipv4Masks[i] as number)) === ipv4Values[i]) return i;
  }
  return -1;
}

function ipv6BlockOf(ip: Ip): SpecialBlock | undefined {
  for (const block of ipv6Blocks) {
    if (samePrefix(block.cidr.ip.words, ip.words, block.cidr.prefix)) return block;
  }
  return undefined;
}

function isGranted(ip: Ip, granted: readonly Cidr[]): boolean {
  const ipv4 = embeddedIpv4(ip);
  for (const cidr of granted) {
    if (cidrContains(cidr, ip)) return true;
    if (ipv4 === -1 || cidr.ip.family === 6) continue;
    if (((ipv4 ^ (cidr.ip.words[0] as number)) & ipv4Mask(cidr.prefix)) === 0) return true;
  }
  return false;
}

/** An int32 with the first `prefix` bits set. A shift by 32 would be a shift by 0. */
function ipv4Mask(prefix: number): number {
  return prefix === 0 ? 0 : -1 << (32 - prefix);
}

function isInside(inner: Cidr, outer: Cidr): boolean {
  return inner.prefix >= outer.prefix && cidrContains(outer, inner.ip);
}

/** The IPv4 range of a range in IPv4-mapped or well-known NAT64 form; null if it is neither. */
function embeddedRange(cidr: Cidr): Cidr | null {
  const word = embeddedIpv4(cidr.ip);
  if (cidr.ip.family === 4 || cidr.prefix < 96 || word === -1) return null;
  const ip = ipv4FromWord(word);
  const prefix = cidr.prefix - 96;
  return { ip, prefix, text: `${ip.text}/${prefix}` };
}

function isOneAddress(cidr: Cidr): boolean {
  return cidr.prefix === (cidr.ip.family === 4 ? 32 : 128);
}

function isUnspecified(ip: Ip): boolean {
  return ip.text === '0.0.0.0' || ip.text === '::';
}
