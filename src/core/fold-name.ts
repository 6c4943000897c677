/** UTF-16 units; no name that is compared here is as long, however it is spelled. */
const longestFolded = 64;

/**
 * What a name comes to for the most careless reader: without case (RFC 8259 §8.3 compares code units,
 * Go's `encoding/json` and others do not), in one form of Unicode (NFKC: `ſ` is `s`, the Kelvin sign
 * `k`), without accents, and only its letters and digits if it has any. Two names that fold alike may be the same
 * name to somebody. A long name stays as it is.
 */
export function foldName(name: string): string {
  if (name.length > longestFolded || /^[a-z0-9]*$/u.test(name)) return name;
  // One character may become eighteen.
  const composed = name.normalize('NFKC');
  if (composed.length > longestFolded) return name;
  // Upper case first: the dotless i becomes an I.
  const folded = composed.toUpperCase().toLowerCase().normalize('NFD');
  return folded.replace(/[^\p{L}\p{N}]/gu, '') || name;
}
