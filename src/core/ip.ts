/**
 * IP addresses and ranges as values. Pure; nothing here throws, resolves or guesses: text that is
 * not exactly an address is null. No zone ids, no octal, hexadecimal or short IPv4 forms.
 */
export interface Ip {
  readonly family: 4 | 6;
  /** One uint32 for IPv4, four for IPv6, most significant first. */
  readonly words: readonly number[];
  /** Canonical: dotted decimal, or RFC 5952 without brackets. Equal addresses have equal text. */
  readonly text: string;
}

/** A range of addresses. Host bits of `ip` are zero. */
export interface Cidr {
  readonly ip: Ip;
  /** Leading bits that count: 0–32 or 0–128. */
  readonly prefix: number;
  /** Canonical `address/prefix`, with the prefix even where the source left it out. */
  readonly text: string;
}

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;
/** `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`, the longest text of RFC 4291 §2.2. */
const LONGEST_IPV6 = 45;
/** `255.255.255.255`. */
const LONGEST_IPV4 = 15;

/** `ip:port` as the log has it, brackets around IPv6. */
export function addressText(ip: Ip, port: number): string {
  return ip.family === 6 ? `[${ip.text}]:${port}` : `${ip.text}:${port}`;
}

/** Four decimal parts 0–255 without leading zeros, as in RFC 3986 §3.2.2 `IPv4address`. */
export function parseIpv4(text: string): Ip | null {
  const value = readDottedQuad(text, 0);
  return value === -1 ? null : { family: 4, words: [value], text };
}

/** RFC 4291 §2.2 text forms 1–3, without brackets or zone. `::` stands for at least one group. */
export function parseIpv6(text: string): Ip | null {
  const groups = readGroups(text);
  if (groups === null) return null;
  return { family: 6, words: pairUp(groups), text: formatGroups(groups) };
}

/** Either family. */
export function parseIp(text: string): Ip | null {
  return text.length <= LONGEST_IPV4 && text.indexOf(':') === -1
    ? parseIpv4(text)
    : parseIpv6(text);
}

/**
 * `address/prefix`, the prefix in decimal without leading zeros and every bit behind it zero. An
 * address alone is the range of itself.
 */
export function parseCidr(text: string): Cidr | null {
  const slash = text.indexOf('/');
  const ip = parseIp(slash === -1 ? text : text.slice(0, slash));
  if (ip === null) return null;
  const width = ip.family === 4 ? 32 : 128;
  const prefix = slash === -1 ? width : readPrefix(text, slash + 1, width);
  if (prefix === -1 || !hostBitsAreZero(ip, prefix)) return null;
  return { ip, prefix, text: `${ip.text}/${prefix}` };
}

/** False if the families differ: `::/0` contains no IPv4 address. */
export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  return cidr.ip.family === ip.family && samePrefix(cidr.ip.words, ip.words, cidr.prefix);
}

/** True if the first `bits` bits of both are equal. */
export function samePrefix(a: readonly number[], b: readonly number[], bits: number): boolean {
  let left = bits;
  for (let i = 0; left > 0; i++) {
    const difference = (a[i] as number) ^ (b[i] as number);
    if (left < 32) return difference >>> (32 - left) === 0;
    if (difference !== 0) return false;
    left -= 32;
  }
  return true;
}

/** The IPv4 address of a uint32. */
export function ipv4FromWord(word: number): Ip {
  return { family: 4, words: [word], text: formatIpv4(word) };
}

/** The address in network order, 4 or 16 bytes. */
export function ipBytes({ words }: Ip): Buffer {
  const bytes = Buffer.alloc(words.length * 4);
  for (const [index, word] of words.entries()) bytes.writeUInt32BE(word >>> 0, index * 4);
  return bytes;
}

/** Null unless these are 4 or 16 bytes. */
export function ipFromBytes(bytes: Uint8Array): Ip | null {
  if (bytes.length === 4) return parseIpv4(bytes.join('.'));
  const groups = Buffer.from(bytes).toString('hex').match(/.{4}/gu) ?? [];
  return bytes.length === 16 ? parseIpv6(groups.join(':')) : null;
}

/**
 * Reads a dotted quad that fills `text` from `start` to its end; -1 if it does not. One pass, as
 * DNS answers come through here.
 */
