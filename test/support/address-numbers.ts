import { type Ip, parseCidr, parseIp } from '../../src/core/ip.ts';

/** A range as whole numbers, first and last included: slow, plain and unlike the code under test. */
export interface NumberRange {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

/** The numbers of a range or of one address; throws if `text` is neither. */
export function rangeOf(text: string): NumberRange {
  const cidr = parseCidr(text);
  if (cidr === null) throw new Error(`not a range: ${text}`);
  const { family } = cidr.ip;
  const first = numberOf(cidr.ip);
  const size = 1n << BigInt((family === 4 ? 32 : 128) - cidr.prefix);
  return { family, first, last: first + size - 1n };
}

export function numberOf(ip: Ip): bigint {
  return ip.words.reduce((value, word) => value * 0x1_0000_0000n + BigInt(word), 0n);
}

/** The address with this number, by way of its longest text form. */
export function ipFromNumber(family: 4 | 6, value: bigint): Ip {
  const hex = value.toString(16).padStart(family === 4 ? 8 : 32, '0');
  const text =
    family === 4
      ? (hex.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)).join('.')
      : (hex.match(/..../g) ?? []).join(':');
  const ip = parseIp(text);
  if (ip === null) throw new Error(`not an address: ${text}`);
  return ip;
}

/** The smallest of the ranges that hold the number. */
export function longestBlock<T extends NumberRange>(
  ranges: readonly T[],
  family: 4 | 6,
  value: bigint,
): T | undefined {
  let best: T | undefined;
  for (const range of ranges) {
    if (range.family !== family || value < range.first || value > range.last) continue;
    if (best === undefined || range.last - range.first < best.last - best.first) best = range;
  }
  return best;
}
