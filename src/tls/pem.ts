/**
 * The DER in every block with this label (RFC 7468): `CERTIFICATE`, `X509 CRL`. Text around the
 * blocks is left, as tools write it there. Whether the DER is any good is for whoever reads it.
 */
export function pemBlocks(text: string, label: string): Buffer[] {
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const blocks: Buffer[] = [];
  let at = text.indexOf(begin);
  while (at !== -1) {
    const stop = text.indexOf(end, at);
    if (stop === -1) break;
    blocks.push(Buffer.from(text.slice(at + begin.length, stop), 'base64'));
    at = text.indexOf(begin, stop);
  }
  return blocks;
}
