import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { TlsSetting } from '../config/listen-address.ts';
import type { Clock } from '../core/clock.ts';
import { FileStamp } from '../core/file-stamp.ts';
import {
  loadRevocationList,
  type RevocationList,
  RevocationListError,
} from '../tls/revocation-list.ts';
import { listenerAlpn, serverProtocol } from '../tls/server-options.ts';

/** The files of a TLS listener cannot be used: one sentence that names the file. */
export class TlsFilesError extends Error {
  override readonly name = 'TlsFilesError';
}

interface Loaded {
  readonly options: TlsOptions;
  readonly crl: RevocationList | null;
}

/**
 * The TLS side of a listener (`HTTPS_PROXY=https://…`): node:tls on sockets that were accepted
 * elsewhere. TLS 1.2 and later; no session is ever resumed, so that every connection shows its
 * certificate anew; HTTP/1.1 only. Whether a client certificate will do is for its caller to judge.
 */
export class TlsListener {
  readonly #setting: TlsSetting;
  readonly #stamps: readonly FileStamp[];
  readonly #server: Server;
  readonly #clock: Clock;
  /** Who waits for the end of a handshake, by the address of the client: node:tls names no socket. */
  readonly #waiting = new Map<string, (socket: TLSSocket) => void>();
  #crl: RevocationList | null;

  /** @throws TlsFilesError */
  constructor(setting: TlsSetting, handshakeTimeout: number, clock: Clock) {
    this.#setting = setting;
    const { cert, key, clientCa, crl } = setting;
    const files = [cert, key, clientCa, crl].filter((file) => file !== null);
    this.#stamps = files.map((file) => new FileStamp(file, clock));
    for (const stamp of this.#stamps) stamp.changed();
    this.#clock = clock;
    const loaded = load(setting, clock.now());
    this.#crl = loaded.crl;
    this.#server = createServer({
      ...loaded.options,
      handshakeTimeout,
      requestCert: clientCa !== null,
      // Decided when the handshake is over, with a line in the log.
      rejectUnauthorized: false,
      ALPNProtocols: [...listenerAlpn],
    });
    this.#server.on('secureConnection', (socket) => {
      const key = keyOf(socket);
      const done = this.#waiting.get(key);
      this.#waiting.delete(key);
      if (done === undefined) socket.destroy();
      else done(socket);
    });
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Is there a client certificate, or must there be one? */
  get required(): boolean {
    return this.#setting.required;
  }

  /** Has the authority taken this certificate back? Or can that not be known, because its list has ended? */
  isListed(serial: string, now: number): boolean {
    return this.#crl?.has(serial, now) === true;
  }

  /**
   * Makes a handshake on a connected socket. `done` is called once it is over and good; otherwise
   * the socket is destroyed, or has to be when its owner loses patience.
   * @returns to be called when the socket is gone
   */
  accept(socket: Socket, done: (socket: TLSSocket) => void): () => void {
    const key = keyOf(socket);
    this.#waiting.set(key, done);
    this.#server.emit('connection', socket);
    return () => this.#waiting.delete(key);
  }

  /**
   * Takes up files that have changed since they were last looked at.
   * @returns whether they had
   * @throws TlsFilesError if they cannot be used: what was loaded before stays
   */
  refresh(): boolean {
    // All of them are asked: a stamp that is not looked at would tell of its change much later.
    const changed = this.#stamps.filter((stamp) => stamp.changed()).length > 0;
    if (!changed) return false;
    const { options, crl } = load(this.#setting, this.#clock.now());
    this.#server.setSecureContext(options);
    this.#crl = crl;
    return true;
  }
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function load({ cert, key, clientCa, crl }: TlsSetting, now: number): Loaded {
  const options = {
    cert: read(cert),
    key: read(key),
    ca: clientCa === null ? undefined : read(clientCa),
    ...serverProtocol,
  } as const;
  try {
    createServer(options).close();
  } catch (error) {
    const problem = (error as Error).message;
    throw new TlsFilesError(`${cert} and ${key} cannot be used together: ${problem}.`);
  }
  if (crl === null || options.ca === undefined) return { options, crl: null };
  return { options, crl: loadList(crl, options.ca, now) };
}

function loadList(path: string, authority: string, now: number): RevocationList {
  try {
    return loadRevocationList(path, authority, now);
  } catch (error) {
    if (error instanceof RevocationListError) throw new TlsFilesError(error.message);
    throw error;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new TlsFilesError(`${path} cannot be read (${code}).`);
  }
}
