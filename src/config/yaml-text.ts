import { type Problem, problemAt } from './problem.ts';

/** Bytes. An allowlist of this size holds some 30,000 entries. */
export const MAX_YAML_BYTES = 1024 * 1024;

/**
 * Characters that YAML 1.2 does not allow unescaped (§5.1 `c-printable`: C0, DEL, C1), and those that make a line
 * look other than it is: bidirectional overrides and isolates.
 */
const hidden = /[[\p{Cc}--[\t\n\r\u{85}]]\u{202a}-\u{202e}\u{2066}-\u{2069}\u{fffe}\u{ffff}]/v;

/** True for text that would disturb a terminal or a log, as escapes in quotes can still make it. */
export function hasHidden(text: string): boolean {
  return hidden.test(text);
}

/** The text of a UTF-8 file, a byte order mark dropped, or why it is not read. */
export function decodeText(file: string, bytes: Uint8Array): string | Problem {
  if (bytes.length > MAX_YAML_BYTES) {
    return problemAt(
      { file, line: 1, column: 1 },
      'yaml-size',
      `the file has ${bytes.length} bytes; at most ${MAX_YAML_BYTES} (1 MiB) are read`,
      'Split it: every *.yaml below the allowlists directory is read.',
    );
  }
  const text = decodeUtf8(bytes);
  if (text === null) return encodingProblem(file, bytes);
  const index = text.search(hidden);
  return index === -1 ? text : hiddenProblem(file, text, index);
}

function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** A newline is never part of a longer UTF-8 sequence: the first line that does not decode is the one. */
function encodingProblem(file: string, bytes: Uint8Array): Problem {
  let line = 1;
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, start);
    const slice = bytes.subarray(start, end === -1 ? bytes.length : end);
    if (end === -1 || decodeUtf8(slice) === null) {
      const column = new TextDecoder().decode(slice).indexOf('\ufffd') + 1;
      return problemAt(
        { file, line, column: Math.max(column, 1) },
        'yaml-encoding',
        'the bytes here are not UTF-8',
        'Save the file as UTF-8.',
      );
    }
    line++;
    start = end + 1;
  }
}

function hiddenProblem(file: string, text: string, index: number): Problem {
  const before = text.slice(0, index).split('\n');
  const code = text.charCodeAt(index).toString(16).toUpperCase().padStart(4, '0');
  return problemAt(
    { file, line: before.length, column: (before.at(-1)?.length ?? 0) + 1 },
    'yaml-characters',
    `the character U+${code} cannot be seen, or makes the line look other than it is`,
    `Delete it, or write it as an escape in double quotes: "\\u${code}".`,
  );
}
