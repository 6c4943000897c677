/**
 * Text → the inside of a JSON string that is safe to show: besides what RFC 8259 §7 demands, it
 * escapes whatever could forge a line, move a cursor or reorder text on a screen.
 */

/** Stands at the end of a text that was cut. */
export const cutMarker = '…';
const cutMarkerBytes = 3;

/**
 * The text, escaped and at most `maxBytes` bytes of UTF-8 long; what does not fit is replaced by
 * `cutMarker`, never in the middle of an escape or of a character. `maxBytes` is at least 3.
 */
export function escapeText(text: string, maxBytes: number): string {
  return isPlain(text) && text.length <= maxBytes ? text : escapeSlowly(text, maxBytes);
}

/**
 * The whole text with its control characters escaped, except that a newline at its very end stays:
 * for a line of JSON (where they can only stand inside strings) or of plain text on its way to a
 * reader who may be a terminal.
 */
export function escapeControls(line: string): string {
  const end = line.endsWith('\n') ? line.length - 1 : line.length;
  let out = '';
  let from = 0;
  for (let i = 0; i < end; i++) {
    const code = line.codePointAt(i) ?? 0;
    if (code > 0xffff) i++;
    if (!isUnsafe(code) || code === 0x22 || code === 0x5c) continue;
    out += line.slice(from, i) + escapeOf(code);
    from = i + 1;
  }
  return out + line.slice(from);
}

/** A plain text needs no escape and has one byte per character: printable ASCII but for `"` and `\`. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) return false;
  }
  return true;
}

function escapeSlowly(text: string, maxBytes: number): string {
  let out = '';
  let bytes = 0;
  let fitting = 0;
  for (let i = 0; i < text.length; ) {
    const code = text.codePointAt(i) ?? 0;
    const width = code > 0xffff ? 2 : 1;
    const piece = isUnsafe(code) ? escapeOf(code) : text.slice(i, i + width);
    bytes += isUnsafe(code) ? piece.length : utf8Length(code);
    if (bytes > maxBytes) return out.slice(0, fitting) + cutMarker;
    out += piece;
    if (bytes <= maxBytes - cutMarkerBytes) fitting = out.length;
    i += width;
  }
  return out;
}

function escapeOf(code: number): string {
  if (code === 0x22) return '\\"';
  if (code === 0x5c) return '\\\\';
  return `\\u${code.toString(16).padStart(4, '0')}`;
}

function utf8Length(code: number): number {
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}

/**
 * Quote and backslash (JSON), C0, DEL, C1 (terminals obey them), the bidirectional controls of
 * Unicode UAX #9 §2 (they make a line read differently from what it says), line and paragraph
 * separator (line ends to some readers), lone surrogates (no UTF-8 form).
 */
function isUnsafe(code: number): boolean {
  if (code < 0x7f) return code < 0x20 || code === 0x22 || code === 0x5c;
  if (code < 0x61c) return code <= 0x9f;
  if (code < 0x2070) return code === 0x61c || isUnsafePunctuation(code);
  return code >= 0xd800 && code <= 0xdfff;
}

function isUnsafePunctuation(code: number): boolean {
  return (
    code === 0x200e ||
    code === 0x200f ||
    (code >= 0x2028 && code <= 0x202e) ||
    (code >= 0x2066 && code <= 0x2069)
  );
}
