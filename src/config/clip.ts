/** At most this many characters of somebody's text go into a message. */
const LONGEST = 80;

/** Text from a file, fit for one line of a terminal: clipped, invisible characters as escapes. */
export function clip(text: string): string {
  const short = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return short.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`;
}
