import type { Socket } from 'node:net';
import type { HostPort, ListenSetting, UnixPath } from '../config/listen-address.ts';
import { parseConnectHead, skipEmptyLines, startsWithConnect } from '../core/request-head.ts';
import type { Arrival, Sink } from '../proxy/client-connection.ts';
import { ClientConnection, deadSink, endGracefully } from '../proxy/client-connection.ts';
import { Exchange } from '../proxy/exchange.ts';
import { refusal, refusalBytes } from '../proxy/refuse.ts';
import type { Services } from '../proxy/services.ts';
import { Tunnel } from '../proxy/tunnel.ts';
import { Arriving, Entrance } from './entrance.ts';
import { Waiting } from './waiting.ts';

/**
 * The first bytes of every client connection: a CONNECT is read by our own strict parser, anything
 * else goes to node:http with the bytes already read. Deadlines and caps on what has not proven
 * yet who it is.
 */
export class Front {
  readonly #services: Services;
  readonly #cap: number;
  readonly #entrances: Entrance[] = [];
  #open = 0;
  #begun = false;
  /** Handshakes and heads being read, oldest first: at the cap the oldest makes room for a newcomer. */
  readonly #waiting = new Set<Waiting>();
  /** One function for every connection: what is gone is only counted. */
  readonly #gone = (): void => {
    this.#open--;
    this.#services.metrics.connectionClosed();
  };

  /** @param cap most client connections at once. */
  constructor(services: Services, cap: number) {
    this.#services = services;
    this.#cap = cap;
  }

  /** Takes up TLS files that have changed. */
  refresh(): { readonly changed: boolean; readonly problems: readonly string[] } {
    let changed = false;
    const problems: string[] = [];
    for (const { tls } of this.#entrances) {
      try {
        if (tls?.refresh() === true) changed = true;
      } catch (error) {
        problems.push((error as Error).message);
      }
    }
    return { changed, problems };
  }

  /**
   * Opens one more listener. Port 0 takes a free one.
   * @returns where it listens
   * @throws the system error (EADDRINUSE, EACCES …) if it cannot; TlsFilesError.
   */
  async listen(setting: ListenSetting, reusePort: boolean): Promise<HostPort | UnixPath> {
    const entrance = new Entrance(setting, this.#services, (socket) =>
      this.#accept(socket, entrance),
    );
    const at = await entrance.open(reusePort);
    this.#entrances.push(entrance);
    return at;
  }

  /** From here on clients are served; those who came before are turned away without a word. */
  begin(): void {
    this.#begun = true;
  }

  /** Stops accepting; what is open stays. */
  close(): void {
    for (const entrance of this.#entrances) entrance.close();
    this.#waitingGone();
  }

  get open(): number {
    return this.#open;
  }

  #accept(socket: Socket, entrance: Entrance): void {
    const { metrics } = this.#services;
    if (!this.#begun) {
      socket.destroy();
      return;
    }
    if (this.#open >= this.#cap && !this.#makeRoom()) {
      socket.on('error', () => {});
      this.#turnAway(socket, entrance);
      return;
    }
    this.#open++;
    metrics.connectionOpened();
    if (entrance.tls === null && !entrance.speaksForOthers(socket)) {
      this.#read(socket, entrance.arrival, this.#gone);
      return;
    }
    new Arriving(
      this.#services,
      entrance,
      socket,
      this.#waiting,
      this.#gone,
      (arrived, arrival, first) => {
        const reader = this.#read(arrived, arrival, null);
        if (first.length > 0) reader.onData(first);
      },
    );
  }

  #read(socket: Socket, arrival: Arrival, gone: (() => void) | null): HeadReader {
    return new HeadReader(this.#services, socket, this.#waiting, gone, arrival);
  }

  /** Ends the connection that has kept us waiting longest for its first request. */
  #makeRoom(): boolean {
    for (const reader of this.#waiting) {
      reader.giveUp();
      return true;
    }
    return false;
  }

  /** A client that still has to shake hands could not read an answer. */
  #turnAway(socket: Socket, entrance: Entrance): void {
    const client = new ClientConnection(socket, deadSink, null, entrance.arrival);
    const exchange = new Exchange(this.#services, client);
    const answer = refusal(exchange, 'overloaded');
    exchange.recordBlock('overloaded', answer.status);
    if (entrance.tls === null) endGracefully(socket, refusalBytes(answer));
    else socket.destroy();
  }

  /** Connections that have asked for nothing yet are not worth draining. */
  #waitingGone(): void {
    for (const reader of [...this.#waiting]) reader.giveUp();
  }
}

/** A client connection until its first request head is whole, or its deadline has passed. */
class HeadReader extends Waiting implements Sink {
  readonly #client: ClientConnection;
  #held: Buffer | null = null;

  constructor(
    services: Services,
    socket: Socket,
    waiting: Set<Waiting>,
    gone: (() => void) | null,
    arrival: Arrival,
  ) {
    super(services, waiting);
    this.#client = new ClientConnection(socket, this, gone, arrival);
  }

  onData(chunk: Buffer): void {
    const bytes = this.#held === null ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = bytes;
    const from = skipEmptyLines(bytes);
    const kind = startsWithConnect(bytes, from);
    if (kind === 'no') return this.#toHttp(bytes);
    if (kind === 'more') return;
    const parsed = parseConnectHead(bytes, from);
    if (parsed === null) return;
    if (typeof parsed === 'string') return this.#refuse(parsed);
    this.leave();
    new Tunnel(this.services, this.#client).start(parsed.head, bytes.subarray(parsed.length));
  }

  onEnd(): void {
    if (this.#held === null) this.leave();
    else this.#record();
    this.#client.socket.destroy();
  }

  onDrain(): void {}

  onClose(): void {
    if (this.over) return;
    if (this.#held !== null) this.#record();
    else this.leave();
  }

  /** No answer: who has sent half a request for this long would not read it. */
  giveUp(): void {
    if (this.over) return;
    if (this.#held !== null) this.#record();
    else this.leave();
    this.#client.socket.destroy();
  }

  #record(): void {
    if (this.over) return;
    this.leave();
    new Exchange(this.services, this.#client).recordBlock('bad_request', undefined);
  }

  #toHttp(bytes: Buffer): void {
    this.leave();
    this.services.http.serve(this.#client.detach(), bytes, this.#client, null);
  }

  #refuse(problem: string): void {
    this.leave();
    const exchange = new Exchange(this.services, this.#client);
    const answer = refusal(exchange, 'bad_request', { message: problem });
    exchange.method = 'CONNECT';
    exchange.recordBlock('bad_request', answer.status);
    endGracefully(this.#client.socket, refusalBytes(answer));
  }

  protected override leave(): void {
    super.leave();
    this.#held = null;
    this.#client.sink = deadSink;
  }
}
