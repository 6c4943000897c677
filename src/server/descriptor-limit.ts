import { readFileSync } from 'node:fs';

/** How many files this process may hold open (RLIMIT_NOFILE, which Node raises to its hard limit). */
export function descriptorLimit(): number {
  try {
    const line = /^Max open files\s+(\d+|unlimited)/m.exec(
      readFileSync('/proc/self/limits', 'utf8'),
    );
    const limit = line?.[1];
    return limit === undefined || limit === 'unlimited' ? Infinity : Number(limit);
  } catch {
    // Not Linux: the configured cap stands alone.
    return Infinity;
  }
}
