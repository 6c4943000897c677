import { hash } from 'node:crypto';

/** Of SHA-256, bytes. */
const BLOCK = 64;
const DIGEST = 32;

/**
 * HMAC-SHA256 (RFC 2104) under a key of at most 64 bytes that is used once. `createHmac` says the
 * same, but makes a key object of the bytes first, which takes five times as long as all of this.
 */
export function hmacSha256(key: Uint8Array, text: string): Buffer {
  const inner = Buffer.alloc(BLOCK + Buffer.byteLength(text), 0x36);
  const outer = Buffer.alloc(BLOCK + DIGEST, 0x5c);
  for (const [index, byte] of key.entries()) {
    inner[index] = byte ^ 0x36;
    outer[index] = byte ^ 0x5c;
  }
  inner.write(text, BLOCK);
  hash('sha256', inner, 'buffer').copy(outer, BLOCK);
  return hash('sha256', outer, 'buffer');
}
