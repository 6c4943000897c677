import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { patience, until } from './deadline.ts';

/** A response as it came over the wire, its head taken apart and nothing else. */
export interface RawResponse {
  readonly version: string;
  readonly status: number;
  readonly reason: string;
  /** Names as sent, in order, repeats kept. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
}

/** The value of the only field of that name (any case); undefined if there is none. Throws if there are several. */
export function header(response: RawResponse, name: string): string | undefined {
  const found = response.headers.filter(([key]) => key.toLowerCase() === name.toLowerCase());
  if (found.length > 1) throw new Error(`${found.length} fields named ${name}`);
  return found[0]?.[1];
}

/** `Basic` for an agent and its credential; `Bearer` without the agent. */
export function proxyAuthorization(credential: string, agent?: string): string {
  if (agent === undefined) return `Proxy-Authorization: Bearer ${credential}\r\n`;
  const encoded = Buffer.from(`${agent}:${credential}`).toString('base64');
  return `Proxy-Authorization: Basic ${encoded}\r\n`;
}

/** The head of a CONNECT request. `fields`: further header lines, each with its CRLF. */
export function connectHead(target: string, fields = ''): string {
  return `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${fields}\r\n`;
}

export interface RawClientOptions {
  readonly host?: string;
  readonly port: number;
  readonly localAddress?: string;
}

/**
 * A connection on which a test writes exactly the bytes it wants and reads exactly those that
 * come. Everything that waits fails after `patience` and then tells what had come.
 */
export class RawClient {
  readonly socket: net.Socket;
  #received = Buffer.alloc(0);
  #ended = false;
  #error: NodeJS.ErrnoException | null = null;
  #closed = false;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    socket.on('end', () => {
      this.#ended = true;
    });
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      this.#closed = true;
    });
  }

  static async connect(options: RawClientOptions): Promise<RawClient> {
    const socket = net.connect({ host: '127.0.0.1', allowHalfOpen: true, ...options });
    await once(socket, 'connect');
    return new RawClient(socket.setNoDelay(true));
  }

  /** Bytes that came and were not taken by one of the reading methods. */
  get pending(): Buffer {
    return this.#received;
  }

  /** The other side sent FIN. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Nothing can be read or written any more: FIN both ways, or an error. */
  get closed(): boolean {
    return this.#closed;
  }

  /** What ended the connection: ECONNRESET, EPIPE …; null while nothing did, or a FIN. */
  get error(): NodeJS.ErrnoException | null {
    return this.#error;
  }

  write(data: string | Uint8Array): void {
    this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
  }

  /** FIN: nothing more is written, reading goes on. */
  end(): void {
    this.socket.end();
  }

  /** RST. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }

  /** Takes the bytes up to and with the first `pattern`. */
  async readUntil(pattern: string, deadline = patience): Promise<Buffer> {
    await this.#wait(
      () => this.#received.includes(pattern, 0, 'latin1'),
      `no ${JSON.stringify(pattern)}`,
      deadline,
    );
    return this.#take(this.#received.indexOf(pattern, 0, 'latin1') + pattern.length);
  }

  async readBytes(count: number, deadline = patience): Promise<Buffer> {
    await this.#wait(() => this.#received.length >= count, `fewer than ${count} bytes`, deadline);
    return this.#take(count);
  }

  /** Takes everything up to FIN. Fails on RST. */
  async readToEnd(deadline = patience): Promise<Buffer> {
    await this.#wait(() => this.#ended, 'no end of the stream', deadline);
    return this.#take(this.#received.length);
  }

  /** Waits until the connection is gone, by FIN or RST; gives what came before that. */
  async readToClose(deadline = patience): Promise<Buffer> {
    const over = () => this.#ended || this.#closed;
    await until(over, () => this.#story('still open'), deadline);
    return this.#take(this.#received.length);
  }

  /** Takes one head and, as framed by Content-Length, chunks or the end of the stream, its body. */
  async readResponse(options: { head?: boolean } = {}): Promise<RawResponse> {
    const head = parseHead((await this.readUntil('\r\n\r\n')).toString('latin1'));
    if (options.head === true || hasNoBody(head.status)) return head;
    const length = header(head, 'content-length');
    if (length !== undefined) return { ...head, body: await this.readBytes(Number(length)) };
    if (header(head, 'transfer-encoding') === undefined) {
      return { ...head, body: await this.readToEnd() };
    }
    return { ...head, body: await this.#readChunks() };
  }

  /** Sends a CONNECT and takes its answer; after a 200 what follows are the bytes of the tunnel. */
  async tunnel(target: string, fields = ''): Promise<RawResponse> {
    this.write(connectHead(target, fields));
    const head = parseHead((await this.readUntil('\r\n\r\n')).toString('latin1'));
    if (head.status >= 200 && head.status < 300) return head;
    return { ...head, body: await this.readBytes(Number(header(head, 'content-length') ?? 0)) };
  }

  /** Goes on as a TLS client on this connection, which is not to be read any more. */
  async startTls(options: tls.ConnectionOptions): Promise<tls.TLSSocket> {
    this.socket.removeAllListeners('data');
    const secure = tls.connect({ socket: this.socket, ...options });
    await once(secure, 'secureConnect');
    return secure;
  }

  async #readChunks(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (;;) {
      const size = Number.parseInt((await this.readUntil('\r\n')).toString('latin1'), 16);
      if (size === 0) break;
      chunks.push(await this.readBytes(size));
      await this.readUntil('\r\n');
    }
    while ((await this.readUntil('\r\n')).length > 2);
    return Buffer.concat(chunks);
  }

  /** Waits for bytes; a connection that ends without them fails at once. */
  async #wait(condition: () => boolean, failure: string, deadline: number): Promise<void> {
    const over = () => condition() || this.#ended || this.#closed;
    await until(over, () => this.#story(failure), deadline);
    if (!condition()) throw new Error(this.#story(failure));
  }

  #story(failure: string): string {
    const state = this.#error?.code ?? (this.#ended ? 'ended by the other side' : 'open');
    return `${failure}; the connection is ${state}, received ${JSON.stringify(this.#received.toString('latin1').slice(0, 2000))}`;
  }

  #take(count: number): Buffer {
    const taken = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    return taken;
  }
}

function hasNoBody(status: number): boolean {
  return status < 200 || status === 204 || status === 304;
}

/** `head` ends with its empty line. Throws if it is not the head of a response (RFC 9112 §4). */
export function parseHead(head: string): RawResponse {
  const [first = '', ...lines] = head.slice(0, -4).split('\r\n');
  const match = /^HTTP\/(\d\.\d) (\d{3}) (.*)$/.exec(first);
  if (match === null) throw new Error(`not a status line: ${JSON.stringify(first)}`);
  const [, version = '', status, reason = ''] = match;
  return {
    version,
    status: Number(status),
    reason,
    headers: lines.map(parseField),
    body: Buffer.alloc(0),
  };
}

function parseField(line: string): readonly [string, string] {
  const colon = line.indexOf(':');
  if (colon < 1) throw new Error(`not a header line: ${JSON.stringify(line)}`);
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
