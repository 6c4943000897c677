import type { Ip } from '../core/ip.ts';
import type { ClientHello } from './hello-message.ts';

export type HelloVerdict = 'ok' | 'sni_missing' | 'sni_mismatch' | 'ech_refused';

/**
 * Names behind which a provider takes hidden names for all its customers: a tunnel to one of these
 * has no other use for ECH, whatever its shape.
 */
const echPublicNames: ReadonlySet<string> = new Set(['cloudflare-ech.com']);

/**
 * Does this hello ask the tunnel's target, and nobody else, for a session? (contract §4 step 7)
 *
 * - a name: the SNI must equal it after ASCII folding; a trailing dot, a NUL or a list of names is
 *   another name (`sni_mismatch`); no server_name extension is `sni_missing`;
 * - an IP literal: no server_name extension at all (RFC 6066 §3 forbids literals there), else
 *   `sni_mismatch`;
 * - Encrypted Client Hello next to another SNI, in a shape that is not GREASE, or towards a name
 *   that only serves to hide others, and the older ESNI always: `ech_refused`.
 *
 * @param target the tunnel's host: canonical, lower case; `ip` not null if it is a literal
 */
export function judgeHello(
  hello: ClientHello,
  target: { readonly host: string; readonly ip: Ip | null },
): HelloVerdict {
  if (hello.ech === 'opaque') return 'ech_refused';
  const name = judgeName(hello.sni, target);
  if (hello.ech === 'none') return name;
  if (name === 'sni_mismatch' || echPublicNames.has(target.host)) return 'ech_refused';
  return name;
}

function judgeName(
  sni: string | null,
  target: { readonly host: string; readonly ip: Ip | null },
): HelloVerdict {
  if (target.ip !== null) return sni === null ? 'ok' : 'sni_mismatch';
  if (sni === null) return 'sni_missing';
  // Latin-1 has no letter that folds into ASCII, so this is the ASCII folding of DNS (RFC 4343).
  return sni === target.host || sni.toLowerCase() === target.host ? 'ok' : 'sni_mismatch';
}
