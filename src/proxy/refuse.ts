import type { Reason } from '../core/reasons.ts';
import { reasons } from '../core/reasons.ts';
import type { CredentialScope } from '../policy/credential-scope.ts';
import type { Agent } from '../policy/policy.ts';
import { toolList } from '../policy/tools.ts';
import type { Exchange } from './exchange.ts';

/** A refusal ready to send: CONNECT and plain HTTP get the same bytes. */
export interface Refusal {
  readonly reason: Reason;
  readonly status: number;
  /** The reason phrase: one sentence, because many tools show only the status line. */
  readonly phrase: string;
  /** Name, value, name, value … */
  readonly headers: readonly string[];
  /** Empty for HEAD. */
  readonly body: string;
}

export interface RefusalDetail {
  /** Replaces the catalogue's sentence: what exactly was wrong with the request. */
  readonly message?: string;
  /** Replaces the catalogue's status where an RFC names another one for this very case. */
  readonly status?: number;
  /** DNS response code, sent as `rcode` of Proxy-Status (RFC 9209 §2.3.2). */
  readonly rcode?: string;
}

/** Groups and hosts that a hint names. */
const MOST_NAMES = 8;

const policyUrl = 'http://sallyport.internal/policy';

/** The five ways to fail identification look alike from outside (contract, "Refusals"). */
const unidentified: ReadonlySet<Reason> = new Set([
  'no_credentials',
  'bad_credentials',
  'source_not_allowed',
  'credential_expired',
  'credential_revoked',
]);

/** Status for reasons that usually cut a tunnel, where nothing has been answered yet. */
const unanswered: Partial<Record<Reason, number>> = { policy_changed: 403, idle_timeout: 504 };

/** The policy said yes and the destination failed: an `open` line, where our own no is a `block`. */
export function isDestinationsFault(reason: Reason): boolean {
  return reasons[reason].fault === 'destination';
}

/** What a name that could not be resolved adds to its refusal. */
export function resolveDetail(rcode: string | undefined): RefusalDetail {
  if (rcode === undefined) return {};
  return rcode === 'TIMEOUT' ? { rcode, status: 504 } : { rcode };
}

/**
 * Builds the answer to a refused exchange. The only writer of refusals: nothing of the request is
 * echoed but the parsed target.
 */
export function refusal(exchange: Exchange, reason: Reason, detail: RefusalDetail = {}): Refusal {
  if (unidentified.has(reason)) return challenge(exchange);
  const info = reasons[reason];
  const status = detail.status ?? unanswered[reason] ?? info.status;
  const message = detail.message ?? sentence(reason, exchange);
  // Who is quarantined has proven who it is, so that its owner may be named.
  const identified = exchange.identity !== null || reason === 'agent_quarantined';
  const body = JSON.stringify({
    error: {
      reason,
      message,
      agent: identified ? exchange.agent?.id : undefined,
      host: exchange.host,
      port: exchange.port,
      id: exchange.id,
      policy: identified ? exchange.policy.digest : undefined,
      owner: identified ? exchange.agent?.owner : undefined,
      retry: info.retry,
      hint: hint(reason, exchange),
    },
  });
  const rcode = detail.rcode === undefined ? '' : `; rcode="${detail.rcode}"`;
  const headers = [
    'Proxy-Status',
    `sallyport; error=${proxyError(reason, detail)}${rcode}; details="${reason}"`,
    'Sallyport-Reason',
    reason,
    'Sallyport-Id',
    exchange.id,
  ];
  if (status === 429) headers.push('Retry-After', '1');
  if (status === 503) headers.push('Retry-After', '5');
  return finishRefusal(exchange, reason, status, message, headers, body);
}

function challenge(exchange: Exchange): Refusal {
  const message = 'a valid proxy credential is required';
  const body = JSON.stringify({
    error: {
      reason: 'no_credentials',
      message,
      host: exchange.host,
      port: exchange.port,
      id: exchange.id,
      retry: false,
      hint: 'Send "Proxy-Authorization: Basic agent:credential" or "Bearer credential"; most tools take it from HTTPS_PROXY=http://agent:credential@proxy:port. If you sent one, it is wrong or has ended: ask whoever started this sandbox for a new one.',
    },
  });
  const headers = [
    'Proxy-Authenticate',
    'Basic realm="sallyport"',
    'Proxy-Status',
    'sallyport; error=http_request_denied; details="no_credentials"',
    'Sallyport-Reason',
    'no_credentials',
    'Sallyport-Id',
    exchange.id,
  ];
  return finishRefusal(exchange, 'no_credentials', 407, message, headers, body);
}

