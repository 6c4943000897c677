import { isUnix } from '../config/listen-address.ts';
import type { Settings } from '../config/settings.ts';
import { parseIp } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import type { RevocationEntry } from '../identity/revocations.ts';
import { AddressGuard } from '../policy/address-guard.ts';
import type { CredentialScope } from '../policy/credential-scope.ts';
import { type Decision, type DecisionRequest, decide } from '../policy/decide.ts';
import { type Near, nearest } from '../policy/nearest.ts';
import type { Agent, Entry, Policy } from '../policy/policy.ts';
import { parseTarget, type WrittenTarget } from './target.ts';

export interface Question {
  readonly policy: Policy;
  readonly agent: string;
  readonly target: string;
  /** Undefined where the target is a URL: POST to call a tool, else GET. */
  readonly method: string | undefined;
  /** Name of an MCP tool that a request to the URL calls; undefined: not asked about. */
  readonly tool?: string | undefined;
  /** Ms since the epoch. */
  readonly at: number;
  readonly guard: AddressGuard;
  /** There is an authority to inspect TLS with. */
  readonly inspects: boolean;
  /** What is revoked and quarantined; undefined: not asked about. */
  readonly revocations?: readonly RevocationEntry[];
  /** What the credential is narrowed to; undefined: nothing. */
  readonly scope?: CredentialScope | undefined;
}

/** What the proxy would do, as far as it can be told without DNS or a connection. */
export interface Outcome {
  readonly verdict: 'allow' | 'block';
  /** Null on an allow, but for one that report mode alone gives. */
  readonly reason: Reason | null;
  /** What is wrong with the target, if the reason is `bad_target`. */
  readonly problem: string | null;
  /** Undefined if there is no such agent. */
  readonly agent: Agent | undefined;
  /** Null if it does not parse. */
  readonly written: WrittenTarget | null;
  readonly decision: Decision | null;
  /** The entry that would let it through, if only the scope of the credential stands in the way. */
  readonly withheld: Entry | null;
  /** The quarantine of the agent, if the reason is `agent_quarantined`. */
  readonly quarantine: RevocationEntry | null;
  readonly near: readonly Near[];
  /** The entry demands inspection, and that cannot be had. */
  readonly uninspected: boolean;
}

const unanswered = {
  problem: null,
  written: null,
  decision: null,
  withheld: null,
  quarantine: null,
  near: [],
  uninspected: false,
} as const;

/** The guard of a proxy with these settings: it refuses connections to its own listeners. */
export function guardOf({ listen, admin }: Settings): AddressGuard {
  const addresses = [...listen.flatMap(({ at }) => (isUnix(at) ? [] : [at])), admin];
  const listeners = addresses.map(({ host, port }) => ({
    ip: parseIp(host === 'localhost' ? '127.0.0.1' : host),
    port,
  }));
  return new AddressGuard(() => listeners);
}

/** Decides by the engine that the proxy uses, and by its address guard where the target is an address. */
export function evaluate(question: Question): Outcome {
  const agent = question.policy.agents.get(question.agent);
  const written = parseTarget(question.target);
  // In the order of the proxy: a malformed target is refused before anybody is identified.
  if (typeof written === 'string') {
    return { ...unanswered, verdict: 'block', reason: 'bad_target', problem: written, agent };
  }
  if (agent === undefined) {
    return { ...unanswered, verdict: 'block', reason: 'bad_credentials', agent, written };
  }
  const quarantine = question.revocations?.find(
    ({ kind, id }) => kind === 'quarantine' && id === agent.id,
  );
  if (quarantine !== undefined) {
    const reason = 'agent_quarantined';
    return { ...unanswered, verdict: 'block', reason, agent, written, quarantine };
  }
  return decideFor(question, agent, written);
}

function decideFor(question: Question, agent: Agent, written: WrittenTarget): Outcome {
  const { policy, guard, at, method, tool } = question;
  const defaultMethod = tool === undefined ? 'GET' : 'POST';
  const { host, ip, port } = written.target;
  const request: DecisionRequest = {
    host,
    ip,
    port,
    scheme: written.scheme,
    method: written.path === undefined ? undefined : (method ?? defaultMethod),
    path: written.path,
    tools: tool === undefined ? undefined : [tool],
    scope: question.scope,
    inspects: question.inspects,
  };
  const known = { ...unanswered, agent, written };
  if (ip !== null && guard.isOwnListener(ip, port)) {
    return { ...known, verdict: 'block', reason: 'loop' };
  }
  const decision = decide(policy, agent, request, at);
  const { verdict, reason, addresses } = decision;
  if (verdict === 'block') {
    const near = reason === 'denied' ? [] : nearest(policy, agent, request, at);
    const whole = decide(policy, agent, { ...request, scope: undefined }, at);
    const withheld = whole.verdict === 'allow' ? whole.entry : null;
    const uninspected = decision.inspect && !question.inspects;
    return { ...known, verdict, reason, decision, withheld, near, uninspected };
  }
  const refusal = ip === null ? 'ok' : guard.check(ip, port, addresses);
  if (refusal === 'ok') return { ...known, verdict, reason, decision };
  return { ...known, verdict: 'block', reason: refusal, decision };
}

/** A CONNECT takes the scheme of the entry that speaks for it; without one it is meant to be https. */
export function schemeOf({ written, decision }: Outcome): string | null {
  if (written === null) return null;
  if (written.scheme !== 'connect') return written.scheme;
  return decision?.entry?.scheme ?? 'https';
}
