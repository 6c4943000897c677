import type { Ip } from '../core/ip.ts';

/**
 * The order in which several addresses of one name are dialled (RFC 8305 §4): IPv6 first, then the
 * families in turn, each in the order given. Addresses of one family come back as they are.
 */
export function interleave(addresses: readonly Ip[]): readonly Ip[] {
  const family = addresses[0]?.family;
  if (addresses.every((ip) => ip.family === family)) return addresses;
  const v6 = addresses.filter((ip) => ip.family === 6);
  const v4 = addresses.filter((ip) => ip.family === 4);
  const mixed: Ip[] = [];
  for (let i = 0; i < Math.max(v6.length, v4.length); i++) {
    mixed.push(...v6.slice(i, i + 1), ...v4.slice(i, i + 1));
  }
  return mixed;
}
