const STAR = '*';

/**
 * Does a claim of a token fit a pattern? Only text does, or a list in which some text does (`aud`,
 * `groups`): numbers, booleans and objects have more than one spelling.
 */
export function claimFits(pattern: string, claim: unknown): boolean {
  if (typeof claim === 'string') return matchesClaimPattern(pattern, claim);
  return (
    Array.isArray(claim) &&
    claim.some((item) => typeof item === 'string' && matchesClaimPattern(pattern, item))
  );
}

/**
 * `*` stands for any run of characters but `:` and `/`, which separate the parts of every usual
 * subject (`repo:example/app:ref:refs/heads/main`, `system:serviceaccount:ns:name`, SPIFFE ids);
 * `**` for any run at all; both also for none. All else is itself, byte for byte. Steps through all
 * ways to match at once: at most `pattern` × `text` steps, no backtracking. Does not throw.
 */
export function matchesClaimPattern(pattern: string, text: string): boolean {
  const star = pattern.indexOf(STAR);
  if (star === -1) return pattern === text;
  if (!text.startsWith(pattern.slice(0, star))) return false;
  const parts = pattern.match(/\*\*|\*|[^*]/gsu) ?? [];
  let active = skipStars(parts, new Set([0]));
  for (const character of text) {
    const next = new Set<number>();
    for (const at of active) {
      const part = parts[at];
      if (part === '**') next.add(at);
      else if (part === STAR) {
        if (character !== ':' && character !== '/') next.add(at);
      } else if (part === character) next.add(at + 1);
    }
    if (next.size === 0) return false;
    active = skipStars(parts, next);
  }
  return active.has(parts.length);
}

/** A star may also stand for nothing. Adds to the set, which the loop then visits as well. */
function skipStars(parts: readonly string[], active: Set<number>): Set<number> {
  for (const at of active) if (parts[at]?.startsWith(STAR)) active.add(at + 1);
  return active;
}
