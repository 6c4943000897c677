import { matchesPath, type PathPattern, plainPath } from './path-pattern.ts';
import type { Entry } from './policy.ts';

/** True if only TLS inspection could see what the entry asks for. */
export function needsInspection(entry: Entry): boolean {
  if (entry.scheme !== 'https') return false;
  return entry.inject || entry.methods !== undefined || entry.paths !== undefined;
}

/** False for what inspection cannot do yet: an entry with `inject` would open without its secret. */
export function isBuilt(entry: Entry): boolean {
  return !entry.inject;
}

/** Does the entry admit this method? An undefined one is not asked about. */
export function admitsMethod(entry: Entry, method: string | undefined): boolean {
  return entry.methods === undefined || method === undefined || entry.methods.includes(method);
}

/** Does one of the patterns cover the path of this request target, query and all? */
export function admitsPath(patterns: readonly PathPattern[], target: string): boolean {
  const path = plainPath(target);
  return path !== null && patterns.some((pattern) => matchesPath(pattern, path));
}

/** `ports` is sorted. */
export function hasPort(ports: readonly number[], port: number): boolean {
  let low = 0;
  let high = ports.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const value = ports[middle] as number;
    if (value === port) return true;
    if (value < port) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}
