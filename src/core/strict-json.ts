import { isUtf8 } from 'node:buffer';

/** What JSON text may say inside an object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * One JSON object (RFC 8259) from bytes that strangers wrote, or null: for anything but UTF-8, for a
 * value of another type, for more than `depth` levels of nesting (the object is the first), and for
 * a key twice in one object, of which readers of the same bytes would take different ones. Linear in
 * the bytes, which the caller bounds; does not throw.
 */
export function parseStrictObject(bytes: Uint8Array, depth: number): JsonObject | null {
  if (!isUtf8(bytes)) return null;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  const members = countMembers(text, depth);
  if (members === -1) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  // Of equal keys one is left, so that there are fewer than were written.
  return isObject(value) && countKeys(value) === members ? value : null;
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
