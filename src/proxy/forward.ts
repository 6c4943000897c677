import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import type { Policy } from '../policy/policy.ts';
import type { DialHandle } from '../upstream/dialer.ts';
import type { OriginClient, Peer } from '../upstream/pool.ts';
import { NoConnectionError } from '../upstream/pool.ts';
import { authorize, identify, passedHere } from './admit.ts';
import { breakOff } from './client-connection.ts';
import { dialOrigin } from './dial-origin.ts';
import { Exchange } from './exchange.ts';
import { atOnce } from './failure-limiter.ts';
import type { RequestFacts } from './headers.ts';
import { readRequest } from './headers.ts';
import type { HttpSession } from './http-session.ts';
import { inheritIdentity } from './inherited-identity.ts';
import { originHeaders, smuggled, smugglesMethod } from './origin-request.ts';
import { OriginResponse } from './origin-response.ts';
import type { RefusalDetail } from './refuse.ts';
import { isDestinationsFault, refusal, refusalBytes } from './refuse.ts';
import { standing } from './rejudge.ts';
import { hasContent, isFinalRecipient, unmetDemand } from './request-semantics.ts';
import { readTarget } from './request-target.ts';
import { needsIdentity, ownPage, sendPage } from './self.ts';
import type { CutReason, Live, LiveDescription } from './services.ts';
import { Upgraded } from './upgraded.ts';
import { Upload } from './upload.ts';

/**
 * The life of one plain HTTP request, in the order of contract §4: parse, identify, decide,
 * resolve, dial, record, then rebuild the request for the origin and stream both ways.
 */
export class Forward implements Live {
  readonly #session: HttpSession;
  readonly #request: IncomingMessage;
  /** Null for an upgrade, whose socket node:http has let go of. */
  readonly #response: ServerResponse | null;
  /** What the client sent behind the head of an upgrade. */
  readonly #head: Buffer | null;
  readonly #exchange: Exchange;
  #facts: RequestFacts | null = null;
  #dial: DialHandle | null = null;
  #origin: OriginClient | null = null;
  /** Where the request went; null while it is on no connection. */
  #address: Ip | null = null;
  #answer: OriginResponse | null = null;
  #retried = false;
  #movedAt: number;
  #upgraded: Upgraded | null = null;
  #over = false;

  constructor(
    session: HttpSession,
    request: IncomingMessage,
    response: ServerResponse | null,
    head: Buffer | null,
  ) {
    this.#session = session;
    this.#request = request;
    this.#response = response;
    this.#head = head;
    this.#exchange = new Exchange(session.services, session.from);
    this.#movedAt = this.#exchange.startedAt;
  }

  start(): void {
    const { services, tunnel } = this.#session;
    const request = this.#request;
    const exchange = this.#exchange;
    exchange.method = request.method;
    const facts = readRequest(request.rawHeaders, request.httpVersion);
    if (typeof facts === 'string') return this.#refuse('bad_request', { message: facts });
    this.#facts = facts;
    const scheme = tunnel?.inspected === true ? 'https' : 'http';
    const through = tunnel?.exchange ?? null;
    const target = readTarget(exchange, request.url ?? '', facts, through, scheme);
    if (target === 'self') return this.#answerSelf();
    if (target !== 'origin') return this.#refuse(target.reason, target.detail);
    if (services.draining()) return this.#refuse('draining');
    const unidentified = this.#identify();
    if (unidentified !== null) return this.#turnAway(unidentified);
    if (passedHere(facts.via)) return this.#refuse('loop');
    const blocked = authorize(exchange, scheme, tunnel !== null);
    if (blocked !== null) return this.#refuse(blocked);
    if (smugglesMethod(exchange, facts)) return this.#refuse('method_not_allowed', smuggled);
    const unmet = unmetDemand(facts, request.method, this.#response === null);
    if (unmet !== null) return this.#refuse(unmet.reason, unmet.detail);
    if ((facts.contentLength ?? 0) > exchange.uploadCap) return this.#refuse('upload_limit');
    if (isFinalRecipient(facts, request.method)) return this.#answerFinal();
    if (exchange.path === '*') {
      return this.#refuse('bad_request', { message: 'OPTIONS * is not passed on; name a path' });
    }
    this.#reach();
  }

  /** Inside a tunnel the identity is the tunnel's. */
  #identify(): Reason | null {
    const { tunnel } = this.#session;
    if (tunnel !== null) return inheritIdentity(this.#exchange, tunnel.exchange);
    return identify(this.#exchange, this.#facts?.authorization, this.#facts?.authorizations ?? 0);
  }

  /** Not identified. Inside a tunnel nothing is guessed: its credential was good, and has ended. */
  #turnAway(reason: Reason): void {
    const { services, tunnel, from } = this.#session;
    const farewell = tunnel === null ? services.failures.farewell(from, reason) : atOnce;
    this.#refuse(reason, {}, farewell);
  }

  #answerSelf(): void {
    const exchange = this.#exchange;
    const path = exchange.path?.split('?', 1)[0] ?? '/';
    const { method } = this.#request;
    if (method !== 'GET' && method !== 'HEAD') {
      return this.#refuse('bad_request', { message: 'these pages are only for GET' });
    }
    if (needsIdentity(path)) {
      const failure = this.#identify();
      if (failure !== null) return this.#turnAway(failure);
    }
    const page = ownPage(this.#session.services, path, exchange.identity);
    if (page === null) {
      return this.#refuse('bad_request', {
        message: `there is no ${path} here; GET / lists what there is`,
      });
    }
    const response = this.#response;
    if (response === null) return this.#refuse('upgrade_not_allowed');
    this.#over = true;
    exchange.abandon();
    this.#request.resume();
    sendPage(response, page, () => this.#session.done(response.shouldKeepAlive));
  }

