import type { Scheme } from './policy.ts';

/** Sets of schemes as bits: what entries admit, and what a request may be. */
export const HTTPS = 1;
export const HTTP = 2;
export const TCP = 4;

export function bitOf(scheme: Scheme): number {
  if (scheme === 'https') return HTTPS;
  return scheme === 'http' ? HTTP : TCP;
}

/**
 * Schemes of the allow entries that may speak for a request: a CONNECT takes the scheme of its
 * entry; https travels in a CONNECT, which a tcp entry admits with anything in it; plain HTTP is
 * no tunnel.
 */
export function allowBits(scheme: Scheme | 'connect'): number {
  if (scheme === 'connect') return HTTPS | HTTP | TCP;
  return scheme === 'https' ? HTTPS | TCP : bitOf(scheme);
}

/**
 * Schemes of the deny entries that block a request. Wider than what allows, as what a tunnel will
 * carry cannot be known: a CONNECT (so https and tcp) is blocked by every scheme, and denied tcp,
 * which is anything, covers plain HTTP.
 */
export function denyBits(scheme: Scheme | 'connect'): number {
  return scheme === 'http' ? HTTP | TCP : HTTPS | HTTP | TCP;
}
