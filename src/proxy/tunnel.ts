import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { parseAuthority } from '../core/authority-form.ts';
import { addressText, type Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import { type ConnectHead, connectHeadProblem } from '../core/request-head.ts';
import type { Decision } from '../policy/decide.ts';
import { HTTP, HTTPS, TCP } from '../policy/decide.ts';
import type { Policy } from '../policy/policy.ts';
import type { DialError, DialHandle } from '../upstream/dialer.ts';
import type { Peer } from '../upstream/pool.ts';
import { authorize, identify, passedHere, vet } from './admit.ts';
import type { ClientConnection, Sink } from './client-connection.ts';
import { deadSink } from './client-connection.ts';
import { Exchange } from './exchange.ts';
import { atOnce } from './failure-limiter.ts';
import { HelloGate } from './hello-gate.ts';
import { InnerHttp, type TunnelEnd } from './inner-http.ts';
import { inspect } from './inspect.ts';
import type { RefusalDetail } from './refuse.ts';
import { isDestinationsFault, refusal, refusalBytes, resolveDetail } from './refuse.ts';
import { standing } from './rejudge.ts';
import { Relay } from './relay.ts';
import { selfHost } from './self.ts';
import type { CutReason, Live, LiveDescription, Services } from './services.ts';

const established = 'HTTP/1.1 200 Connection established\r\n\r\n';
/** Bytes a client may send before its tunnel is open; more waits in the kernel. */
const maxEarlyBytes = 65_536;

/**
 * opening: parse … dial · recording: the open line · gate: holding the first bytes · relay ·
 * shake: ending the client's TLS, to inspect it · http: node:http serves what is inside · over.
 */
type Phase = 'opening' | 'recording' | 'gate' | 'relay' | 'shake' | 'http' | 'over';

/**
 * The life of one CONNECT, top to bottom in the order of contract §4. It owns both sockets from
 * the head of the request to the close line; every way out passes `#over`.
 */
export class Tunnel implements Sink, Live {
  readonly exchange: Exchange;
  /** The client's TLS ends here: requests inside are https. */
  inspected = false;
  readonly #services: Services;
  readonly #client: ClientConnection;
  #phase: Phase = 'opening';
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #clientEnded = false;
  #dial: DialHandle | null = null;
  #upstream: Duplex | null = null;
  #address: Ip | null = null;
  #gate: HelloGate | null = null;
  #gateUntil = 0;
  #relay: Relay | null = null;
  #inner: InnerHttp | null = null;
  /** The client showed a ClientHello for the target. */
  #tls = false;
  /** The tunnel counts as open. */
  #opened = false;
  /** What ended the tunnel while its open line was on its way to the log. */
  #ending: TunnelEnd | null = null;

  constructor(services: Services, client: ClientConnection) {
    this.#services = services;
    this.#client = client;
    this.exchange = new Exchange(services, client);
    client.sink = this;
    services.live.add(this);
  }

  /** Steps 2 to 6: parse, identify, decide, resolve, dial. `early` is what came behind the head. */
  start(head: ConnectHead, early: Buffer): void {
    const exchange = this.exchange;
    exchange.method = 'CONNECT';
    if (early.length > 0) this.onData(early);
    if (this.#services.draining()) return this.#refuse('draining');
    const target = parseAuthority(head.target);
    if (typeof target === 'string')
      return this.#refuse('bad_target', { message: `bad target: ${target}` });
    exchange.host = target.host;
    exchange.ip = target.ip;
    exchange.port = target.port;
    const problem = connectHeadProblem(head);
    if (problem !== null) return this.#refuse('bad_request', { message: problem });
    const unidentified = identify(exchange, head.authorization, head.authorizations);
    if (unidentified !== null) {
      const farewell = this.#services.failures.farewell(this.#client, unidentified);
      return this.#refuse(unidentified, {}, farewell);
    }
    if (passedHere(head.via)) return this.#refuse('loop');
    if (target.host === selfHost && target.port === 80) return this.#serveSelf();
    const blocked = authorize(exchange, 'connect', false);
    exchange.scheme = exchange.decision?.entry?.scheme;
    if (blocked !== null) return this.#refuse(blocked);
    vet(exchange, (vetted) => {
      if (this.#phase !== 'opening') return;
      if (vetted.reason !== null) return this.#fail(vetted.reason, vetted.rcode);
      this.#open(vetted.addresses);
    });
  }

  #open(addresses: readonly Ip[]): void {
    const { exchange } = this;
    const startedAt = this.#services.clock.monotonic();
    this.#dial = this.#services.dialer.dial(
      addresses,
      exchange.port ?? 0,
      exchange.decision?.addresses ?? [],
      (error, socket, address) => {
        this.#dial = null;
        exchange.dialMs = Math.round((this.#services.clock.monotonic() - startedAt) * 10) / 10;
        this.#services.metrics.dial(exchange.dialMs);
        if (socket === null) this.#fail((error as DialError).reason, undefined);
        else this.#connected(socket, address);
      },
    );
  }

  /** Steps 7 and 9: the open line first, then the 200, then the gate or the relay. */
  #connected(upstream: Duplex, address: Ip | null): void {
    const { exchange } = this;
    upstream.on('error', ignore);
    if (this.#phase !== 'opening') {
      upstream.destroy();
      return;
    }
    this.#upstream = upstream;
    this.#address = address;
    if (address !== null) exchange.address = addressText(address, exchange.port ?? 0);
    exchange.status = 200;
    this.#phase = 'recording';
    exchange.commitOpen((written) => this.#recorded(written));
  }

  #recorded(written: boolean): void {
    const { exchange } = this;
    exchange.status = undefined;
    this.#phase = 'opening';
    if (!written) {
      this.#upstream?.destroy();
      return this.#refuse('log_unavailable');
    }
    this.#services.metrics.tunnelOpened();
    this.#opened = true;
    const ending = this.#ending;
    if (ending !== null) return this.#over(ending.end, ending.cut);
    this.#client.socket.write(established, 'latin1');
    this.#enter(exchange.decision?.schemes ?? 0);
  }

  #enter(schemes: number): void {
    if ((schemes & TCP) !== 0) return this.#beginRelay(this.#takeEarly());
    if (schemes === HTTP) return this.#beginHttp();
    this.#phase = 'gate';
    this.#gate = new HelloGate(this.exchange.host ?? '', this.exchange.ip, (schemes & HTTP) !== 0);
    this.#gateUntil = this.#services.clock.monotonic() + this.#services.limits.helloTimeout;
    if (this.#client.socket.isPaused()) this.#client.socket.resume();
    for (const chunk of this.#early.splice(0)) {
      this.#early.push(chunk);
      this.#atGate(chunk);
      if (this.#phase !== 'gate') return;
    }
    if (this.#clientEnded) this.#endedAtGate();
  }

  /** The first bytes are held until they are known to be a ClientHello for the target. */
  #atGate(chunk: Buffer): void {
    const gate = this.#gate as HelloGate;
    const verdict = gate.push(chunk);
    if (verdict === 'more') return;
    this.exchange.sni = gate.sni;
    if (verdict === 'http') return this.#beginHttp();
    if (verdict !== 'ok') return this.#violation(verdict);
    this.#tls = true;
    if (this.exchange.decision?.inspect === true) this.#beginInspection();
    else this.#beginRelay(this.#takeEarly(), gate.length);
  }

  /** FIN before a whole hello: who sent nothing has only gone away, anything else is no TLS. */
  #endedAtGate(): void {
    if (this.#early.length === 0) this.#over('client', undefined);
    else this.#violation('not_tls');
  }

  /** A tunnel whose first bytes are not what its entry admits: cut, or only reported. */
  #violation(reason: Reason): void {
    if (this.exchange.agent?.mode === 'report') {
      this.exchange.reported = reason;
      return this.#beginRelay(this.#takeEarly());
    }
    this.#over(reason, reason);
  }

  /** Step 8. */
  #beginRelay(held: Buffer, judged = 0): void {
    const upstream = this.#upstream as Duplex;
    this.#gate = null;
    this.#phase = 'relay';
    const { exchange } = this;
    this.#relay = new Relay(this.#client, upstream, {
      uploadCap: exchange.uploadCap,
      watch: judged > 0 ? { host: exchange.host ?? '', ip: exchange.ip } : null,
      done: (end, cut) => this.#over(end, cut),
    });
    this.#relay.begin(held, judged, this.#clientEnded);
  }

  #beginHttp(): void {
    this.#gate = null;
    this.#serve(this.#client.detach(), this.#takeEarly());
  }

  /** Step 8, where the entry demands inspection; the deadline of the hello is the handshake's too. */
  #beginInspection(): void {
    this.#gate = null;
    this.#phase = 'shake';
    this.inspected = true;
    inspect(this.exchange, this.#client.detach(), this.#takeEarly(), {
      ready: (inner) => {
        if (this.#phase === 'shake') this.#serve(inner, nothing);
      },
      failed: ({ end, cut }) => this.#over(end, cut),
    });
  }

  #serve(socket: Socket, first: Buffer): void {
    this.#phase = 'http';
    const inner = new InnerHttp(socket, first);
    this.#inner = inner;
    socket.once('close', () => this.#over(inner.end.end, inner.end.cut));
    this.#services.http.serve(socket, first, this.#client, this);
  }

  /** CONNECT sallyport.internal:80: our own pages, for clients that tunnel plain HTTP too. */
  #serveSelf(): void {
    this.#client.socket.write(established, 'latin1');
    this.#beginHttp();
  }

  /** The already dialled and vetted connection, for the first request inside. */
  takeUpstream(): { socket: Duplex; peer: Peer } | null {
    const socket = this.#upstream;
    const ip = this.#address;
    if (socket === null || ip === null) return null;
    this.#upstream = null;
    return { socket, peer: { ip, text: addressText(ip, this.exchange.port ?? 0) } };
  }

  /** Ends a tunnel with HTTP inside for what the client sent in it. */
  cutHttp(reason: Reason): void {
    if (this.#phase === 'http') this.#over(reason, reason);
  }

  /** A request inside was refused, or failed: the tunnel ends with that answer, as its close line says. */
  endAfterRefusal(reason: Reason): void {
    this.#inner?.refused(reason);
  }

  onData(chunk: Buffer): void {
    if (this.#phase === 'gate') {
      this.#early.push(chunk);
      this.#atGate(chunk);
      return;
    }
    this.#early.push(chunk);
    this.#earlyBytes += chunk.length;
    if (this.#earlyBytes >= maxEarlyBytes) this.#client.socket.pause();
  }

  onEnd(): void {
    this.#clientEnded = true;
    if (this.#phase === 'gate') this.#endedAtGate();
  }

  onDrain(): void {}

  /** The client vanished before the relay began. */
  onClose(): void {
    if (this.#phase === 'opening') {
      this.#dial?.cancel();
      if (this.exchange.decision?.verdict === 'allow') this.exchange.recordOpen();
    }
    this.#over('client', undefined);
  }

  tick(mono: number, now: number): void {
    const { identity, decision } = this.exchange;
    if (identity !== null && now >= identity.expiresAt) return this.cut('credential_expired');
    if (decision !== null && now >= decision.until) this.rejudge(this.#services.policy(), now);
    if (this.#phase === 'gate') {
      if (this.#upstream?.destroyed === true) return this.#over('origin', undefined);
      if (mono >= this.#gateUntil) return this.#violation('hello_timeout');
    }
    if (this.#phase === 'shake' && mono >= this.#gateUntil) {
      return this.#over('hello_timeout', 'hello_timeout');
    }
    this.#relay?.keepAlive(mono - this.exchange.startedAt);
    if (this.#relay?.idleFor(mono, this.#services.limits.idleTimeout) === true) {
      this.cut('idle_timeout');
    }
  }

  rejudge(policy: Policy, now: number): void {
    const { exchange } = this;
    if (exchange.identity === null || exchange.decision === null || this.#phase === 'over') return;
    const verdict = standing(exchange, policy, now, 'connect', this.#address);
    if (typeof verdict === 'string') return this.cut(verdict);
    if (!this.#stillAdmitted(verdict)) this.cut('policy_changed');
  }

  /** What flows already must still be among the schemes that the entry admits. */
  #stillAdmitted(decision: Decision): boolean {
    if (this.exchange.agent?.mode === 'report' || (decision.schemes & TCP) !== 0) return true;
    if (this.inspected) return (decision.schemes & HTTPS) !== 0;
    if (this.#phase === 'http') return (decision.schemes & HTTP) !== 0;
    if (this.#phase !== 'relay') return true;
    // What flows unread cannot be inspected from here on.
    return this.#tls && (decision.schemes & HTTPS) !== 0 && !decision.inspect;
  }

  cut(reason: CutReason): void {
    if (this.#phase === 'opening') {
      this.#dial?.cancel();
      return this.#refuse(reason === 'draining' ? 'draining' : (reason as Reason));
    }
    this.#over(reason, reason as Reason);
  }

  describe(now: number): LiveDescription | null {
    return this.exchange.describe('tunnel', now, this.#relay ?? this.exchange);
  }

  /** The destination, or its address, says no after the policy said yes. */
  #fail(reason: Reason, rcode: string | undefined): void {
    if (this.#phase !== 'opening') return;
    if (!isDestinationsFault(reason)) return this.#refuse(reason);
    const answer = refusal(this.exchange, reason, resolveDetail(rcode));
    this.exchange.status = answer.status;
    if (!this.exchange.recordOpen(reason)) return this.#refuse('log_unavailable');
    this.#leave(refusalBytes(answer));
  }

  #refuse(reason: Reason, detail: RefusalDetail = {}, farewell = atOnce): void {
    if (this.#phase === 'over') return;
    const answer = refusal(this.exchange, reason, detail);
    this.exchange.recordBlock(reason, farewell.answered ? answer.status : undefined);
    this.#leave(refusalBytes(answer), farewell);
  }

  /** The one way out before the 200: say why and close. */
  #leave(answer: string, farewell = atOnce): void {
    this.#phase = 'over';
    this.exchange.abandon();
    this.#early = [];
    this.#services.live.delete(this);
    this.#client.sink = deadSink;
    farewell.end(this.#client.socket, answer);
  }

  /** The one way out after the 200: both sockets go, the close line is written. */
  #over(end: string, cut: Reason | undefined): void {
    if (this.#phase === 'over') return;
    if (this.#phase === 'recording') {
      this.#ending ??= { end, cut };
      return;
    }
    this.#phase = 'over';
    this.#early = [];
    this.#services.live.delete(this);
    this.#client.sink = deadSink;
    this.#inner?.measure(this.exchange);
    if (this.#relay !== null) {
      this.exchange.bytesUp = this.#relay.bytesUp;
      this.exchange.bytesDown = this.#relay.bytesDown;
      this.#relay.stop();
    }
    if (this.exchange.decided) {
      this.exchange.finish('close', end, cut ?? undefined);
      if (this.#opened) this.#services.metrics.tunnelClosed();
    } else {
      this.exchange.abandon();
    }
    this.#upstream?.destroy();
    this.#client.socket.destroy();
  }

  #takeEarly(): Buffer {
    const early = this.#early;
    this.#early = [];
    this.#earlyBytes = 0;
    if (early.length === 0) return nothing;
    return early.length === 1 ? (early[0] as Buffer) : Buffer.concat(early);
  }
}

const nothing = Buffer.alloc(0);
function ignore(): void {}
