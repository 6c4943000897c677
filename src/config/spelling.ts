/**
 * The one of `candidates` that `word` was most likely meant to be, or null if none is close. Close =
 * at most a third of the longer word must change. Case and the difference of `_` and `-` are free.
 */
export function nearestSpelling(word: string, candidates: Iterable<string>): string | null {
  if (word.length > 64) return null;
  const wanted = fold(word);
  let best: string | null = null;
  let bestScore = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const score = spellingScore(wanted, fold(candidate));
    if (score < bestScore) [best, bestScore] = [candidate, score];
  }
  return best;
}

/** `; did you mean \`x\`?`, or nothing. For the end of a message. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const nearest = nearestSpelling(word, candidates);
  return nearest === null ? '' : `; did you mean \`${nearest}\`?`;
}

/** Lower is nearer, Infinity is too far. A word that begins with the candidate, or the reverse, is near. */
function spellingScore(word: string, candidate: string): number {
  const longer = Math.max(word.length, candidate.length);
  const distance = editDistance(word, candidate);
  if (distance * 3 <= longer) return distance;
  const shorter = Math.min(word.length, candidate.length);
  const prefix = shorter >= 3 && (word.startsWith(candidate) || candidate.startsWith(word));
  return prefix ? longer : Number.POSITIVE_INFINITY;
}

function fold(word: string): string {
  return word.toLowerCase().replaceAll('_', '-');
}

/** Optimal string alignment distance: insert, delete, replace, swap neighbours. O(a × b), both short. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, at(before, j - 2) + 1);
      }
      row.push(cost);
    }
    [before, last] = [last, row];
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? 0;
}
