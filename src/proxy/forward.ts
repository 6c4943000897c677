import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { formatAuthority, parseAbsoluteForm, parseHostPort } from '../core/authority-form.ts';
import type { Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import type { Policy } from '../policy/policy.ts';
import type { DialError, DialHandle } from '../upstream/dialer.ts';
import type { OriginClient } from '../upstream/pool.ts';
import { NoConnectionError } from '../upstream/pool.ts';
import { authorize, identify, passedHere, vet } from './admit.ts';
import { Exchange } from './exchange.ts';
import type { RequestFacts } from './headers.ts';
import { readRequest, requestHeaders, responseHeaders, trailerPairs } from './headers.ts';
import type { HttpSession } from './http-session.ts';
import type { RefusalDetail } from './refuse.ts';
import { refusal, refusalBytes } from './refuse.ts';
import { standing } from './rejudge.ts';
import { isOwnPath, needsIdentity, ownPage, selfHost } from './self.ts';
import type { CutReason, Live, LiveDescription } from './services.ts';
import { addressText } from './tunnel.ts';
import { passUpgrade } from './upgrade.ts';
import { Upload } from './upload.ts';

/** 1xx answers passed on before the final one; an origin that sends more is broken. */
const maxInformational = 16;

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
  #path = '/';
  #dial: DialHandle | null = null;
  #origin: OriginClient | null = null;
  /** Where the request went; null while it is on no connection. */
  #address: Ip | null = null;
  #controller: Dispatcher.DispatchController | null = null;
  #retried = false;
  #informational = 0;
  #movedAt: number;
  #upgraded: Socket | null = null;
  /** Reads the byte counts of an upgraded connection off its socket. */
  #measure: (() => void) | null = null;
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
    this.#exchange = new Exchange(session.services, session.client, session.source);
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
    const target = this.#readTarget(facts);
    if (target !== null) return target();
    if (exchange.host === selfHost && exchange.port === 80) return this.#answerSelf();
    if (services.draining()) return this.#refuse('draining');
    const unidentified = this.#identify();
    if (unidentified !== null) return this.#refuse(unidentified);
    if (passedHere(facts.via)) return this.#refuse('loop');
    const blocked = authorize(exchange, 'http', tunnel !== null);
    if (blocked !== null) return this.#refuse(blocked);
    if (this.#response === null && !isWebSocket(facts, request.method)) {
      return this.#refuse('upgrade_not_allowed');
    }
    if (facts.expect !== undefined && facts.expect.toLowerCase() !== '100-continue') {
      return this.#refuse('bad_request', {
        status: 417,
        message: 'only Expect: 100-continue is understood',
      });
    }
    if ((facts.contentLength ?? 0) > this.#uploadCap()) return this.#refuse('upload_limit');
    if (this.#isFinalRecipient(facts)) return this.#answerFinal();
    if (this.#path === '*') {
      return this.#refuse('bad_request', { message: 'OPTIONS * is not passed on; name a path' });
    }
    this.#reach();
  }

  /** Sets the target of the exchange; returns how to leave if there is none to go to. */
  #readTarget(facts: RequestFacts): (() => void) | null {
    const exchange = this.#exchange;
    const url = this.#request.url ?? '';
    const { tunnel } = this.#session;
    exchange.scheme = 'http';
    if (url.startsWith('/') || url === '*') {
      if (tunnel === null) return () => this.#ownPage(url);
      return this.#insideTunnel(facts, url);
    }
    const parsed = parseAbsoluteForm(url, this.#request.method ?? '');
    if (typeof parsed === 'string') return () => this.#refuseTarget(parsed);
    if (facts.host !== undefined && typeof parseHostPort(facts.host, 80) === 'string') {
      return () => this.#refuse('bad_request', { message: 'the Host header is malformed' });
    }
    this.#setTarget(parsed.target, parsed.path);
    if (tunnel !== null && !this.#isTunnelTarget(parsed.target)) {
      const message = `the request names ${parsed.target.host}, which is not where this tunnel leads`;
      return () => this.#refuse('host_mismatch', { message });
    }
    return null;
  }

  /** Origin-form inside a tunnel: Host must name the tunnel's own target. */
  #insideTunnel(facts: RequestFacts, url: string): (() => void) | null {
    const { host, ip, port } = this.#session.tunnel?.exchange ?? {};
    const named = parseHostPort(facts.host ?? '', 80);
    if (facts.host !== undefined && typeof named === 'string') {
      return () => this.#refuse('bad_request', { message: `Host: ${named}` });
    }
    const path = parseAbsoluteForm(`http://x${url === '*' ? '' : url}`, this.#request.method ?? '');
    if (typeof path === 'string') return () => this.#refuseTarget(path);
    this.#setTarget({ host: host ?? '', ip: ip ?? null, port: port ?? 80 }, url);
    if (typeof named === 'string' || !this.#isTunnelTarget(named)) {
      return () => this.#refuse('host_mismatch');
    }
    return null;
  }

  #setTarget(target: { host: string; ip: Exchange['ip']; port: number }, path: string): void {
    const exchange = this.#exchange;
    exchange.host = target.host;
    exchange.ip = target.ip;
    exchange.port = target.port;
    exchange.path = path;
    this.#path = path;
  }

  #isTunnelTarget(target: { host: string; port: number }): boolean {
    const tunnel = this.#session.tunnel?.exchange;
    return tunnel?.host === target.host && tunnel.port === target.port;
  }

  #identify(): Reason | null {
    const { tunnel } = this.#session;
    if (tunnel !== null) return this.#inherit(tunnel.exchange);
    return identify(this.#exchange, this.#facts?.authorization, this.#facts?.authorizations ?? 0);
  }

  /** Inside a tunnel the identity is the tunnel's; it may have ended since. */
  #inherit(tunnel: Exchange): Reason | null {
    const exchange = this.#exchange;
    exchange.identity = tunnel.identity;
    exchange.agent = tunnel.agent;
    exchange.token = tunnel.token;
    if (tunnel.identity === null) return 'no_credentials';
    const { identifier } = exchange.services;
    const failure = identifier.recheck(exchange.policy, tunnel.identity, exchange.source);
    if (failure !== null) return failure === 'policy_changed' ? 'bad_credentials' : failure;
    const agent = exchange.policy.agents.get(tunnel.identity.agent.id);
    if (agent === undefined) return 'bad_credentials';
    exchange.identity = { ...tunnel.identity, agent };
    exchange.agent = agent;
    return null;
  }

  /** A request that is not for anywhere else: one of our own pages, or a misconfigured client. */
  #ownPage(url: string): void {
    const path = url.split('?', 1)[0] ?? '';
    if (!isOwnPath(path)) {
      return this.#refuse('bad_request', {
        message: 'this is a forward proxy: name the whole URL, or set it as HTTP_PROXY',
      });
    }
    this.#exchange.path = path;
    this.#path = path;
    this.#answerSelf();
  }

  #answerSelf(): void {
    const exchange = this.#exchange;
    const path = this.#path.split('?', 1)[0] ?? '/';
    const { method } = this.#request;
    if (method !== 'GET' && method !== 'HEAD') {
      return this.#refuse('bad_request', { message: 'these pages are only for GET' });
    }
    if (needsIdentity(path)) {
      const failure = this.#identify();
      if (failure !== null) return this.#refuse(failure);
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
    response.writeHead(page.status, {
      'Content-Type': page.type,
      'Content-Length': Buffer.byteLength(page.body),
      'Cache-Control': 'no-store',
    });
    response.end(page.body, () => this.#session.done(response.shouldKeepAlive));
  }

  /** RFC 9110 §7.6.2: OPTIONS or TRACE that may go no further is ours to answer. */
  #isFinalRecipient(facts: RequestFacts): boolean {
    const { method } = this.#request;
    return (method === 'OPTIONS' || method === 'TRACE') && facts.maxForwards === '0';
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
    const origin = this.#session.origin(`${exchange.host}:${exchange.port}`);
    this.#origin = origin;
    const peer = this.#response === null ? origin.supplied : origin.ready;
    if (peer !== null) {
      const granted = exchange.decision?.addresses ?? [];
      const verdict = exchange.services.guard.check(peer.ip, exchange.port ?? 80, granted);
      if (verdict !== 'ok') return this.#refuse(verdict);
      exchange.address = peer.text;
      this.#address = peer.ip;
      return this.#send();
    }
    vet(exchange, (vetted) => {
      if (this.#over) return;
      if (vetted.reason !== null) return this.#fail(vetted.reason, vetted.rcode);
      const startedAt = exchange.services.clock.monotonic();
      this.#dial = exchange.services.dialer.dial(
        vetted.addresses,
        exchange.port ?? 80,
        exchange.decision?.addresses ?? [],
        (error, socket, address) => {
          this.#dial = null;
          exchange.dialMs = Math.round((exchange.services.clock.monotonic() - startedAt) * 10) / 10;
          exchange.services.metrics.dial(exchange.dialMs);
          if (socket === null || address === null) {
            return this.#fail((error as DialError).reason, undefined);
          }
          socket.on('error', () => {});
          if (this.#over) {
            socket.destroy();
            return;
          }
          const text = addressText(address, exchange.port ?? 80);
          exchange.address = text;
          this.#address = address;
          origin.supply(socket, { ip: address, text });
          this.#send();
        },
      );
    });
  }

  /** Step 9, then the request itself. */
  #send(): void {
    const exchange = this.#exchange;
    const facts = this.#facts as RequestFacts;
    const request = this.#request;
    if (!exchange.recordOpen()) return this.#refuse('log_unavailable');
    const uploads = hasContent(facts);
    const headers = requestHeaders(request.rawHeaders, facts, {
      host: formatAuthority({
        host: exchange.host ?? '',
        ip: exchange.ip,
        port: exchange.port ?? 80,
      }).replace(/:80$/, ''),
      version: request.httpVersion,
      methodsLimited: exchange.decision?.entry?.methods !== undefined,
      maxForwards: decremented(facts.maxForwards, request.method),
    });
    if (this.#response === null) return this.#upgrade(headers);
    if (uploads && facts.expect !== undefined && !this.#retried && request.httpVersion === '1.1') {
      this.#response.writeContinue();
    }
    this.#origin?.dispatch(
      {
        path: this.#path,
        method: (request.method ?? 'GET') as Dispatcher.HttpMethod,
        headers,
        body: uploads ? new Upload(request, (bytes) => this.#countUpload(bytes)) : null,
      },
      this.#handler(),
    );
    if (!uploads) request.resume();
  }

  #upgrade(headers: readonly string[]): void {
    const upstream = this.#origin?.take() ?? null;
    const { socket } = this.#session;
    if (upstream === null) return this.#fail('connect_failed', undefined);
    const readBefore = socket.bytesRead;
    const writtenBefore = socket.bytesWritten;
    this.#measure = () => {
      this.#exchange.bytesUp = socket.bytesRead - readBefore;
      this.#exchange.bytesDown = socket.bytesWritten - writtenBefore;
    };
    // What the dialer gives is a socket, or has all that one has.
    this.#upgraded = upstream as Socket;
    upstream.once('close', () => this.#ended('origin'));
    passUpgrade(this.#request, socket, this.#head ?? Buffer.alloc(0), upstream, {
      path: this.#path,
      headers,
      onStatus: (status) => {
        this.#exchange.status = status;
      },
      onFailure: () => this.#ended('origin'),
    });
  }

  /** An upgraded connection is over, or never came to be one. */
  #ended(end: 'client' | 'origin'): void {
    if (this.#exchange.status === undefined) return this.#fail('connect_failed', undefined);
    this.#finish(false, end, undefined);
    this.#session.socket.destroySoon();
  }

  #handler(): Dispatcher.DispatchHandler {
    return {
      onRequestStart: (controller) => {
        this.#controller = controller;
        if (this.#over) controller.abort(new Error('the client is gone'));
      },
      onResponseStart: (controller, status, _headers, message) =>
        this.#onResponse(controller, status, message ?? ''),
      onResponseData: (controller, chunk) => this.#onBody(controller, chunk),
      onResponseEnd: (controller) => this.#onEnd(controller),
      onResponseError: (_controller, error) => this.#onFailure(error),
    };
  }

  #countUpload(bytes: number): void {
    this.#exchange.bytesUp += bytes;
    this.#moved();
    if (this.#exchange.bytesUp > this.#uploadCap()) this.#stop('upload_limit');
  }

  #onResponse(controller: Dispatcher.DispatchController, status: number, message: string): void {
    if (this.#over) return;
    this.#moved();
    const raw = rawList(controller.rawHeaders);
    if (status < 200) return this.#onInformational(status, message, raw);
    const { httpVersion, method } = this.#request;
    const headers = responseHeaders(raw, status, httpVersion === '1.1' && hasBody(method, status));
    if (headers === null || status > 599 || status === 407) {
      this.#fail('connect_failed', undefined);
      controller.abort(new Error('unusable response'));
      return;
    }
    this.#exchange.status = status;
    const response = this.#response as ServerResponse;
    // RFC 9112 §9.3: no persistent connection with an HTTP/1.0 client.
    if (httpVersion === '1.0') response.shouldKeepAlive = false;
    response.on('drain', () => controller.resume());
    response.writeHead(status, phrase(message), headers);
    // Not flushHeaders(), which would write the head as UTF-8 and change obs-text.
    if (hasBody(method, status)) response.write(nothing);
  }

  #onInformational(status: number, message: string, raw: readonly string[]): void {
    this.#informational++;
    if (this.#request.httpVersion !== '1.1' || this.#informational > maxInformational) return;
    if (status <= 101) return;
    const headers = responseHeaders(raw, status, false) ?? [];
    let text = `HTTP/1.1 ${status} ${phrase(message)}\r\n`;
    for (let at = 0; at + 1 < headers.length; at += 2) {
      text += `${headers[at]}: ${headers[at + 1]}\r\n`;
    }
    // Requests are served one at a time, so nothing of another response can stand in between.
    this.#session.socket.write(`${text}\r\n`, 'latin1');
  }

  #onBody(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return;
    this.#moved();
    this.#exchange.bytesDown += chunk.length;
    if (this.#response?.write(chunk) === false) controller.pause();
  }

  #onEnd(controller: Dispatcher.DispatchController): void {
    if (this.#over) return;
    if (this.#origin?.broken === true) return this.#onFailure(new Error('reset by the origin'));
    const trailers = trailerPairs(rawList(controller.rawTrailers));
    const response = this.#response as ServerResponse;
    if (trailers.length > 0) response.addTrailers(trailers);
    const whole = this.#request.complete;
    response.end(() => {
      // A body that the origin did not wait for must not be read as the next request.
      if (whole) this.#session.done(response.shouldKeepAlive);
      else this.#session.linger();
    });
    this.#finish(null, undefined, undefined);
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
      this.#session.socket.resetAndDestroy();
      return;
    }
    this.#fail('connect_failed', undefined);
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
    const before = this.#exchange.bytesUp + this.#exchange.bytesDown;
    this.#measure?.();
    if (this.#exchange.bytesUp + this.#exchange.bytesDown !== before) this.#movedAt = mono;
    if (this.#measure !== null && this.#exchange.bytesUp > this.#uploadCap()) {
      this.#endCut('upload_limit');
    }
  }

  rejudge(policy: Policy, now: number): void {
    if (this.#over || this.#exchange.identity === null || this.#exchange.decision === null) return;
    const verdict = standing(this.#exchange, policy, now, 'http', this.#address);
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
    this.#controller?.abort(new Error(why));
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
    const exchange = this.#exchange;
    if (exchange.identity === null || exchange.host === undefined) return null;
    return {
      id: exchange.id,
      agent: exchange.identity.agent.id,
      kind: 'request',
      host: exchange.host,
      port: exchange.port ?? 80,
      entry: exchange.decision?.entry?.at,
      client: exchange.client,
      address: exchange.address,
      token: exchange.token,
      task: exchange.identity.task,
      bytes_up: exchange.bytesUp,
      bytes_down: exchange.bytesDown,
      age: Math.round(now - exchange.startedAt) / 1000,
    };
  }

  #fail(reason: Reason, rcode: string | undefined): void {
    if (this.#over) return;
    if (reason === 'address_not_allowed' || reason === 'loop' || reason === 'overloaded') {
      return this.#refuse(reason);
    }
    const detail: RefusalDetail =
      rcode === undefined ? {} : rcode === 'TIMEOUT' ? { rcode, status: 504 } : { rcode };
    const answer = refusal(this.#exchange, reason, detail);
    this.#exchange.status = answer.status;
    this.#exchange.failed = reason;
    if (!this.#exchange.recordOpen(reason)) return this.#refuse('log_unavailable');
    this.#finish(false, undefined, undefined);
    this.#session.endWith(refusalBytes(answer), reason);
  }

  #refuseTarget(problem: string): void {
    this.#refuse('bad_target', { message: `bad target: ${problem}` });
  }

  #refuse(reason: Reason, detail: RefusalDetail = {}): void {
    if (this.#over) return;
    this.#over = true;
    this.#session.refuse(this.#exchange, reason, detail);
  }

  /** Writes the request line. `keep` null: the caller tells the session itself. */
  #finish(keep: boolean | null, end: string | undefined, cut: Reason | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#measure?.();
    if (cut !== undefined) this.#upgraded?.destroy();
    if (this.#exchange.decided) this.#exchange.finish('request', end, cut);
    else this.#exchange.abandon();
    if (keep !== null) this.#session.done(keep);
  }

  #moved(): void {
    this.#movedAt = this.#exchange.services.clock.monotonic();
  }

  #uploadCap(): number {
    const { decision, agent } = this.#exchange;
    return Math.min(decision?.upload ?? Infinity, agent?.limits.uploadPerTunnel ?? Infinity);
  }
}

/** The only upgrade that is passed on; `ws` counts as `http` (contract §7). */
function isWebSocket(facts: RequestFacts, method: string | undefined): boolean {
  return method === 'GET' && facts.upgrade?.toLowerCase() === 'websocket' && !hasContent(facts);
}

function hasContent(facts: RequestFacts): boolean {
  return facts.chunked || (facts.contentLength ?? 0) > 0;
}

function decremented(value: string | undefined, method: string | undefined): string | undefined {
  if (value === undefined || (method !== 'OPTIONS' && method !== 'TRACE')) return undefined;
  return /^[0-9]{1,6}$/.test(value) ? String(Math.max(0, Number(value) - 1)) : undefined;
}

/** RFC 9112 §6.3: these answers end with their head, whatever it says. */
function hasBody(method: string | undefined, status: number): boolean {
  return method !== 'HEAD' && status !== 204 && status !== 304;
}

/** RFC 9112 §4: what a reason phrase may hold. */
function phrase(message: string): string {
  return message.replace(/[^\t\x20-\x7e\x80-\xff]/g, '');
}

const nothing = Buffer.alloc(0);

/** undici's raw list, as Latin-1 strings. */
function rawList(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')));
}
