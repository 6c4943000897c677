import { once } from 'node:events';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { AnswerReader } from './answer-reader.ts';
import { openTunnel } from './client.ts';
import type { Done } from './closed-loop.ts';
import type { Meter } from './meter.ts';
import { allowedNames, tlsOriginPort } from './plan.ts';
import type { Figures } from './trial-types.ts';
import { bulkPath, headEnd } from './wire.ts';

/** A client that trusts the authority of the proxy, and nobody else, and checks whose name it gets. */
export class InspectedClient {
  readonly #context: SecureContext;
  readonly #opened = new Set<TLSSocket>();

  /** @param authority PEM */
  constructor(authority: string) {
    this.#context = createSecureContext({ ca: authority });
  }

  /** CONNECT and a full handshake inside. @throws Error if there is no tunnel, or no trust. */
  async open(name: string): Promise<TLSSocket> {
    const socket = await openTunnel(name, tlsOriginPort);
    const secure = connect({
      socket,
      servername: name,
      secureContext: this.#context,
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: true,
    });
    await once(secure, 'secureConnect');
    // What breaks later ends in 'close', and that is waited for.
    secure.on('error', () => undefined);
    this.#opened.add(secure);
    secure.once('close', () => this.#opened.delete(secure));
    return secure;
  }

  /** Lets go of the connections that are still kept, which would hold a proxy that drains. */
  close(): void {
    for (const secure of this.#opened) secure.destroy();
  }
}

function getInside(name: string, path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${name}:${tlsOriginPort}\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n`;
}

/** A new connection, CONNECT, handshake, one small GET, close; then the next. */
export function handshakeLoad(client: InspectedClient): (turn: number, done: Done) => void {
  return (turn, done) => {
    const startedAt = performance.now();
    visit(client, nameFor(turn)).then(
      (answeredAt) => done(answeredAt - startedAt, null),
      (error: unknown) => done(0, (error as Error).message),
    );
  };
}

/** @returns when the answer was whole; the connection has ended by then, too. */
async function visit(client: InspectedClient, name: string): Promise<number> {
  const secure = await client.open(name);
  const closed = new Promise((resolve) => secure.once('close', resolve));
  await ask(secure, name);
  const answeredAt = performance.now();
  secure.end();
  await closed;
  return answeredAt;
}

/** Small GETs on connections that are kept: one connection per operation at a time. */
export function requestLoad(client: InspectedClient): (turn: number, done: Done) => void {
  const idle: { name: string; secure: TLSSocket }[] = [];
  const request = async (turn: number): Promise<number> => {
    const kept = idle.pop() ?? { name: nameFor(turn), secure: await client.open(nameFor(turn)) };
    const startedAt = performance.now();
    await ask(kept.secure, kept.name);
    idle.push(kept);
    return performance.now() - startedAt;
  };
  return (turn, done) => {
    request(turn).then(
      (waited) => done(waited, null),
      (error: unknown) => done(0, (error as Error).message),
    );
  };
}

function nameFor(turn: number): string {
  const names = allowedNames('inspected');
  return names[turn % names.length] ?? '';
}

/** @throws Error if the answer is not the page */
async function ask(secure: TLSSocket, name: string): Promise<void> {
  const whole = Promise.withResolvers<void>();
  const answer = new AnswerReader();
  const take = (chunk: Buffer): void => {
    if (answer.push(chunk)) whole.resolve();
  };
  const broken = (): void => whole.reject(new Error('the connection was closed'));
  secure.on('data', take).on('close', broken);
  secure.write(getInside(name, '/'), 'latin1');
  await whole.promise;
  secure.off('data', take).off('close', broken);
  if (answer.status !== '200') throw new Error(`not the page: ${answer.text.slice(0, 200)}`);
}

/** Pages in bulk: CPU seconds of the proxy per GB (10^9 bytes), and the rate that was reached. */
export async function measureInspectedBulk(
  client: InspectedClient,
  streams: number,
  bytes: number,
  meter: Meter,
): Promise<Figures> {
  const names = allowedNames('inspected').slice(0, streams);
  const all = async (each: number): Promise<void> => {
    await Promise.all(names.map((name) => download(client, name, each)));
  };
  await all(Math.ceil(bytes / 4));
  meter.begin();
  await all(bytes);
  const { proxy, seconds } = meter.read();
  const gigabytes = (names.length * bytes) / 1e9;
  return { pull: proxy / 1e9 / gigabytes, pullRate: gigabytes / seconds };
}

/** @throws Error if it broke off */
async function download(client: InspectedClient, name: string, bytes: number): Promise<void> {
  const secure = await client.open(name);
  const whole = Promise.withResolvers<void>();
  let left = bytes;
  secure.once('data', (first: Buffer) => {
    left += first.indexOf(headEnd, 0, 'latin1') + headEnd.length;
    if (first.toString('latin1', 9, 12) !== '200') whole.reject(new Error('not the page'));
  });
  secure.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left <= 0) whole.resolve();
  });
  secure.on('close', () => whole.reject(new Error('a download broke off')));
  secure.write(getInside(name, bulkPath(bytes)), 'latin1');
  await whole.promise;
  secure.destroy();
}
