import { unmapped } from '../core/embedded-ipv4.ts';
import type { Cidr, Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import { type Condition, needsInspection } from './conditions.ts';
import { type CredentialScope, neededGroups } from './credential-scope.ts';
import type { Agent, Entry, Policy, Scheme } from './policy.ts';
import type { RequestContent } from './request-content.ts';
import { bitOf, HTTP, HTTPS, TCP } from './scheme-bits.ts';
import {
  conditionOfStage,
  EXPIRED,
  INSPECTS,
  NEEDS_INSPECTION,
  NO_CONTENT_TYPE,
  NO_HEADER,
  NO_HOST,
  NO_METHOD,
  NO_PATH,
  NO_PORT,
  NO_QUERY,
  NO_SCHEME,
  NO_TOOL,
} from './stages.ts';
import type { Survey } from './survey.ts';
import type { ToolRules } from './tools.ts';

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
  /** Undefined where headers are not asked about: a CONNECT, or a target alone. */
  readonly content?: RequestContent | undefined;
  /** Names of the MCP tools that the request calls, maybe none; undefined = not known yet. */
  readonly tools?: readonly string[] | undefined;
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
   * Upload cap of `entry`, bytes; Infinity if it has none. For a request with a method its `max-body`
   * counts too. Under a scope the smallest cap of all entries that allow. The agent's own limit is
   * not in it.
   */
  readonly upload: number;
  /** Ms since the epoch when an entry or grant that it rests on ends; Infinity if none does. */
  readonly until: number;
  /** TLS must be inspected: `entry` demands it, and no entry that speaks lets it pass unread. */
  readonly inspect: boolean;
  /**
   * The condition of `entry` that the request failed, where the reason is one of those; `query` has
   * no reason of its own.
   */
  readonly failed: Condition | null;
  /**
   * What the request's entries say about MCP tools: a tool may be called if one of the rules admits
   * it. Null if any tool may, as far as they go; and on a block, and in report mode.
   */
  readonly tools: readonly ToolRules[] | null;
}

/** What a survey's stage is called if nothing got further. */
const reasonOfStage: Readonly<Record<number, Reason>> = Object.freeze({
  [NO_HOST]: 'host_not_allowed',
  [NO_PORT]: 'port_not_allowed',
  [NO_SCHEME]: 'scheme_not_allowed',
  [EXPIRED]: 'entry_expired',
  [NO_METHOD]: 'method_not_allowed',
  [NO_PATH]: 'path_not_allowed',
  [NO_QUERY]: 'path_not_allowed',
  [NO_HEADER]: 'header_not_allowed',
  [NO_CONTENT_TYPE]: 'content_type_not_allowed',
  [NO_TOOL]: 'tool_not_allowed',
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
  const failed = conditionOfStage(survey.stage);
  return { ...block(reason, survey.nearest), inspect: isInspected(survey), failed };
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
    failed: null,
    tools: survey.tools,
  };
}

/** What no entry speaks for may be anything; conditions fail only in requests of its scheme. */
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
    upload: survey.uploadOf(nearest),
    until: speaks ? survey.nearestUntil : Number.POSITIVE_INFINITY,
    inspect: isInspected(survey),
    failed: conditionOfStage(survey.stage),
    tools: null,
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
    failed: null,
    tools: null,
  };
}
