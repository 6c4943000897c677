import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import type { Policy } from '../policy/policy.ts';
import type { DialHandle } from '../upstream/dialer.ts';
import type { OriginClient, Peer } from '../upstream/pool.ts';
import { NoConnectionError } from '../upstream/pool.ts';
import { authorize, identify, passedHere, requestScheme } from './admit.ts';
import { Exchange } from './exchange.ts';
import { atOnce } from './failure-limiter.ts';
import { HeaderView } from './header-view.ts';
import type { RequestFacts } from './headers.ts';
import { readRequest } from './headers.ts';
import type { Inbound, Session } from './inbound.ts';
import { inheritIdentity } from './inherited-identity.ts';
import { originHeaders } from './origin-request.ts';
import { OriginResponse } from './origin-response.ts';
import { type Prepared, prepare } from './prepare.ts';
import type { RefusalDetail } from './refuse.ts';
import { isDestinationsFault, refusal, refuseExchange } from './refuse.ts';
import { standing } from './rejudge.ts';
import { isFinalRecipient, unmetDemand } from './request-semantics.ts';
import { readTarget } from './request-target.ts';
import { needsIdentity, ownPage, sendPage } from './self.ts';
import type { CutReason, Live, LiveDescription } from './services.ts';
import type { Upgraded } from './upgraded.ts';
import { Upload } from './upload.ts';

const unprepared: Prepared = { body: null, injected: [] };

/**
 * The life of one HTTP request, plain or inspected, in the order of contract §4: parse, identify,
 * decide, resolve, dial, record, then rebuild the request for the origin and stream both ways.
 */
export class Forward implements Live {
  readonly #session: Session;
  readonly #inbound: Inbound;
  readonly #exchange: Exchange;
  #facts: RequestFacts | null = null;
  #dial: DialHandle | null = null;
  /** Where the request went; null while it is on no connection. */
  #address: Ip | null = null;
  #answer: OriginResponse | null = null;
  #prepared: Prepared = unprepared;
  /** When a body that is waited for must be here, monotonic milliseconds; Infinity while none is. */
  #readingUntil = Infinity;
  #retried = false;
  #movedAt: number;
  #upgraded: Upgraded | null = null;
  /** The `open` line is on its way to the log. */
  #recording = false;
  /** What ended the request meanwhile. */
  #ending: (() => void) | null = null;
  #over = false;

  constructor(session: Session, inbound: Inbound) {
    this.#session = session;
    this.#inbound = inbound;
    this.#exchange = new Exchange(session.services, session.from);
    this.#movedAt = this.#exchange.startedAt;
  }

  start(): void {
    const { services, tunnel } = this.#session;
    const { headers, version, hasBody, method, isUpgrade } = this.#inbound;
    const exchange = this.#exchange;
    exchange.method = method;
    if (tunnel !== null) exchange.comesThrough(tunnel.exchange);
    const facts = readRequest(headers, version, hasBody);
    if (typeof facts === 'string') return this.#refuse('bad_request', { message: facts });
    this.#facts = facts;
    const scheme = tunnel?.inspected === true ? 'https' : 'http';
    const through = tunnel?.exchange ?? null;
    const target = readTarget(exchange, this.#inbound.target, facts, through, scheme);
    if (target === 'self') return this.#answerSelf();
    if (target !== 'origin') return this.#refuse(target.reason, target.detail);
    if (services.draining()) return this.#refuse('draining');
    const unidentified = this.#identify();
    if (unidentified !== null) return this.#turnAway(unidentified);
    if (passedHere(facts.via)) return this.#refuse('loop');
    exchange.content = new HeaderView(headers, facts);
    const blocked = authorize(exchange, scheme, tunnel !== null);
    if (blocked !== null) return this.#refuse(blocked);
    const unmet = unmetDemand(facts, method, isUpgrade);
    if (unmet !== null) return this.#refuse(unmet.reason, unmet.detail);
    if (isFinalRecipient(facts, method)) return this.#answerFinal();
    if (exchange.path === '*') {
      return this.#refuse('bad_request', { message: 'OPTIONS * is not passed on; name a path' });
    }
    this.#prepare(facts);
  }

  #prepare(facts: RequestFacts): void {
    const { headTimeout } = this.#session.services.limits;
    prepare({
      exchange: this.#exchange,
      inbound: this.#inbound,
      facts,
      isOver: () => this.#over,
      reading: (isReading) => {
        this.#readingUntil = isReading ? this.#exchange.startedAt + headTimeout : Infinity;
      },
      counted: (bytes) => this.#countUpload(bytes),
      done: (prepared) => {
        if ('reason' in prepared) return this.#refuse(prepared.reason, prepared.detail);
        this.#prepared = prepared;
        this.#reach();
      },
    });
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
    const { method, isUpgrade } = this.#inbound;
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
    if (isUpgrade) return this.#refuse('upgrade_not_allowed');
    this.#over = true;
    exchange.abandon();
    this.#inbound.body.resume();
    sendPage(this.#inbound, page);
  }

  #answerFinal(): void {
    const exchange = this.#exchange;
    if (!exchange.recordOpen()) return this.#refuse('log_unavailable');
    exchange.status = 200;
    this.#inbound.body.resume();
    this.#inbound.answer(200, 'OK', ['Content-Length', '0'], true);
    this.#finish(undefined, undefined);
    this.#inbound.end([]);
  }

