import { unmapped } from '../core/embedded-ipv4.ts';
import type { Cidr, Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import { needsInspection } from './conditions.ts';
import { type CredentialScope, neededGroups } from './credential-scope.ts';
import type { Agent, Entry, Policy, Scheme } from './policy.ts';
import { bitOf, HTTP, HTTPS, TCP } from './scheme-bits.ts';
import {
  EXPIRED,
  INSPECTS,
  NEEDS_INSPECTION,
  NO_HOST,
  NO_METHOD,
  NO_PATH,
  NO_PORT,
  NO_SCHEME,
  type Survey,
} from './survey.ts';

export { HTTP, HTTPS, TCP };

export interface DecisionRequest {
  /** Canonical name, or canonical text of `ip`. */
  readonly host: string;
  /** The address if the target is an IP literal; IPv4-mapped ones count as IPv4. */
  readonly ip: Ip | null;
  /** 1–65535. */
  readonly port: number;
  /** `connect` takes the scheme of the entry that speaks (contract §7). */
  readonly scheme: Scheme | 'connect';
  /** Undefined for a CONNECT, and where only the target is asked about. */
  readonly method: string | undefined;
  /** Origin-form with the query; undefined for a CONNECT. */
  readonly path: string | undefined;
  /** What the credential was narrowed to; deny entries hold beyond it. Undefined = all of the agent's. */
  readonly scope: CredentialScope | undefined;
  /** Whoever asks can inspect TLS. Without, entries that need that block. */
  readonly inspects?: boolean;
}

export interface Decision {
  readonly verdict: 'allow' | 'block';
  /** On an allow: only in report mode, what it would have been blocked for. */
  readonly reason: Reason | null;
  /** Let through by report mode alone. */
  readonly report: boolean;
  /** HTTPS, HTTP and TCP bits that the entries admit; 0 on a block, TCP if none speaks. */
  readonly schemes: number;
  /**
   * An allow: the first entry that speaks and whose conditions hold. `denied`: the deny entry. Else
   * the nearest entry, the one that got furthest; null if no entry's host matches.
   */
  readonly entry: Entry | null;
  /** Ranges that the entries grant together, in no order; empty on a block. */
  readonly addresses: readonly Cidr[];
  /**
   * Upload cap of `entry`, bytes; Infinity if it has none. Under a scope the smallest cap of all
   * entries that allow. The agent's own limit is not in it.
   */
  readonly upload: number;
  /** Ms since the epoch when an entry or grant that it rests on ends; Infinity if none does. */
  readonly until: number;
  /** TLS must be inspected: `entry` demands it, and no entry that speaks lets it pass unread. */
  readonly inspect: boolean;
}

/** What a survey's stage is called if nothing got further. */
const reasonOfStage: Readonly<Record<number, Reason>> = Object.freeze({
  [NO_HOST]: 'host_not_allowed',
  [NO_PORT]: 'port_not_allowed',
  [NO_SCHEME]: 'scheme_not_allowed',
  [EXPIRED]: 'entry_expired',
  [NO_METHOD]: 'method_not_allowed',
  [NO_PATH]: 'path_not_allowed',
});

const noAddresses: readonly Cidr[] = Object.freeze([]);
const unlisted = Object.freeze(block('host_not_allowed', null));

/**
 * May this agent reach this target now? Contract §3, "Which entry speaks", and §7. Denies of the
 * agent, its groups and the top level go first; then the allow entries of the most specific host
 * pattern speak, and their conditions must hold. Patterns that are equally specific speak together.
 * Network patterns match IP literals only, and name patterns, `*` among them, names only.
 *
 * A scope is applied to that result and never changes which entries speak: were the entries outside
 * it left out at first, a wider one could speak where a specific one had said no. So a narrower scope
 * allows a part of what a wider one does, in every respect, also in report mode.
 * Synchronous, without I/O; never throws. An agent that is not of this policy may reach nothing.
 */
export function decide(
  policy: Policy,
  agent: Agent,
  request: DecisionRequest,
  now: number,
): Decision {
  const { matcher } = policy;
  const { survey } = matcher;
  const ip = request.ip === null ? null : unmapped(request.ip);
  survey.begin(request, neededGroups(request.scope, request.host, ip), now);
  matcher.visit(agent, request.host, ip, survey);
  if (survey.denied !== null) return block('denied', survey.denied);
  survey.settle();
  if (survey.stage >= INSPECTS) {
    return survey.speaker === null ? unlisted : allow(survey, survey.speaker);
  }
  if (survey.stage === NEEDS_INSPECTION) return blockUninspected(survey.nearest);
  const reason = reasonOfStage[survey.stage] ?? 'host_not_allowed';
  if (agent.mode === 'report' && matcher.knows(agent)) {
    return survey.withinScope(survey.nearest) ? report(survey, reason) : unlisted;
  }
  if (survey.nearest === null) return unlisted;
  return { ...block(reason, survey.nearest), inspect: isInspected(survey) };
}

/** Was it a request that an entry turned down which only inspection could read? */
function isInspected({ stage, nearest }: Survey): boolean {
  return nearest !== null && stage > EXPIRED && needsInspection(nearest);
}

function allow(survey: Survey, entry: Entry): Decision {
  return {
    verdict: 'allow',
    reason: null,
    report: false,
    schemes: survey.schemes,
    entry,
    addresses: survey.addresses,
    upload: survey.upload,
    until: survey.until,
    inspect: survey.inspect,
  };
}

/** What no entry speaks for may be anything; method and path fail only in requests of its scheme. */
function report(survey: Survey, reason: Reason): Decision {
  const { nearest } = survey;
  const speaks = nearest !== null && survey.stage > EXPIRED;
  return {
    verdict: 'allow',
    reason,
    report: true,
    schemes: speaks ? bitOf(nearest.scheme ?? 'http') : TCP,
    entry: nearest,
    addresses: speaks ? nearest.addresses : noAddresses,
    upload: nearest?.upload ?? Number.POSITIVE_INFINITY,
    until: speaks ? survey.nearestUntil : Number.POSITIVE_INFINITY,
    inspect: isInspected(survey),
  };
}

/** An opaque tunnel would skip the entry's conditions, so that not even report mode opens it. */
function blockUninspected(entry: Entry | null): Decision {
  const reason = entry?.methods === undefined ? 'path_not_allowed' : 'method_not_allowed';
  return { ...block(reason, entry), inspect: true };
}

function block(reason: Reason, entry: Entry | null): Decision {
  return {
    verdict: 'block',
    reason,
    report: false,
    schemes: 0,
    entry,
    addresses: noAddresses,
    upload: Number.POSITIVE_INFINITY,
    until: Number.POSITIVE_INFINITY,
    inspect: false,
  };
}
