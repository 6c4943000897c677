import type { Duplex } from 'node:stream';
import {
  connect,
  createSecureContext,
  type DetailedPeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import type { Ip } from '../core/ip.ts';

/** The destination's TLS will not do. The message is OpenSSL's, and may quote the certificate. */
export class UpstreamTlsError extends Error {
  override readonly name = 'UpstreamTlsError';
  /** The same for whoever must not read what a stranger wrote, as the end of a sentence. */
  readonly problem: string;
  /** It speaks none of the protocols that were offered. */
  readonly isAboutProtocols: boolean;

  constructor(message: string, problem: string, cause?: NodeJS.ErrnoException) {
    super(message, { cause });
    this.problem = problem;
    this.isAboutProtocols = cause?.code === noProtocol;
  }
}

/** RFC 7301 §3.2, as OpenSSL reports the alert. */
const noProtocol = 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL';
const otherName = 'ERR_TLS_CERT_ALTNAME_INVALID';
const unknownIssuer = 'no trusted root has signed its certificate';

/** By the `code` of the error; others are told by their code alone. */
const problems: ReadonlyMap<string, string> = new Map([
  ['CERT_HAS_EXPIRED', 'its certificate has expired'],
  ['CERT_NOT_YET_VALID', 'its certificate does not hold yet'],
  ['CERT_REVOKED', 'its certificate is revoked'],
  [otherName, 'its certificate is for another name'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'its certificate is signed by nobody but itself'],
  [noProtocol, 'it speaks none of the protocols that were offered'],
  ['SELF_SIGNED_CERT_IN_CHAIN', unknownIssuer],
  ['UNABLE_TO_GET_ISSUER_CERT', unknownIssuer],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', unknownIssuer],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', unknownIssuer],
]);

/** Whose certificate the other side must have. */
export interface TlsPeer {
  readonly host: string;
  /** Not null if the host is an address. */
  readonly ip: Ip | null;
  /** Protocols to offer, best first; without it HTTP/1.1. */
  readonly alpn?: readonly string[];
}

const http1: readonly string[] = ['http/1.1'];

export type TlsDone = (error: Error | null, socket: TLSSocket | null) => void;

/**
 * TLS towards servers: 1.2 or later, and a certificate of a trusted root for exactly the
 * host. There is no switch that leaves a check out, and what the environment says of checks does not
 * count. No session is kept: nothing of one connection is known on the next.
 */
export class TlsClient {
  readonly #context: SecureContext;

  /** @param roots PEM: these and no others, whatever the runtime has been told */
  constructor(roots: readonly string[]) {
    this.#context = createSecureContext({ minVersion: 'TLSv1.2', ca: [...roots] });
  }

  /**
   * Makes a handshake on a connection that is there. `done` is called once: with the socket, with an
   * UpstreamTlsError, or with an error of the system if the connection broke off. The caller keeps
   * the deadline, and destroys the connection if it was not met.
   */
  secure(socket: Duplex, peer: TlsPeer, done: TlsDone): void {
    const { host, ip, alpn = http1 } = peer;
    const secure: TLSSocket = connect({
      socket,
      host,
      // RFC 6066 §3: an address is no server name.
      ...(ip === null ? { servername: host } : {}),
      secureContext: this.#context,
      ALPNProtocols: [...alpn],
      rejectUnauthorized: true,
      checkServerIdentity: () => identityProblem(secure, peer),
    });
    secure.getPeerCertificate = nothing;
    let over = false;
    const finish = (error: Error | null): void => {
      if (over) return;
      over = true;
      if (error !== null) secure.destroy();
      done(error, error === null ? secure : null);
    };
    secure.on('error', (error) => {
      if (!over) finish(asTlsError(error));
    });
    secure.once('close', () => {
      if (!over) finish(brokenOff());
    });
    // Node does not always pass on that the connection below is gone; what it has to say of it goes first.
    socket.once('close', () => {
      setImmediate(() => {
        if (!over) finish(brokenOff());
      });
    });
    // Not in this turn: OpenSSL is in the middle of a read now, and whoever gives the connection up at
    // once would have its memory freed under it, which ends the process (Node 24).
    secure.once('secureConnect', () => setImmediate(finish, null));
  }
}

/** In place of what node:tls would put into words for `checkServerIdentity`: the whole chain. */
function nothing(): DetailedPeerCertificate {
  return {} as DetailedPeerCertificate;
}

/**
 * Undefined if the certificate is for this host. OpenSSL answers that, by RFC 9525: among the
 * alternative names, where a star is a whole first label. The answer of node:tls would take as long
 * as verifying the chain, because it is given all of it in words.
 */
function identityProblem(secure: TLSSocket, { host, ip }: TlsPeer): Error | undefined {
  const certificate = secure.getPeerX509Certificate();
  const found =
    ip === null
      ? certificate?.checkHost(host, { subject: 'never', partialWildcards: false })
      : certificate?.checkIP(host);
  if (found !== undefined) return undefined;
  const names = certificate?.subjectAltName ?? 'none';
  return Object.assign(new Error(`${host} does not match certificate's altnames: ${names}`), {
    code: otherName,
  });
}

/** Errors of the system keep their names; all others are OpenSSL's, or about the certificate. */
function asTlsError(error: NodeJS.ErrnoException): Error {
  if (error.syscall !== undefined || error.code === 'ECONNRESET') return error;
  const { code = 'no code', message } = error;
  const problem = problems.get(code) ?? `the handshake failed (${code})`;
  return new UpstreamTlsError(`${message} (${code})`, problem, error);
}

function brokenOff(): UpstreamTlsError {
  const text = 'the TLS handshake was broken off';
  return new UpstreamTlsError(text, text);
}
