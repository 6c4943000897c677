import { isUtf8 } from 'node:buffer';

/** What JSON text may say inside an object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * One JSON value (RFC 8259) from bytes that strangers wrote, which every reader understands alike.
 * Refused are other bytes than UTF-8, a byte order mark, more than `depth` levels of nesting (the
 * outermost list or object is the first), and a key twice in one object, of which readers of the same
 * bytes would take different ones. Linear in the bytes, which the caller bounds; does not throw.
 * @returns the value, or the end of a sentence that begins with what the bytes are.
 */
export function readStrictJson(
  bytes: Uint8Array,
  depth: number,
): { readonly value: unknown } | string {
  if (!isUtf8(bytes)) return 'is not UTF-8';
  return parseStrictJson(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'),
    depth,
  );
}

/** The same of text. */
export function parseStrictJson(text: string, depth: number): { readonly value: unknown } | string {
  if (text.startsWith('\ufeff')) return 'begins with a byte order mark';
  const members = countMembers(text, depth);
  if (members === -1) return `is nested in more than ${depth} levels`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'is not one JSON value';
  }
  // Of equal keys one is left, so that there are fewer than were written.
  return countKeys(value) === members ? { value } : 'has a key twice in one object';
}

/** The same of bytes that must be an object; null for anything else. */
export function parseStrictObject(bytes: Uint8Array, depth: number): JsonObject | null {
  const read = readStrictJson(bytes, depth);
  return typeof read !== 'string' && isObject(read.value) ? read.value : null;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Colons outside of strings, which in valid JSON are the members of all objects; -1 if it is too deep. */
function countMembers(text: string, depth: number): number {
  let members = 0;
  let level = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: // "
        at = endOfString(text, at);
        break;
      case 0x3a: // :
        members++;
        break;
      case 0x5b: // [
      case 0x7b: // {
        level++;
        if (level > depth) return -1;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        level--;
        break;
    }
  }
  return members;
}

/** Index of the quote that ends the string which begins at `start`; the text's end if none does. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return at;
    if (code === 0x5c) at++; // a backslash takes the next character with it
  }
  return text.length;
}

/** Never deeper than `countMembers` let through. */
function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const inner = Object.values(value);
  const own = Array.isArray(value) ? 0 : inner.length;
  return inner.reduce<number>((sum, item) => sum + countKeys(item), own);
}
