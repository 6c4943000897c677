/** Bits of a node's payload; the number of its first terminal stands above them. */
export const EXACT = 1;
export const APEX_AND_BELOW = 2;
export const BELOW = 4;
export const LITERAL_CHILD = 8;
export const STAR_CHILD = 16;
export const FLAG_BITS = 5;

/** `x`, `.x`, `*.x`: where a pattern can end at a node. */
export type TerminalKind = typeof EXACT | typeof APEX_AND_BELOW | typeof BELOW;

const MOST_STARS = 2;

/** Number of the terminal of this kind at a node with this payload. The kind must be there. */
export function terminalOf(payload: number, kind: TerminalKind): number {
  const first = payload >>> FLAG_BITS;
  if (kind === EXACT) return first;
  const afterExact = first + (payload & EXACT);
  return kind === APEX_AND_BELOW ? afterExact : afterExact + ((payload & APEX_AND_BELOW) >> 1);
}

/** Equal for terminals of equally specific patterns that cover one host, else different. */
export function tierOf(kind: TerminalKind, depth: number, stars: number): number {
  if (kind === EXACT) return -1 - stars;
  return (depth * (MOST_STARS + 1) + stars) * 2 + (kind === BELOW ? 1 : 0);
}
