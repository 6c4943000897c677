/**
 * The Levenshtein distance of two texts in UTF-16 code units if it is at most `limit`, else
 * `limit + 1`. Takes at most 3^limit passes and allocates nothing: for limits of one or two.
 */
export function distanceWithin(a: string, b: string, limit: number): number {
  return distanceFrom(a, 0, b, 0, limit);
}

/** Equal characters in front never have to be edited; the first unequal ones do. */
function distanceFrom(a: string, aStart: number, b: string, bStart: number, limit: number): number {
  const over = limit + 1;
  if (Math.abs(a.length - aStart - (b.length - bStart)) > limit) return over;
  let i = aStart;
  let j = bStart;
  while (i < a.length && j < b.length && a.charCodeAt(i) === b.charCodeAt(j)) {
    i++;
    j++;
  }
  if (i === a.length && j === b.length) return 0;
  if (limit === 0) return over;
  let least = over;
  if (i < a.length && j < b.length) least = 1 + distanceFrom(a, i + 1, b, j + 1, least - 2);
  if (i < a.length && least > 1)
    least = Math.min(least, 1 + distanceFrom(a, i + 1, b, j, least - 2));
  if (j < b.length && least > 1)
    least = Math.min(least, 1 + distanceFrom(a, i, b, j + 1, least - 2));
  return least;
}
