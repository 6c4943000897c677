import type { Ip } from '../core/ip.ts';
import { ClientHelloParser } from '../tls/client-hello.ts';
import { judgeHello } from '../tls/judge-hello.ts';

export type GateVerdict =
  | 'more'
  | 'ok'
  | 'http'
  | 'sni_missing'
  | 'sni_mismatch'
  | 'ech_refused'
  | 'not_tls';

const handshakeRecord = 0x16;

/**
 * Judges the first bytes of a tunnel to an `https` entry: a whole ClientHello for the target, and
 * nothing before it (contract §4 step 7). Where an `http` entry speaks as well, bytes that cannot
 * begin TLS are left to node:http, which refuses what is not HTTP.
 */
export class HelloGate {
  /** The name that the hello showed, once one was read. */
  sni: string | undefined = undefined;
  /** Bytes that the hello took; what was pushed beyond belongs to the rest of the tunnel. */
  length = 0;
  readonly #parser = new ClientHelloParser();
  readonly #target: { readonly host: string; readonly ip: Ip | null };
  readonly #httpToo: boolean;
  #begun = false;

  constructor(host: string, ip: Ip | null, httpToo: boolean) {
    this.#target = { host, ip };
    this.#httpToo = httpToo;
  }

  push(chunk: Buffer): GateVerdict {
    if (chunk.length === 0) return 'more';
    if (!this.#begun) {
      this.#begun = true;
      if (this.#httpToo && chunk[0] !== handshakeRecord) return 'http';
    }
    const result = this.#parser.push(chunk);
    if (result.state === 'more') return 'more';
    if (result.state === 'error') return 'not_tls';
    this.sni = result.hello.sni ?? undefined;
    this.length = result.length;
    return judgeHello(result.hello, this.#target);
  }
}
