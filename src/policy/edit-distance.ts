/**
 * The Levenshtein distance of two texts in UTF-16 code units if it is at most `limit`, else
 * `limit + 1`. Only the diagonal band that can matter is looked at, until no cell is in reach.
 */
export function distanceWithin(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let start = 0;
  while (start < a.length && a[start] === b[start]) start++;
  if (start === a.length && start === b.length) return 0;
  let end = 0;
  const shared = Math.min(a.length, b.length) - start;
  while (end < shared && a.at(-1 - end) === b.at(-1 - end)) end++;
  return bandedDistance(a.slice(start, a.length - end), b.slice(start, b.length - end), limit);
}

function bandedDistance(a: string, b: string, limit: number): number {
  const over = limit + 1;
  let above = Array.from({ length: b.length + 1 }, (_, column) => Math.min(column, over));
  for (let row = 1; row <= a.length; row++) {
    const current = new Array<number>(b.length + 1).fill(over);
    if (row <= limit) current[0] = row;
    let least = current[0] as number;
    const last = Math.min(b.length, row + limit);
    for (let column = Math.max(1, row - limit); column <= last; column++) {
      const replaced = (above[column - 1] as number) + (a[row - 1] === b[column - 1] ? 0 : 1);
      const added = (current[column - 1] as number) + 1;
      const removed = (above[column] as number) + 1;
      const cell = Math.min(replaced, added, removed, over);
      current[column] = cell;
      least = Math.min(least, cell);
    }
    if (least > limit) return over;
    above = current;
  }
  return above[b.length] as number;
}
