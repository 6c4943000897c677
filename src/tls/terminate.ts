import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { inspectionAlpn } from './server-options.ts';

/** Who waits for the end of a handshake. One of the two is called, once. */
export interface HandshakeWaiter {
  done(): void;
  /** What OpenSSL or the system says of it. The connection is gone, or is to be destroyed. */
  failed(error: NodeJS.ErrnoException): void;
}

/**
 * Ends TLS here on a connected client socket, as the server that the context stands for: TLS 1.2 or
 * later, HTTP/2 or HTTP/1.1, no client certificate. No deadline: that is for whoever waits.
 *
 * @param socket without listeners for its data
 * @param first bytes that were read from it already
 */
export function terminateTls(
  socket: Socket,
  first: Buffer,
  context: SecureContext,
  waiter: HandshakeWaiter,
): TLSSocket {
  socket.pause();
  if (first.length > 0) socket.unshift(first);
  const secure = new TLSSocket(socket, {
    isServer: true,
    secureContext: context,
    ALPNProtocols: [...inspectionAlpn],
    requestCert: false,
  });
  let over = false;
  const fail = (error: Error): void => {
    if (over) return;
    over = true;
    waiter.failed(error);
  };
  // Also afterwards: what the client breaks later ends in 'close'.
  secure.on('error', fail);
  secure.on('_tlsError', fail);
  const gone = (): void => {
    if (!over) fail(new Error('the client closed the connection'));
  };
  secure.once('close', gone);
  // Half open, as the client's socket is, it does not close by itself when the client ends it. Not at
  // once: an alert ends it as well, and says why in an error that comes then.
  secure.once('end', () => setImmediate(gone));
  secure.once('secure', () => {
    if (over) return;
    over = true;
    // As tls.Server does; HTTP/2 else waits for a client's 'secureConnect' that never comes.
    Object.assign(secure, { secureConnecting: false });
    waiter.done();
  });
  return secure;
}
