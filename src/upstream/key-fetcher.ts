import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { formatAuthority } from '../core/authority-form.ts';
import type { Cidr, Ip } from '../core/ip.ts';
import { MAX_KEY_SET_BYTES } from '../identity/key-set.ts';
import type { IssuerKeys } from '../policy/issuer.ts';
import { DialError } from './dialer.ts';
import type { GuardedDialer } from './guarded-dialer.ts';
import { OriginClient } from './pool.ts';
import { ResolveError, type Resolver } from './resolver.ts';
import type { TlsClient } from './tls-client.ts';

export type KeysUrl = Extract<IssuerKeys, { kind: 'url' }>;

export interface FetchedKeys {
  readonly bytes: Uint8Array;
  /** Seconds for which the server lets the answer be kept (RFC 9111 §5.2.2.1); undefined if it does not say. */
  readonly maxAge: number | undefined;
}

/** Fetches key sets. The tests' own is the other implementation. */
export interface KeyFetcher {
  /**
   * @param granted otherwise refused ranges into which the host may resolve
   * @param over ends it early
   * @throws KeyFetchError, whose message is the end of a sentence
   */
  load(url: KeysUrl, granted: readonly Cidr[], over: AbortSignal): Promise<FetchedKeys>;
}

export class KeyFetchError extends Error {
  override readonly name = 'KeyFetchError';
}

/** Characters; a server's certificate may name thousands of hosts, and the error all of them. */
const LONGEST_REASON = 300;

export interface HttpsKeyFetcherOptions {
  readonly resolver: Resolver;
  readonly dialer: GuardedDialer;
  readonly tls: TlsClient;
  /** For everything from the name to the last byte, milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
}

/**
 * Fetches by HTTPS, in the way that clients' connections go: the name is resolved once, every
 * address vetted, a vetted one dialled. No proxy, no redirects, no cookies, HTTP/1.1, and a
 * certificate for the host that was configured.
 */
export class HttpsKeyFetcher implements KeyFetcher {
  readonly #options: HttpsKeyFetcherOptions;

  constructor(options: HttpsKeyFetcherOptions) {
    this.#options = options;
  }

  async load(url: KeysUrl, granted: readonly Cidr[], over: AbortSignal): Promise<FetchedKeys> {
    const timeout = this.#options.timeoutMs ?? 10_000;
    const signal = AbortSignal.any([AbortSignal.timeout(timeout), over]);
    try {
      return await this.#load(url, granted, signal);
    } catch (error) {
      if (signal.aborted) throw new KeyFetchError(`there was no whole answer within ${timeout} ms`);
      throw new KeyFetchError(describe(error).slice(0, LONGEST_REASON), { cause: error });
    }
  }

  async #load(url: KeysUrl, granted: readonly Cidr[], signal: AbortSignal): Promise<FetchedKeys> {
    const { resolver, dialer, tls } = this.#options;
    const addresses =
      url.ip === null
        ? (await unlessAborted(resolver.resolve(url.host), signal)).addresses
        : [url.ip];
    const { socket, ip } = await dial(dialer, addresses, url.port, granted, signal);
    const destroy = (): void => {
      socket.destroy();
    };
    signal.addEventListener('abort', destroy);
    const origin = new OriginClient();
    try {
      const secure = await handshake(socket, url, tls);
      origin.supply(secure, { ip, text: `${ip.text}:${url.port}` });
      const fetched = await get(origin, url);
      // An answer without a length seems to end where its connection was destroyed.
      if (signal.aborted) throw new KeyFetchError('the answer was broken off');
      return fetched;
    } finally {
      signal.removeEventListener('abort', destroy);
      origin.destroy();
      socket.destroy();
    }
  }
}

