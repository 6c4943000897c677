import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Farewell } from './failure-limiter.ts';
import { grpcRefusal, isGrpc } from './grpc-refusal.ts';
import type { RawHeaders } from './headers.ts';
import type { Http2Head } from './http2-head.ts';
import type { Inbound } from './inbound.ts';
import type { Refusal } from './refuse.ts';

/** RFC 9113 §7. */
const codes = { noError: 0, internalError: 2, cancel: 8 } as const;

/** How long a client that has its answer may go on sending, milliseconds. */
const lingerMs = 2_000;

/** The head of an answer that is not sent yet. */
interface WaitingHead {
  readonly headers: string[];
  readonly flush: NodeJS.Immediate;
}

/** A request on a stream of its own, beside others. */
export class Http2Inbound implements Inbound {
  readonly method: string;
  readonly target: string;
  readonly version = '2.0';
  readonly headers: RawHeaders;
  readonly isUpgrade = false;
  readonly hasBody: boolean;
  readonly body: ServerHttp2Stream;
  #waiting: WaitingHead | null = null;
  #trailers: OutgoingHttpHeaders | null = null;
  #answered = false;

  constructor(stream: ServerHttp2Stream, head: Http2Head) {
    this.method = head.method;
    this.target = head.target;
    this.headers = head.headers;
    this.body = stream;
    this.hasBody = !stream.endAfterHeaders;
  }

  get received(): boolean {
    return this.body.endAfterHeaders || this.body.readableEnded;
  }

  get answered(): boolean {
    return this.#answered;
  }

  goAhead(): void {
    this.inform(100, '', []);
  }

  inform(status: number, _phrase: string, headers: RawHeaders): void {
    if (this.#isGone || this.#answered) return;
    this.body.additionalHeaders({ ':status': status, ...grouped(headers) });
  }

  answer(status: number, _phrase: string, headers: RawHeaders, hasBody: boolean): void {
    if (this.#isGone) return;
    this.#answered = true;
    const list = [':status', String(status), ...headers];
    if (!hasBody) {
      this.body.respond(list, { endStream: true });
      return;
    }
    // gRPC tells an answer that is trailers alone by the END_STREAM of its head: for one turn it is
    // not known whether anything follows.
    this.#waiting = { headers: list, flush: setImmediate(() => this.#sendHead()) };
  }

  #sendHead(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting === null || this.#isGone) return;
    clearImmediate(waiting.flush);
    this.body.once('wantTrailers', () => this.body.sendTrailers(this.#trailers ?? {}));
    this.body.respond(waiting.headers, { waitForTrailers: true });
  }

  write(chunk: Buffer | string): boolean {
    this.#sendHead();
    return this.#isGone || this.body.write(chunk);
  }

  onDrain(drained: () => void): void {
    this.body.on('drain', drained);
  }

  end(trailers: readonly [string, string][]): void {
    if (this.#isGone) return;
    const waiting = this.#waiting;
    if (waiting !== null && trailers.length === 0) {
      this.#waiting = null;
      clearImmediate(waiting.flush);
      this.body.respond(waiting.headers, { endStream: true });
    } else {
      this.#trailers = grouped(trailers.flat());
      this.#sendHead();
      this.body.end();
    }
    this.#endReading();
  }

  refuse(refusal: Refusal, _farewell: Farewell): void {
    if (this.#isGone) return;
    this.#answered = true;
    const grpc = isGrpc(this.headers);
    const list = grpc ? grpcRefusal(refusal) : refusal.headers;
    const headers = [':status', String(refusal.status)];
    for (let at = 0; at + 1 < list.length; at += 2) {
      const name = list[at] as string;
      // Only the stream ends: what is on the others is theirs.
      if (name !== 'Connection') headers.push(name, list[at + 1] as string);
    }
    const body = grpc ? '' : refusal.body;
    this.body.respond(headers, { endStream: body === '' });
    if (body !== '') this.body.end(body);
    this.#endReading();
  }

  /** What the client still sends is thrown away; one that does not come to an end is stopped. */
  #endReading(): void {
    if (this.received) return;
    this.body.resume();
    // RFC 9113 §8.1. Not at once: some clients then wait for what they could not send.
    const timer = setTimeout(() => this.#close(codes.noError), lingerMs);
    timer.unref();
    this.body.once('close', () => clearTimeout(timer));
  }

  breakOff(): void {
    this.#close(codes.internalError);
  }

  drop(): void {
    this.#close(codes.cancel);
  }

  #close(code: number): void {
    if (this.#waiting !== null) clearImmediate(this.#waiting.flush);
    this.#waiting = null;
    if (!this.body.closed) this.body.close(code);
  }

  join(): never {
    throw new TypeError('HTTP/2 has no upgrade');
  }

  part(): void {
    this.drop();
  }

  get #isGone(): boolean {
    return this.body.destroyed || this.body.closed;
  }
}

/** By lower-case name, in order, without a prototype. */
function grouped(list: RawHeaders): OutgoingHttpHeaders {
  const headers = Object.create(null) as Record<string, string[]>;
  for (let at = 0; at + 1 < list.length; at += 2) {
    const name = (list[at] as string).toLowerCase();
    headers[name] ??= [];
    headers[name].push(list[at + 1] as string);
  }
  return headers;
}
