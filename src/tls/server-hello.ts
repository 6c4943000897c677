/**
 * The first message of a TLS server, as far as a tunnel must know it: `server_hello` and `alert` end
 * our part; `retry` is a HelloRetryRequest, after which the client sends a second hello whose name
 * must be judged like the first (RFC 8446 §4.1.4).
 */
export type ServerOpening = 'more' | 'server_hello' | 'retry' | 'alert' | 'not_tls';

const ALERT = 0x15;
const HANDSHAKE = 0x16;
const SERVER_HELLO = 2;
const RECORD_HEADER = 5;
const MAX_RECORD = 16_384;
/** Message header, legacy_version, random. */
const RANDOM_AT = 4 + 2;
const NEEDED = RANDOM_AT + 32;

/** SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3). */
const retryRandom = Buffer.from(
  'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c',
  'hex',
);

/**
 * Reads the server's first bytes, from the first on, also where the message is cut into small
 * records. Pure; does not throw. It looks at no more than it needs: the 38 bytes up to the random.
 *
 * @param bytes all that the server has sent so far
 */
export function classifyServerHello(bytes: Buffer): ServerOpening {
  const message = Buffer.alloc(NEEDED);
  let collected = 0;
  let at = 0;
  while (collected < NEEDED) {
    if (at >= bytes.length) return 'more';
    const type = bytes[at];
    if (type === ALERT && at === 0) return openAlert(bytes);
    if (type !== HANDSHAKE) return 'not_tls';
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) return 'not_tls';
    if (at + RECORD_HEADER > bytes.length) return 'more';
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_RECORD) return 'not_tls';
    const start = at + RECORD_HEADER;
    collected += bytes.copy(message, collected, start, start + length);
    if (collected > 0 && message[0] !== SERVER_HELLO) return 'not_tls';
    at = start + length;
  }
  return retryRandom.equals(message.subarray(RANDOM_AT)) ? 'retry' : 'server_hello';
}

function openAlert(bytes: Buffer): ServerOpening {
  if (bytes.length >= 2 && bytes[1] !== 3) return 'not_tls';
  return bytes.length < RECORD_HEADER ? 'more' : 'alert';
}