  /** Steps 5 and 6, unless this client connection holds a live one to the same origin. */
  #reach(): void {
    const { origins } = this.#session;
    const waiter = {
      exchange: this.#exchange,
      isOver: () => this.#over,
      failed: (reason: Reason, detail?: RefusalDetail) => this.#fail(reason, detail),
    };
    if (this.#inbound.isUpgrade) {
      const connected = (socket: Duplex, peer: Peer): void =>
        this.#reached(
          peer,
          () => this.#upgrade(socket),
          () => socket.destroy(),
        );
      this.#dial = origins.reachForUpgrade({ ...waiter, connected });
    } else {
      const leased = (origin: OriginClient, peer: Peer): void =>
        this.#reached(
          peer,
          () => this.#send(origin),
          () => origin.release(),
        );
      this.#dial = origins.reach({ ...waiter, leased });
    }
  }

  /** The destination is reached: the `open` line, before it hears of the request. */
  #reached(peer: Peer, go: () => void, giveUp: () => void): void {
    this.#exchange.address = peer.text;
    this.#address = peer.ip;
    // Of a second attempt the line is there.
    if (this.#exchange.decided) return go();
    this.#recording = true;
    this.#exchange.commitOpen((written) => {
      this.#recording = false;
      const ending = this.#ending;
      if (written && ending === null) return go();
      giveUp();
      if (written) ending?.();
      else this.#refuse('log_unavailable');
    });
  }

  /** Step 9, then the request itself. */
  #send(origin: OriginClient): void {
    const exchange = this.#exchange;
    const inbound = this.#inbound;
    const facts = this.#facts as RequestFacts;
    const uploads = facts.hasBody && this.#prepared.body === null;
    if (uploads && facts.expect !== undefined && !this.#retried && inbound.version !== '1.0') {
      inbound.goAhead();
    }
    this.#answer = this.#awaitAnswer(origin);
    origin.dispatch(
      {
        path: exchange.path ?? '/',
        method: inbound.method as Dispatcher.HttpMethod,
        headers: originHeaders(
          inbound,
          facts,
          exchange,
          this.#prepared.injected,
          origin.multiplexes,
        ),
        body: uploads
          ? new Upload(inbound, (bytes) => this.#countUpload(bytes))
          : this.#prepared.body,
      },
      this.#answer,
    );
    if (!uploads) inbound.body.resume();
  }

  #upgrade(upstream: Duplex): void {
    const facts = this.#facts as RequestFacts;
    const { injected } = this.#prepared;
    const headers = originHeaders(this.#inbound, facts, this.#exchange, injected, false);
    this.#upgraded = this.#inbound.join(this.#exchange, upstream, headers, () =>
      this.#upgradeEnded(),
    );
  }

  /** An upgraded connection is over at the origin, or never came to be one. */
  #upgradeEnded(): void {
    if (this.#over) return;
    if (this.#exchange.status === undefined) return this.#fail('connect_failed');
    this.#finish('origin', undefined);
    this.#inbound.part();
  }

  #awaitAnswer(origin: OriginClient): OriginResponse {
    return new OriginResponse({
      exchange: this.#exchange,
      inbound: this.#inbound,
      origin,
      isOver: () => this.#over,
      moved: () => this.#moved(),
      failed: (error) => this.#onFailure(error),
      ended: () => this.#finish(undefined, undefined),
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
    if (this.#inbound.answered) {
      // A cut-off body must not look complete (RFC 9112 §8).
      this.#exchange.failed = 'connect_failed';
      this.#finish('origin', undefined);
      this.#inbound.breakOff();
      return;
    }
    this.#fail('connect_failed');
  }

  /** The client went away. */
  clientGone(): void {
    if (this.#over) return;
    if (this.#recording) return this.#afterwards(() => this.clientGone());
    if (this.#exchange.decision?.verdict === 'allow') this.#exchange.recordOpen();
    this.#finish('client', undefined);
    this.#upgraded?.destroySoon();
    this.#release('the client is gone');
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
    if (mono >= this.#readingUntil) return this.#stop('bad_request');
    if (mono - this.#movedAt >= this.#session.services.limits.idleTimeout) this.cut('idle_timeout');
  }

  #watchUpgrade(mono: number): void {
    if (this.#upgraded === null) return;
    if (this.#upgraded.measure()) this.#movedAt = mono;
    if (this.#exchange.bytesUp > this.#exchange.uploadCap) this.#endCut('upload_limit');
  }

  rejudge(policy: Policy, now: number): void {
    if (this.#over || this.#exchange.identity === null || this.#exchange.decision === null) return;
    const scheme = requestScheme(this.#exchange);
    const verdict = standing(this.#exchange, policy, now, scheme, this.#address);
    if (typeof verdict === 'string') this.cut(verdict);
  }

  cut(reason: CutReason): void {
    this.#stop(reason);
  }

  /** First the last word to the client, then the origin: undici reports an abort at once, as a failure. */
  #stop(reason: Reason): void {
    if (this.#over) return;
    if (this.#recording) return this.#afterwards(() => this.#stop(reason));
    this.#endCut(reason);
    this.#release(reason);
  }

  /** Its `open` line is on the way to the log: whatever ends the request comes behind it. */
  #afterwards(end: () => void): void {
    this.#ending ??= end;
  }

  #release(why: string): void {
    this.#dial?.cancel();
    this.#answer?.abort(why);
  }

  /** Ends a request that is not allowed to go on: with a refusal if nothing was answered yet. */
  #endCut(reason: Reason): void {
    if (!this.#exchange.decided) return this.#refuse(reason);
    if (this.#inbound.answered || this.#inbound.isUpgrade) {
      this.#finish(reason, reason);
      this.#inbound.drop();
      return;
    }
    const answer = refusal(this.#exchange, reason);
    this.#exchange.status = answer.status;
    this.#finish(reason, reason);
    this.#inbound.refuse(answer, atOnce);
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
    this.#finish(undefined, undefined);
    this.#inbound.refuse(answer, atOnce);
  }

  #refuse(reason: Reason, detail: RefusalDetail = {}, farewell = atOnce): void {
    if (this.#over) return;
    this.#over = true;
    const answer = refuseExchange(this.#exchange, reason, detail, farewell.answered);
    this.#inbound.refuse(answer, farewell);
  }

  /** Writes the request line. */
  #finish(end: string | undefined, cut: Reason | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#upgraded?.measure();
    if (cut !== undefined) this.#upgraded?.destroy();
    if (this.#exchange.decided) this.#exchange.finish('request', end, cut);
    else this.#exchange.abandon();
  }

  #moved(): void {
    this.#movedAt = this.#exchange.services.clock.monotonic();
  }
}
