import type { Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import { ClientHelloParser } from '../tls/client-hello.ts';
import { judgeHello } from '../tls/judge-hello.ts';
import { classifyServerHello } from '../tls/server-hello.ts';

/** What becomes of the client's bytes: pass these on (none = hold), or cut for a reason. */
export type RetryVerdict = Buffer | Reason;

const none = Buffer.alloc(0);
const recordHeader = 5;
const handshake = 0x16;

/**
 * A server may answer the ClientHello with a HelloRetryRequest, and the second hello names its host
 * again (RFC 8446 §4.1.2). Until the server's first message is known to be something else, the
 * client's records are followed, and a handshake record among them is held and judged like the
 * first hello: also one that runs ahead of the retry, or stands behind early data.
 */
export class RetryWatch {
  readonly #target: { readonly host: string; readonly ip: Ip | null };
  #server: Buffer | null = null;
  #retried = false;
  #parser: ClientHelloParser | null = null;
  /** A record header that has not come whole, or everything since the second hello began. */
  #held: Buffer = none;
  /** Bytes still to come of the record that is being passed on. */
  #left = 0;
  #over = false;

  constructor(target: { readonly host: string; readonly ip: Ip | null }) {
    this.#target = target;
  }

  /** Nothing is left to watch for; held bytes must be released. */
  get over(): boolean {
    return this.#over;
  }

  /** Bytes of the server, before they are passed on. */
  onServer(chunk: Buffer): void {
    if (this.#retried || this.#over) return;
    this.#server = this.#server === null ? chunk : Buffer.concat([this.#server, chunk]);
    const opening = classifyServerHello(this.#server);
    if (opening === 'more') return;
    this.#server = null;
    if (opening === 'retry') this.#retried = true;
    else this.#over = true;
  }

  onClient(chunk: Buffer): RetryVerdict {
    if (this.#parser !== null) return this.#judge(this.#parser, chunk);
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = none;
    let at = Math.min(this.#left, bytes.length);
    this.#left -= at;
    while (at < bytes.length) {
      const type = bytes[at] as number;
      if (type === handshake) return this.#hold(bytes, at);
      if (type < 0x14 || type > 0x17) return this.#notTls(bytes);
      if (bytes.length - at < recordHeader) {
        this.#held = bytes.subarray(at);
        return bytes.subarray(0, at);
      }
      const end = at + recordHeader + bytes.readUInt16BE(at + 3);
      this.#left = Math.max(0, end - bytes.length);
      at = Math.min(end, bytes.length);
    }
    return bytes;
  }

  /** What is held still, once the watch is over. */
  release(): Buffer {
    const held = this.#held;
    this.#held = none;
    return held;
  }

  /** From `at` on it may be the second hello: what is before it goes on, the rest is kept. */
  #hold(bytes: Buffer, at: number): RetryVerdict {
    this.#parser = new ClientHelloParser({ afterRetry: true });
    const verdict = this.#judge(this.#parser, bytes.subarray(at));
    if (typeof verdict === 'string') return verdict;
    return Buffer.concat([bytes.subarray(0, at), verdict]);
  }

  #judge(parser: ClientHelloParser, chunk: Buffer): RetryVerdict {
    const result = parser.push(chunk);
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (result.state === 'more') return none;
    if (result.state === 'error') return 'not_tls';
    const verdict = judgeHello(result.hello, this.#target);
    if (verdict !== 'ok') return verdict;
    this.#over = true;
    return this.release();
  }

  /** After a retry only TLS may follow; before it, no server takes this for a hello. */
  #notTls(bytes: Buffer): RetryVerdict {
    if (this.#retried) return 'not_tls';
    this.#over = true;
    return bytes;
  }
}