function finishRefusal(
  exchange: Exchange,
  reason: Reason,
  status: number,
  phrase: string,
  headers: string[],
  body: string,
): Refusal {
  headers.push(
    'Content-Type',
    'application/json',
    'Cache-Control',
    'no-store',
    'Content-Length',
    String(Buffer.byteLength(body)),
    'Connection',
    'close',
  );
  // RFC 9110 §9.3.2: the answer to HEAD ends with its head, which is that of the answer to GET.
  const content = exchange.method === 'HEAD' ? '' : body;
  return { reason, status, phrase: phraseOf(phrase), headers, body: content };
}

/** Builds the answer and writes the `block` line: the one end of an exchange that was never let through. */
export function refuseExchange(
  exchange: Exchange,
  reason: Reason,
  detail: RefusalDetail,
  isAnswered: boolean,
): Refusal {
  const answer = refusal(exchange, reason, detail);
  exchange.recordBlock(reason, isAnswered ? answer.status : undefined);
  exchange.abandon();
  return answer;
}

/** The refusal as the bytes of one HTTP/1.1 response. */
export function refusalBytes(refusal: Refusal): string {
  let head = `HTTP/1.1 ${refusal.status} ${refusal.phrase}\r\n`;
  for (let at = 0; at + 1 < refusal.headers.length; at += 2) {
    head += `${refusal.headers[at]}: ${refusal.headers[at + 1]}\r\n`;
  }
  return `${head}\r\n${refusal.body}`;
}

/** RFC 9112 §4: reason-phrase is HTAB, SP and visible characters; ours stays within ASCII. */
function phraseOf(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 400);
}

function proxyError(reason: Reason, detail: RefusalDetail): string {
  if (reason === 'dns_failure' && detail.status === 504) return 'dns_timeout';
  return reasons[reason].proxyError;
}

function sentence(reason: Reason, exchange: Exchange): string {
  const host = exchange.host ?? 'the destination';
  const port = exchange.port ?? 0;
  const agent = exchange.agent?.id ?? '';
  switch (reason) {
    case 'bad_request':
      return 'the request is malformed';
    case 'bad_target':
      return 'the request target is malformed; write host:port';
    case 'host_not_allowed':
      if (exchange.identity?.scope !== undefined) {
        return `${host} is not on the part of agent ${agent}'s allowlist that this credential is narrowed to`;
      }
      return `${host} is not on the allowlist of agent ${agent}`;
    case 'port_not_allowed':
      return `port ${port} of ${host} is not on the allowlist of agent ${agent}`;
    case 'scheme_not_allowed':
      return `${exchange.scheme ?? 'this protocol'} to ${host}:${port} is not on the allowlist of agent ${agent}`;
    case 'denied':
      return `${host} is on a deny list that holds for agent ${agent}`;
    case 'entry_expired':
      return `the grant of ${host} to agent ${agent} has ended`;
    case 'address_not_allowed':
      return `${host} resolves to an address that agent ${agent} may not reach`;
    case 'method_not_allowed':
      return isUninspected(exchange)
        ? `${host} is allowed only with limits on methods, ${uninspected(exchange)}`
        : `${exchange.method ?? 'the method'} is not allowed on ${host} for agent ${agent}`;
    case 'path_not_allowed':
      return isUninspected(exchange)
        ? `${host} is allowed only with conditions, ${uninspected(exchange)}`
        : `this ${exchange.decision?.failed === 'query' ? 'query' : 'path'} of ${host} is not allowed for agent ${agent}`;
    case 'header_not_allowed':
      return `${host} is not allowed for agent ${agent} without the headers that its entry requires`;
    case 'content_type_not_allowed':
      return `a body of this type is not allowed on ${host} for agent ${agent}`;
    case 'tool_not_allowed':
      return `a tool that the request calls is not allowed on ${host} for agent ${agent}`;
    case 'upgrade_not_allowed':
      return 'only an upgrade to websocket is passed on';
    case 'host_mismatch':
      return `the Host header does not name ${host}, the target of this connection`;
    case 'agent_quarantined':
      return `agent ${agent} is quarantined`;
    case 'connection_limit':
      return `agent ${agent} holds as many connections as it may`;
    case 'rate_limit':
      return `agent ${agent} opens connections faster than it may`;
    case 'upload_limit':
      return `the upload to ${host} is larger than agent ${agent} may send`;
    case 'overloaded':
      return 'the proxy is at its limit of connections';
    case 'draining':
      return 'the proxy is shutting down';
    case 'log_unavailable':
      return 'the egress log cannot be written, so nothing is let through';
    case 'secret_unavailable':
      return `the secret that the proxy must add to requests to ${host} cannot be had`;
    case 'dns_failure':
      return `${host} could not be resolved`;
    case 'connect_refused':
      return `${host}:${port} refused the connection`;
    case 'connect_timeout':
      return `${host}:${port} did not answer in time`;
    case 'connect_failed':
      return `${host}:${port} could not be reached or broke the protocol`;
    case 'upstream_tls':
      return `the certificate of ${host} could not be verified`;
    case 'loop':
      return 'the request aims at this proxy itself or has passed it before';
    case 'policy_changed':
      return `the policy has just changed, and ${host} is no longer allowed to agent ${agent}`;
    case 'idle_timeout':
      return `nothing came from ${host}:${port} for too long`;
    default:
      return reason.replaceAll('_', ' ');
  }
}