/** The promise cannot be called off: what it comes to later is nobody's business any more. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const over = new AbortController();
  try {
    const aborted = once(signal, 'abort', { signal: over.signal }).then(() => {
      throw new KeyFetchError('it took too long');
    });
    return await Promise.race([promise, aborted]);
  } finally {
    over.abort();
  }
}

function dial(
  dialer: GuardedDialer,
  addresses: readonly Ip[],
  port: number,
  granted: readonly Cidr[],
  signal: AbortSignal,
): Promise<{ socket: Duplex; ip: Ip }> {
  return new Promise((resolve, reject) => {
    const handle = dialer.dial(addresses, port, granted, (error, socket, ip) => {
      signal.removeEventListener('abort', abort);
      if (socket === null || ip === null) {
        reject(error ?? new KeyFetchError('nothing answers there'));
        return;
      }
      // Until the TLS connection that is made from it has listeners of its own.
      socket.on('error', () => {});
      resolve({ socket, ip });
    });
    const abort = (): void => {
      handle.cancel();
      reject(new KeyFetchError('it took too long'));
    };
    signal.addEventListener('abort', abort, { once: true });
  });
}

/** What the environment says of checks does not count. */
function handshake(socket: Duplex, url: KeysUrl, tls: TlsClient): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    tls.secure(socket, url, (error, secure) => {
      if (secure === null) reject(error ?? new KeyFetchError('the TLS handshake was broken off'));
      else resolve(secure);
    });
  });
}

function get(origin: OriginClient, url: KeysUrl): Promise<FetchedKeys> {
  return new Promise((resolve, reject) => {
    const authority = formatAuthority(url);
    const headers = [
      'host',
      url.port === 443 ? authority.slice(0, -':443'.length) : authority,
      'accept',
      'application/json, application/jwk-set+json',
      'accept-encoding',
      'identity',
      'connection',
      'close',
    ];
    origin.dispatch(
      { path: url.path, method: 'GET', headers, body: null },
      new KeysAnswer(resolve, reject),
    );
  });
}

/** undici's handle on a request under way. */
interface Controller {
  abort(reason: Error): void;
}

/** The answer, whole, or why it is none. */
class KeysAnswer {
  readonly #resolve: (fetched: FetchedKeys) => void;
  readonly #reject: (error: Error) => void;
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #maxAge: number | undefined;

  constructor(resolve: (fetched: FetchedKeys) => void, reject: (error: Error) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onRequestStart(): void {}

  onResponseStart(
    controller: Controller,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    if (status < 200) return;
    if (status !== 200) {
      const why = status >= 300 && status < 400 ? ', and redirects are not followed' : '';
      this.#abort(controller, `the answer is ${status}${why}`);
    }
    if ((headers['content-encoding'] ?? 'identity') !== 'identity') {
      this.#abort(controller, 'the answer is compressed, although that was not asked for');
    }
    this.#maxAge = maxAgeOf(headers['cache-control']);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#length > MAX_KEY_SET_BYTES) {
      this.#abort(controller, `the answer has more than ${MAX_KEY_SET_BYTES / 1024} KiB`);
    } else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#resolve({ bytes: Buffer.concat(this.#chunks), maxAge: this.#maxAge });
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.#reject(error);
  }

  #abort(controller: Controller, why: string): void {
    const error = new KeyFetchError(why);
    this.#reject(error);
    controller.abort(error);
  }
}

/** RFC 9111 §5.2.2: what must not be reused is as good as over. */
function maxAgeOf(field: string | string[] | undefined): number | undefined {
  const directives = [field ?? []].flat().join(',').toLowerCase().split(',');
  let maxAge: number | undefined;
  for (const directive of directives.map((text) => text.trim())) {
    if (directive === 'no-store' || directive === 'no-cache') return 0;
    const seconds = /^max-age="?(\d{1,9})"?$/u.exec(directive)?.[1];
    if (seconds !== undefined) maxAge = Number(seconds);
  }
  return maxAge;
}

/** What happened, as the end of a sentence. */
function describe(error: unknown): string {
  if (error instanceof KeyFetchError) return error.message;
  if (error instanceof ResolveError) return `its host does not resolve (${error.rcode})`;
  if (error instanceof DialError && error.reason === 'address_not_allowed') {
    return `${error.message}: write the range under \`addresses\` of the issuer if it is meant`;
  }
  if (error instanceof DialError) return error.message;
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? message : `${message} (${code})`;
}
