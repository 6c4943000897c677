/** The middle value; the mean of the two in the middle. NaN of an empty list. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Half the range over the median, in percent: what ± means in the tables. */
export function spread(values: readonly number[]): number {
  return (50 * (Math.max(...values) - Math.min(...values))) / median(values);
}

/** The value below which `share` (0 to 1) of the values lie. NaN of an empty list. */
export function quantile(values: Float64Array, share: number): number {
  const sorted = values.toSorted();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
