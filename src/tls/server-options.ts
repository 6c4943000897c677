import { constants } from 'node:crypto';

/**
 * How this proxy speaks TLS to its clients, at its listeners and where it inspects: 1.2 or
 * later. No session is resumed and no handshake made again on a connection, so that what was shown
 * in the one handshake, and judged, holds for as long as the connection does.
 */
export const serverProtocol = {
  minVersion: 'TLSv1.2',
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
} as const;

/** A listener speaks HTTP/1.1; inside an inspected tunnel there is HTTP/2 as well. */
export const listenerAlpn: readonly string[] = ['http/1.1'];
export const inspectionAlpn: readonly string[] = ['h2', 'http/1.1'];
