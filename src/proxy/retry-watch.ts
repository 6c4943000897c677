import type { Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import { ClientHelloParser } from '../tls/client-hello.ts';
import { judgeHello } from '../tls/judge-hello.ts';
import { classifyServerHello } from '../tls/server-hello.ts';

/** What becomes of the client's bytes: pass them on, keep them for now, or cut. */
export type RetryVerdict = 'forward' | 'hold' | Reason;

/**
 * A server may answer the ClientHello with a HelloRetryRequest, and the second hello names its
 * host again (RFC 8446 §4.1.2). Until the server's first message is known to be something else,
 * a second hello is judged like the first, also one sent ahead of the retry it answers.
 */
export class RetryWatch {
  readonly #target: { readonly host: string; readonly ip: Ip | null };
  #server: Buffer | null = null;
  #retried = false;
  #parser: ClientHelloParser | null = null;
  #held: Buffer[] = [];

  constructor(target: { readonly host: string; readonly ip: Ip | null }) {
    this.#target = target;
  }

  /** Bytes of the server, before they are passed on. True once nothing is left to watch for. */
  onServer(chunk: Buffer): boolean {
    if (this.#retried) return false;
    this.#server = this.#server === null ? chunk : Buffer.concat([this.#server, chunk]);
    const opening = classifyServerHello(this.#server);
    if (opening === 'more') return false;
    this.#server = null;
    if (opening !== 'retry') return true;
    this.#retried = true;
    return false;
  }

  onClient(chunk: Buffer): RetryVerdict {
    if (this.#parser === null) {
      // Only a handshake record, or the change_cipher_spec before one, can carry a second hello.
      if (!this.#retried && chunk[0] !== 0x16 && chunk[0] !== 0x14) return 'forward';
      this.#parser = new ClientHelloParser({ afterRetry: true });
    }
    const result = this.#parser.push(chunk);
    this.#held.push(chunk);
    if (result.state === 'more') return 'hold';
    if (result.state === 'error') return this.#retried ? 'not_tls' : 'forward';
    const verdict = judgeHello(result.hello, this.#target);
    return verdict === 'ok' ? 'forward' : verdict;
  }

  /** The client's bytes held so far, the last chunk included. */
  release(last: Buffer): Buffer {
    const held = this.#held;
    this.#held = [];
    return held.length <= 1 ? last : Buffer.concat(held);
  }
}
