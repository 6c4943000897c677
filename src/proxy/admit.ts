import type { Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import { isFailure } from '../identity/identity.ts';
import type { DecisionRequest } from '../policy/decide.ts';
import { decide } from '../policy/decide.ts';
import type { Policy } from '../policy/policy.ts';
import { ResolveError } from '../upstream/resolver.ts';
import type { Exchange } from './exchange.ts';

/**
 * The one way in: every entry point (CONNECT, absolute-form, inside a tunnel, upgrade) passes
 * through these functions in this order: identify, decide, resolve and vet. Values in, values out.
 */

/** Contract §4 step 3. Null if the agent is proven and `exchange.identity` is set. */
export function identify(
  exchange: Exchange,
  header: string | undefined,
  headers: number,
): Reason | null {
  const { services } = exchange;
  if (headers > 1) return 'bad_credentials';
  const result = services.identifier.identify(exchange.policy, header, exchange.evidence);
  exchange.agent = result.agent;
  exchange.token = result.token;
  if (isFailure(result)) return result.reason;
  exchange.identity = result;
  return null;
}

/**
 * Contract §4 steps 1 and 4: pace, decide, take a place. Null if allowed. No I/O.
 * @param inside the request comes through a tunnel, which was paced and holds a place already.
 */
export function authorize(
  exchange: Exchange,
  scheme: DecisionRequest['scheme'],
  inside: boolean,
): Reason | null {
  const { identity, services } = exchange;
  if (identity === null || exchange.host === undefined || exchange.port === undefined) {
    return 'bad_request';
  }
  if (exchange.ip !== null && services.guard.isOwnListener(exchange.ip, exchange.port)) {
    return 'loop';
  }
  if (!inside && !services.agents.arrive(identity.agent)) return 'rate_limit';
  const decision = judge(exchange, exchange.policy, scheme, services.clock.now());
  exchange.decision = decision;
  if (decision.verdict === 'block') return decision.reason ?? 'host_not_allowed';
  return inside || exchange.acquirePlace() ? null : 'connection_limit';
}

/** Contract §4 step 4 once more, now that the body of a request has been read. Null if still allowed. */
export function authorizeBody(exchange: Exchange): Reason | null {
  const { policy, services } = exchange;
  const decision = judge(exchange, policy, requestScheme(exchange), services.clock.now());
  exchange.decision = decision;
  return decision.verdict === 'block' ? (decision.reason ?? 'tool_not_allowed') : null;
}

/** The scheme of a request, as decisions ask for it. */
export function requestScheme(exchange: Exchange): 'https' | 'http' {
  return exchange.scheme === 'https' ? 'https' : 'http';
}

/** The decision on an identified exchange under a policy; used again by every re-judgement. */
export function judge(
  exchange: Exchange,
  policy: Policy,
  scheme: DecisionRequest['scheme'],
  now: number,
): ReturnType<typeof decide> {
  const identity = exchange.identity;
  const agent = identity === null ? undefined : policy.agents.get(identity.agent.id);
  if (identity === null || agent === undefined) {
    throw new TypeError('an exchange is judged only after its agent is known');
  }
  return decide(
    policy,
    agent,
    {
      host: exchange.host ?? '',
      ip: exchange.ip,
      port: exchange.port ?? 0,
      scheme,
      method: scheme === 'connect' ? undefined : exchange.method,
      path: scheme === 'connect' ? undefined : exchange.path,
      content: exchange.content,
      tools: exchange.tools,
      scope: identity.scope,
      inspects: exchange.services.inspection !== null,
    },
    now,
  );
}

export interface Vetted {
  readonly reason: Reason | null;
  readonly addresses: readonly Ip[];
  /** DNS response code if the name could not be resolved. */
  readonly rcode: string | undefined;
}

/**
 * Contract §4 step 5: resolves once and classifies every answer; one refused answer refuses the
 * name. `done` runs at once if the answer is cached or the target is an address.
 */
export function vet(exchange: Exchange, done: (vetted: Vetted) => void): void {
  const { services, host } = exchange;
  if (exchange.ip !== null) {
    done(check(exchange, [exchange.ip]));
    return;
  }
  const cached = services.resolver.peek(host ?? '');
  if (cached !== null) {
    exchange.dnsMs = 0;
    done(check(exchange, cached.addresses));
    return;
  }
  const startedAt = services.clock.monotonic();
  const timed = (vetted: Vetted): void => {
    exchange.dnsMs = Math.round((services.clock.monotonic() - startedAt) * 10) / 10;
    services.metrics.dns(exchange.dnsMs);
    done(vetted);
  };
  services.resolver.resolve(host ?? '').then(
    (answer) => timed(check(exchange, answer.addresses)),
    (error: unknown) =>
      timed({
        reason: 'dns_failure',
        addresses: [],
        rcode: error instanceof ResolveError ? error.rcode : 'FAILED',
      }),
  );
}

function check(exchange: Exchange, addresses: readonly Ip[]): Vetted {
  const { guard } = exchange.services;
  const granted = exchange.decision?.addresses ?? [];
  for (const address of addresses) {
    const verdict = guard.check(address, exchange.port ?? 0, granted);
    if (verdict !== 'ok') return { reason: verdict, addresses: [], rcode: undefined };
  }
  return { reason: null, addresses, rcode: undefined };
}

/** RFC 9110 §7.6.3: has a message with this Via value passed a Sallyport before? */
export function passedHere(via: string | undefined): boolean {
  if (via === undefined) return false;
  for (const hop of via.split(',')) {
    if (
      hop
        .trim()
        .split(/[ \t]+/, 2)[1]
        ?.toLowerCase() === viaName
    )
      return true;
  }
  return false;
}

/** The pseudonym under which this proxy signs Via and Proxy-Status. */
export const viaName = 'sallyport';