  #answerFinal(): void {
    const exchange = this.#exchange;
    if (!exchange.recordOpen()) return this.#refuse('log_unavailable');
    exchange.status = 200;
    this.#request.resume();
    this.#response?.writeHead(200, { 'Content-Length': 0 });
    this.#response?.end();
    this.#finish(true, undefined, undefined);
  }

  /** Steps 5 and 6, unless this client connection holds a live one to the same origin. */
  #reach(): void {
    const exchange = this.#exchange;
    // A client may relay for several agents, and a connection may hold what its origin knows of one.
    const key = `${exchange.agent?.id} ${exchange.host}:${exchange.port}`;
    const origin = this.#session.origin(key);
    this.#origin = origin;
    const peer = this.#response === null ? origin.supplied : origin.ready;
    if (peer !== null) {
      const granted = exchange.decision?.addresses ?? [];
      const verdict = exchange.services.guard.check(peer.ip, exchange.port ?? 80, granted);
      if (verdict !== 'ok') return this.#refuse(verdict);
      return this.#use(peer);
    }
    this.#dial = dialOrigin(exchange, this.#session.tunnel, {
      isOver: () => this.#over,
      failed: (reason, detail) => this.#fail(reason, detail),
      connected: (socket, dialled) => {
        origin.supply(socket, dialled);
        this.#use(dialled);
      },
    });
  }

  #use(peer: Peer): void {
    this.#exchange.address = peer.text;
    this.#address = peer.ip;
    this.#send();
  }

  /** Step 9, then the request itself. */
  #send(): void {
    const exchange = this.#exchange;
    const facts = this.#facts as RequestFacts;
    const request = this.#request;
    if (!exchange.recordOpen()) return this.#refuse('log_unavailable');
    const headers = originHeaders(request, facts, exchange);
    if (this.#response === null) return this.#upgrade(headers);
    const uploads = hasContent(facts);
    if (uploads && facts.expect !== undefined && !this.#retried && request.httpVersion === '1.1') {
      this.#response.writeContinue();
    }
    this.#answer = this.#awaitAnswer(this.#response, this.#origin as OriginClient);
    this.#origin?.dispatch(
      {
        path: exchange.path ?? '/',
        method: (request.method ?? 'GET') as Dispatcher.HttpMethod,
        headers,
        body: uploads ? new Upload(request, (bytes) => this.#countUpload(bytes)) : null,
      },
      this.#answer,
    );
    if (!uploads) request.resume();
  }

  #upgrade(headers: readonly string[]): void {
    const upstream = this.#origin?.take() ?? null;
    if (upstream === null) return this.#fail('connect_failed');
    this.#upgraded = new Upgraded(this.#exchange, this.#session.socket, upstream);
    const head = this.#head ?? Buffer.alloc(0);
    this.#upgraded.begin(this.#request, head, headers, () => this.#upgradeEnded());
  }

  /** An upgraded connection is over at the origin, or never came to be one. */
  #upgradeEnded(): void {
    if (this.#exchange.status === undefined) return this.#fail('connect_failed');
    this.#finish(false, 'origin', undefined);
    this.#session.socket.destroySoon();
  }

  #awaitAnswer(response: ServerResponse, origin: OriginClient): OriginResponse {
    return new OriginResponse({
      session: this.#session,
      exchange: this.#exchange,
      request: this.#request,
      response,
      origin,
      isOver: () => this.#over,
      moved: () => this.#moved(),
      failed: (error) => this.#onFailure(error),
      ended: () => this.#finish(null, undefined, undefined),
    });
  }

  #countUpload(bytes: number): void {
    this.#exchange.bytesUp += bytes;
    this.#moved();
    if (this.#exchange.bytesUp > this.#exchange.uploadCap) this.#stop('upload_limit');
  }

  #onFailure(error: Error): void {
    if (this.#over) return;
    if (error instanceof NoConnectionError && !this.#retried) {
      // The kept-alive connection ended before anything was sent on it.
      this.#retried = true;
      this.#reach();
      return;
    }
    if (this.#response?.headersSent === true) {
      // A cut-off body must not look complete (RFC 9112 §8).
      this.#exchange.failed = 'connect_failed';
      this.#finish(false, 'origin', undefined);
      breakOff(this.#session.socket);
      return;
    }
    this.#fail('connect_failed');
  }

  /** The client went away. */
  clientGone(): void {
    if (this.#over) return;
    if (this.#exchange.decision?.verdict === 'allow') this.#exchange.recordOpen();
    this.#finish(false, 'client', undefined);
    this.#upgraded?.destroySoon();
    this.#release('the client is gone');
  }

  /** The client's connection can take more; for one whose socket node:http has let go of. */
  onDrain(): void {
    this.#response?.emit('drain');
  }

  /** The client has something of an answer; what leaves it again will be noticed by writing. */
  get answering(): boolean {
    return this.#response?.headersSent === true;
  }

  /** The whole request is here, its body too. */
  get received(): boolean {
    return this.#request.complete;
  }

  /** What the client sent for a body is none: 400 if nothing was answered yet. */
  broken(): void {
    this.#stop('bad_request');
  }

  tick(mono: number, now: number): void {
    if (this.#over) return;
    const { identity, decision } = this.#exchange;
    if (identity !== null && now >= identity.expiresAt) return this.cut('credential_expired');
    if (decision !== null && now >= decision.until) {
      this.rejudge(this.#session.services.policy(), now);
    }
    this.#watchUpgrade(mono);
    if (mono - this.#movedAt >= this.#session.services.limits.idleTimeout) this.cut('idle_timeout');
  }

  #watchUpgrade(mono: number): void {
    if (this.#upgraded === null) return;
    if (this.#upgraded.measure()) this.#movedAt = mono;
    if (this.#exchange.bytesUp > this.#exchange.uploadCap) this.#endCut('upload_limit');
  }

  rejudge(policy: Policy, now: number): void {
    if (this.#over || this.#exchange.identity === null || this.#exchange.decision === null) return;
    const scheme = this.#exchange.scheme === 'https' ? 'https' : 'http';
    const verdict = standing(this.#exchange, policy, now, scheme, this.#address);
    if (typeof verdict === 'string') this.cut(verdict);
  }

  cut(reason: CutReason): void {
    this.#stop(reason);
  }

  /** First the last word to the client, then the origin: undici reports an abort at once, as a failure. */
  #stop(reason: Reason): void {
    if (this.#over) return;
    this.#endCut(reason);
    this.#release(reason);
  }

  #release(why: string): void {
    this.#dial?.cancel();
    this.#answer?.abort(why);
  }

  /** Ends a request that is not allowed to go on: with a refusal if nothing was answered yet. */
  #endCut(reason: Reason): void {
    if (this.#response?.headersSent === false && this.#exchange.decided) {
      const answer = refusal(this.#exchange, reason);
      this.#exchange.status = answer.status;
      this.#finish(false, reason, reason);
      this.#session.endWith(refusalBytes(answer), reason);
      return;
    }
    if (!this.#exchange.decided) return this.#refuse(reason);
    this.#finish(false, reason, reason);
    this.#session.socket.destroy();
  }

  describe(now: number): LiveDescription | null {
    return this.#exchange.describe('request', now, this.#exchange);
  }

  #fail(reason: Reason, detail: RefusalDetail = {}): void {
    if (this.#over) return;
    if (!isDestinationsFault(reason)) return this.#refuse(reason);
    const answer = refusal(this.#exchange, reason, detail);
    this.#exchange.status = answer.status;
    this.#exchange.failed = reason;
    if (!this.#exchange.recordOpen(reason)) return this.#refuse('log_unavailable');
    this.#finish(false, undefined, undefined);
    this.#session.endWith(refusalBytes(answer), reason);
  }

  #refuse(reason: Reason, detail: RefusalDetail = {}, farewell = atOnce): void {
    if (this.#over) return;
    this.#over = true;
    this.#session.refuse(this.#exchange, reason, detail, farewell);
  }

  /** Writes the request line. `keep` null: the caller tells the session itself. */
  #finish(keep: boolean | null, end: string | undefined, cut: Reason | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#upgraded?.measure();
    if (cut !== undefined) this.#upgraded?.destroy();
    if (this.#exchange.decided) this.#exchange.finish('request', end, cut);
    else this.#exchange.abandon();
    if (keep !== null) this.#session.done(keep);
  }

  #moved(): void {
    this.#movedAt = this.#exchange.services.clock.monotonic();
  }
}
