const DOT = 0x2e;
const HYPHEN = 0x2d;
const UNDERSCORE = 0x5f;
const ZERO = 0x30;

/** RFC 1035 §2.3.4: 255 octets on the wire are 253 in text. */
export const MAX_HOSTNAME_BYTES = 253;
const MAX_LABEL_BYTES = 63;

/**
 * The one spelling of a host name: ASCII letters in lower case, one trailing dot dropped. Null for
 * everything that is not a name: bytes outside `[A-Za-z0-9._-]`, labels that are empty, longer than
 * 63 bytes or begin or end with a hyphen, more than 253 bytes, a last label that is a number (the
 * WHATWG URL standard's "ends in a number": resolvers and URL parsers read such names as IPv4
 * addresses, each in its own way).
 *
 * A canonical name comes back as the same string, without an allocation. A-labels are bytes like
 * any other: never decoded, because runtimes disagree on which of them are valid.
 */
export function canonicalHostname(text: string): string | null {
  const length = text.length;
  const end = text.charCodeAt(length - 1) === DOT ? length - 1 : length;
  if (end === 0 || end > MAX_HOSTNAME_BYTES) return null;
  let labelStart = 0;
  let upperCase = false;
  for (let at = 0; at < end; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) {
      if (!isLabel(text, labelStart, at)) return null;
      labelStart = at + 1;
    } else if (code >= 0x41 && code <= 0x5a) {
      upperCase = true;
    } else if (!isCanonicalByte(code)) {
      return null;
    }
  }
  if (!isLabel(text, labelStart, end) || isNumber(text, labelStart, end)) return null;
  if (!upperCase) return end === length ? text : text.slice(0, end);
  return text.slice(0, end).toLowerCase();
}

/** True if the last label of `text` (one trailing dot aside) is what an IPv4 parser may read. */
export function endsInNumber(text: string): boolean {
  const end = text.endsWith('.') ? text.length - 1 : text.length;
  return isNumber(text, text.lastIndexOf('.', end - 1) + 1, end);
}

function isCanonicalByte(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) ||
    (code >= ZERO && code <= 0x39) ||
    code === HYPHEN ||
    code === UNDERSCORE
  );
}

/** `text[start, end)` holds no dot; its bytes are checked elsewhere. */
function isLabel(text: string, start: number, end: number): boolean {
  const length = end - start;
  if (length < 1 || length > MAX_LABEL_BYTES) return false;
  return text.charCodeAt(start) !== HYPHEN && text.charCodeAt(end - 1) !== HYPHEN;
}

/** All digits, or `0x` and nothing but hexadecimal digits; an empty rest counts (`0x` is 0). */
function isNumber(text: string, start: number, end: number): boolean {
  const first = text.charCodeAt(start);
  // Written so that NaN, the code behind the end of an empty text, is no digit.
  if (!(first >= ZERO && first <= 0x39)) return false;
  const hex = first === ZERO && end - start > 1 && (text.charCodeAt(start + 1) | 0x20) === 0x78;
  for (let at = hex ? start + 2 : start; at < end; at++) {
    const code = text.charCodeAt(at);
    const digit = code >= ZERO && code <= 0x39;
    const folded = code | 0x20;
    if (!digit && !(hex && folded >= 0x61 && folded <= 0x66)) return false;
  }
  return true;
}
