import { parseIpv4, parseIpv6 } from '../core/ip.ts';

/**
 * A DNS server as settings name it: `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or
 * `[2001:db8::1]:5353`. Returns the form that `Resolver.setServers` takes, or null.
 */
export function parseServer(text: string): string | null {
  if (text.startsWith('[')) {
    const close = text.indexOf(']');
    const ip = parseIpv6(text.slice(1, Math.max(1, close)));
    const port = text.slice(close + 1);
    if (ip === null || (port !== '' && !isPortSuffix(port))) return null;
    return `[${ip.text}]${port}`;
  }
  const colon = text.indexOf(':');
  if (colon === -1 || text.indexOf(':', colon + 1) !== -1) {
    return (parseIpv4(text) ?? parseIpv6(text))?.text ?? null;
  }
  const ip = parseIpv4(text.slice(0, colon));
  const port = text.slice(colon);
  return ip === null || !isPortSuffix(port) ? null : ip.text + port;
}

/** `:1` … `:65535`, without sign or leading zero. */
function isPortSuffix(text: string): boolean {
  return /^:[1-9]\d{0,4}$/.test(text) && Number(text.slice(1)) <= 65535;
}
