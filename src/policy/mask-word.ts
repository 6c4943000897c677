/** The first `bits` bits of a uint32; none if `bits` is negative, all if it is 32 or more. */
export function maskWord(word: number, bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? word : (word & (0xffffffff << (32 - bits))) >>> 0;
}