/** The entry demands inspection of what was asked for, and there is none. */
function isUninspected({ decision, method }: Exchange): boolean {
  return decision?.inspect === true && method === 'CONNECT';
}

function uninspected({ decision }: Exchange): string {
  const entry = decision?.entry?.at ?? 'its entry';
  return `which need TLS inspection, and that this proxy has no authority for (${entry})`;
}

/** For the agent that reads the refusal: what it may do instead, and whom to ask. */
function hint(reason: Reason, exchange: Exchange): string {
  const agent = exchange.agent;
  const owner = agent?.owner;
  const ask = owner === undefined ? '' : ` To have this changed, ask ${owner}.`;
  switch (reasons[reason].fault) {
    case 'policy':
      if (reasons[reason].status === 429) return 'Wait a second and try again, with fewer at once.';
      if (agent === undefined) return 'Ask the owner of this agent.';
      if (reason === 'agent_quarantined') {
        return `Everything that agent ${agent.id} asks for is blocked until the quarantine is lifted; trying again will not help. Stop, and ask ${agent.owner}.`;
      }
      return `Trying again will not help. ${mayCall(exchange)}${mayReach(exchange)}GET ${policyUrl} through this proxy lists all of it.${ask}`;
    case 'destination':
      return 'The policy allows this; the destination is at fault. Try again later.';
    case 'proxy':
      return 'Nothing is wrong with the request. Try again in a few seconds.';
    default:
      return `Correct the request; sending it again unchanged will not help. GET ${policyUrl} through this proxy tells what is allowed.`;
  }
}

/** What the entry asks of a request that failed its conditions, as far as that helps to mend it. */
function mayCall({ decision }: Exchange): string {
  const entry = decision?.entry;
  switch (decision?.failed) {
    case 'query':
      return `Query keys there: ${firstOf(entry?.query?.map(({ key }) => key) ?? []) || 'none'}. `;
    case 'header':
      return `Headers that it must have: ${firstOf(entry?.headers?.require.map(({ name }) => name) ?? [])}. `;
    case 'content-type':
      return `Types of bodies there: ${firstOf(entry?.contentTypes ?? [])}. `;
    case 'tool':
      return entry?.tools === undefined ? '' : `Tools there: ${toolList(entry.tools, firstOf)}. `;
    default:
      return '';
  }
}

/** The parts of a scope, each with the first few of its names. */
function narrowedTo(scope: CredentialScope): string {
  const parts = scope.map(({ groups, hosts }) => {
    const names = [...groups, ...hosts.map(({ text }) => text)];
    return firstOf(names);
  });
  return `This credential is narrowed to ${parts.join('; of that to ')}.`;
}

function mayReach(exchange: Exchange): string {
  const agent = exchange.agent;
  if (agent === undefined) return '';
  const scope = exchange.identity?.scope;
  return scope === undefined ? reachOf(agent) : `${narrowedTo(scope)} `;
}

/** The same for every refusal of an agent, and long lists take long to go through. */
const reaches = new WeakMap<Agent, string>();

function reachOf(agent: Agent): string {
  const known = reaches.get(agent);
  if (known !== undefined) return known;
  const groups = agent.groups.map((grant) => grant.group.name);
  const patterns = agent.allow.map((entry) => entry.pattern);
  // A host with an entry for each scheme or port is named once.
  const names = [...new Set([...groups, ...patterns])];
  const reach =
    names.length === 0
      ? `Agent ${agent.id} may reach nothing. `
      : `Agent ${agent.id} may reach: ${firstOf(names)}. `;
  reaches.set(agent, reach);
  return reach;
}

function firstOf(names: readonly string[]): string {
  const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : '';
  return names.slice(0, MOST_NAMES).join(', ') + more;
}
