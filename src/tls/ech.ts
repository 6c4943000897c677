/**
 * What an encrypted_client_hello extension (RFC 9849) in a ClientHello amounts to.
 *
 * Browsers send the extension on every connection: filled with random bytes ("GREASE ECH", RFC 9849
 * §6.2) where they know no key of the server. GREASE hides nothing, but it is made so that nobody
 * can tell it from the real thing. A proxy that refuses both refuses every Chromium page; one that
 * lets both pass lets a second, hidden name through. So:
 *
 * - An honest client with real ECH shows the provider's public name, not the host it asked us for:
 *   its SNI does not equal the target and it is refused by that (`judgeHello`).
 * - A client that puts the target's name on the outside must send exactly a shape that browsers are
 *   known to use for GREASE. Anything else is refused, so a library's real ECH with a borrowed
 *   outer name fails unless it was made to look like GREASE.
 *
 * What remains, and no observer can close: a client built for the purpose can put a real, hidden
 * name into a payload of a GREASE shape. It only reaches other names of the provider that serves
 * the allowed address, and only if that provider does not compare the outer name (RFC 9849 §7.1
 * lets it). An entry that is inspected ends this, as we end the TLS session ourselves.
 */
export type EchForm = 'none' | 'grease' | 'opaque';

const HKDF_SHA256 = 0x0001;
const AES_128_GCM = 0x0001;
const CHACHA20_POLY1305 = 0x0003;
const X25519_KEY_LENGTH = 32;
/** Type, KDF, AEAD, config id, then the two length-prefixed fields (RFC 9849 §5). */
const ENC_LENGTH_AT = 6;
const PAYLOAD_LENGTH_AT = ENC_LENGTH_AT + 2 + X25519_KEY_LENGTH;
const PAYLOAD_AT = PAYLOAD_LENGTH_AT + 2;

/**
 * Payload lengths of GREASE, with the 16-byte tag. BoringSSL (Chromium, Edge, Safari, Electron)
 * draws a multiple of 32 from 128 to 224 (`setup_ech_grease` in ssl/encrypted_client_hello.cc);
 * Firefox since 119 sends 223.
 */
const greasePayloads: ReadonlySet<number> = new Set([144, 176, 208, 240, 239]);

/** The body of extension 0xfe0d: `grease` if its shape is one that browsers send as GREASE. */
export function classifyEch(body: Buffer): EchForm {
  if (body.length <= PAYLOAD_AT) return 'opaque';
  const isOuter = body[0] === 0;
  const aead = body.readUInt16BE(3);
  const payloadLength = body.readUInt16BE(PAYLOAD_LENGTH_AT);
  const isGrease =
    isOuter &&
    body.readUInt16BE(1) === HKDF_SHA256 &&
    (aead === AES_128_GCM || aead === CHACHA20_POLY1305) &&
    body.readUInt16BE(ENC_LENGTH_AT) === X25519_KEY_LENGTH &&
    greasePayloads.has(payloadLength) &&
    body.length === PAYLOAD_AT + payloadLength;
  return isGrease ? 'grease' : 'opaque';
}