function readDottedQuad(text: string, start: number): number {
  const end = text.length;
  if (end - start > LONGEST_IPV4) return -1;
  let value = 0;
  let at = start;
  for (let part = 0; part < 4; part++) {
    const from = at;
    let octet = 0;
    for (; at < end; at++) {
      const digit = text.charCodeAt(at) - ZERO;
      if (digit < 0 || digit > 9) break;
      octet = octet * 10 + digit;
    }
    const digits = at - from;
    if (digits === 0 || octet > 255) return -1;
    if (digits > 1 && text.charCodeAt(from) === ZERO) return -1;
    if (part < 3 && text.charCodeAt(at++) !== DOT) return -1;
    value = value * 256 + octet;
  }
  return at === end ? value : -1;
}

/** Eight groups of 16 bits, or null. */
function readGroups(text: string): number[] | null {
  const end = text.length;
  if (end < 2 || end > LONGEST_IPV6) return null;
  const groups: number[] = [];
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return null;
    gap = 0;
    at = 2;
  }
  while (at < end) {
    const from = at;
    let value = 0;
    for (let digit = hexDigit(text, at); digit !== -1; digit = hexDigit(text, ++at)) {
      value = value * 16 + digit;
    }
    if (text.charCodeAt(at) === DOT) {
      const quad = readDottedQuad(text, from);
      if (quad === -1) return null;
      groups.push(quad >>> 16, quad & 0xffff);
      break;
    }
    if (at === from || at - from > 4) return null;
    groups.push(value);
    if (at === end) break;
    if (text.charCodeAt(at++) !== COLON || at === end) return null;
    if (text.charCodeAt(at) === COLON) {
      if (gap !== -1) return null;
      gap = groups.length;
      at++;
    }
  }
  return fillGap(groups, gap);
}

/** Puts the zeros that `::` stands for in place; null unless eight groups come out. */
function fillGap(groups: number[], gap: number): number[] | null {
  if (gap === -1) return groups.length === 8 ? groups : null;
  if (groups.length > 7) return null;
  const filled = [0, 0, 0, 0, 0, 0, 0, 0];
  const shift = 8 - groups.length;
  for (let i = 0; i < groups.length; i++) filled[i < gap ? i : i + shift] = groups[i] as number;
  return filled;
}

function pairUp(groups: readonly number[]): number[] {
  const words = [0, 0, 0, 0];
  for (let i = 0; i < 4; i++) {
    words[i] = (groups[2 * i] as number) * 0x10000 + (groups[2 * i + 1] as number);
  }
  return words;
}

/** RFC 5952 §4; IPv4-mapped addresses with a dotted quad (§5). */
function formatGroups(groups: readonly number[]): string {
  const [start, length] = longestZeroRun(groups);
  if (start === 0 && length === 5 && groups[5] === 0xffff) {
    return `::ffff:${formatIpv4((groups[6] as number) * 0x10000 + (groups[7] as number))}`;
  }
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === start && length > 1) {
      text += '::';
      i += length - 1;
      continue;
    }
    if (text !== '' && !text.endsWith(':')) text += ':';
    text += (groups[i] as number).toString(16);
  }
  return text;
}

/** RFC 5952 §4.2.3: the longest run, the first of equal ones. Start and length. */
function longestZeroRun(groups: readonly number[]): [number, number] {
  let start = -1;
  let length = 0;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    if (end > i) i = end;
  }
  return [start, length];
}

function formatIpv4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** -1 for anything that is no hexadecimal digit, the end of the text included. */
function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  if (code >= ZERO && code <= 0x39) return code - ZERO;
  const folded = code | 0x20;
  return folded >= 0x61 && folded <= 0x66 ? folded - 0x57 : -1;
}

function readPrefix(text: string, start: number, width: number): number {
  const digits = text.length - start;
  if (digits < 1 || digits > 3) return -1;
  if (digits > 1 && text.charCodeAt(start) === ZERO) return -1;
  let prefix = 0;
  for (let i = start; i < text.length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    prefix = prefix * 10 + digit;
  }
  return prefix <= width ? prefix : -1;
}

function hostBitsAreZero(ip: Ip, prefix: number): boolean {
  for (let i = 0; i < ip.words.length; i++) {
    const kept = Math.min(Math.max(prefix - 32 * i, 0), 32);
    const hostMask = kept === 32 ? 0 : 0xffffffff >>> kept;
    if (((ip.words[i] as number) & hostMask) !== 0) return false;
  }
  return true;
}
