import type { CompileResult } from '../config/compile.ts';
import { quoteIfStarred } from '../config/entry.ts';
import { formatAuthority, type Target } from '../core/authority-form.ts';
import type { Cidr, Ip } from '../core/ip.ts';
import type { Reason } from '../core/reasons.ts';
import { isMetadataName, neverGranted } from '../policy/address-guard.ts';
import type { Agent, Entry } from '../policy/policy.ts';
import { allowedParts, asksOfContent, changes, failedPhrase } from './condition-text.ts';
import { type Outcome, schemeOf } from './evaluate.ts';
import type { Styles } from './output.ts';

/** SSH and git: never TLS, so that only a tcp entry will do. */
const neverTls: ReadonlySet<number> = new Set([22, 9418]);

/** The question as it was asked. */
export interface Asked {
  readonly agent: string;
  readonly target: string;
  /** Ms since the epoch. */
  readonly at: number;
}

/** An outcome for a person: verdict, why, the entry that speaks, what to write, near misses. */
export function renderOutcome(
  outcome: Outcome,
  asked: Asked,
  { files, policy }: CompileResult,
  style: Styles,
): string {
  const blocks = [
    headline(outcome, asked, style),
    [sentence(outcome, asked)],
    entryBlock(outcome, files, style),
    nearBlock(outcome, style),
    adviceBlock(outcome, style),
    [style.dim(`policy ${policy?.digest ?? ''}`)],
  ];
  return blocks
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.map((line) => `${line}\n`).join(''))
    .join('\n');
}

function headline(outcome: Outcome, asked: Asked, style: Styles): string[] {
  const { verdict, reason, written } = outcome;
  const word = verdict === 'allow' ? style.green('ALLOW') : style.red('BLOCK');
  const what = written === null ? JSON.stringify(asked.target) : formatAuthority(written.target);
  const how = written?.scheme === 'connect' ? 'CONNECT' : (written?.scheme ?? 'target');
  const why = reason === null ? '' : `  ${style.bold(reason)}`;
  return [`${word}  ${asked.agent} → ${style.bold(what)} (${how})${why}`];
}

function sentence(outcome: Outcome, asked: Asked): string {
  const { verdict, reason, decision, agent } = outcome;
  if (verdict === 'allow' && reason === null) {
    const end = decision?.until ?? Number.POSITIVE_INFINITY;
    const until = end === Number.POSITIVE_INFINITY ? '' : `, until ${new Date(end).toISOString()}`;
    return `${asked.agent} may connect${schemePhrase(outcome)}${until}.`;
  }
  const why = reason === null ? '' : reasonSentence(reason, outcome, asked);
  if (verdict === 'block') return why;
  return `${why} Let through because ${agent?.at ?? asked.agent} says \`mode: report\`; the log line says so.`;
}

function schemePhrase(outcome: Outcome): string {
  switch (schemeOf(outcome)) {
    case 'https':
      if (outcome.decision?.inspect === true) return inspectedPhrase(outcome);
      return '; what it sends must be TLS for that very name';
    case 'http':
      return ' and speak plain HTTP';
    default:
      return ', with anything inside the tunnel';
  }
}

function inspectedPhrase({ written }: Outcome): string {
  const request = written?.scheme === 'connect' ? 'each request in it is decided' : 'it is decided';
  return `; TLS is inspected, and ${request} by what it asks for`;
}

function reasonSentence(reason: Reason, outcome: Outcome, asked: Asked): string {
  const host = outcome.written?.target.host ?? asked.target;
  const port = outcome.written?.target.port ?? 0;
  const { agent } = asked;
  switch (reason) {
    case 'bad_target':
      return `The target is malformed: ${outcome.problem ?? 'it cannot be read'}.`;
    case 'bad_credentials':
      return `There is no agent ${agent}: no credential can name it, and nothing is let through.`;
    case 'agent_quarantined':
      return `Agent ${agent} is quarantined${quarantineOf(outcome)}: everything is blocked, whatever it shows.`;
    case 'host_not_allowed':
      if (outcome.withheld !== null) {
        return `${host} is on the allowlist of agent ${agent}, but not in what the credential is narrowed to.`;
      }
      return `${host} is not on the allowlist of agent ${agent}.`;
    case 'port_not_allowed':
      return `${host} is on the allowlist of agent ${agent}, but not on port ${port}.`;
    case 'scheme_not_allowed':
      return `${host}:${port} is on the allowlist of agent ${agent}, but not as ${schemeOf(outcome)}.`;
    case 'entry_expired':
      return `The grant of ${host} to agent ${agent} has ended${endOf(outcome.decision?.entry ?? null)}.`;
    case 'denied':
      return `A deny entry blocks ${host}; it wins over every allow entry.`;
    case 'method_not_allowed':
    case 'path_not_allowed':
    case 'header_not_allowed':
    case 'content_type_not_allowed':
    case 'tool_not_allowed':
      return outcome.uninspected
        ? `${host} is allowed only with conditions that need TLS inspection, and there is no authority: \`sallyport ca init\` makes one.`
        : `${host} is allowed, but not ${failedPhrase(outcome.decision?.failed ?? null)}.`;
    case 'address_not_allowed':
      return `${host} is an address that no entry of agent ${agent} can open.`;
    case 'loop':
      return `${host}:${port} is the proxy itself.`;
    default:
      return `${reason.replaceAll('_', ' ')}.`;
  }
}

/** Where that stands, and who did it, when and why as far as it says so. */
function quarantineOf({ quarantine }: Outcome): string {
  if (quarantine === null) return '';
  const { at, by, why, place } = quarantine;
  const parts = [
    at === undefined ? '' : ` since ${new Date(at).toISOString()}`,
    by === undefined ? '' : ` by ${by}`,
    why === undefined ? '' : ` (${why})`,
  ];
  return `${parts.join('')}, at ${place}`;
}

function endOf(entry: Entry | null): string {
  return entry === null || entry.until === Number.POSITIVE_INFINITY
    ? ''
    : `, at ${new Date(entry.until).toISOString()}`;
}

/** Where the entry stands, the line itself, and what is said about it; not for a mere near miss. */
function entryBlock(
  { decision, near }: Outcome,
  files: CompileResult['files'],
  style: Styles,
): string[] {
  const entry = decision?.entry;
  if (entry === null || entry === undefined || near.some((miss) => miss.entry === entry)) return [];
  const group = entry.group === undefined ? '' : `, in the group ${entry.group}`;
  const lines = [`${style.bold(entry.at)}  ${entry.action} entry${group}`];
  const line = files.get(entry.file)?.split(/\r?\n/u)[entry.line - 1];
  if (line !== undefined) lines.push(`    ${style.cyan(line.trim())}`);
  for (const part of allowedParts(entry)) lines.push(`    allows ${part}`);
  if (asksOfContent(entry)) lines.push('    headers and bodies are judged when they are sent');
  for (const change of changes(entry)) lines.push(`    ${change}`);
  if (entry.note !== undefined) lines.push(`    note: ${entry.note}`);
  return lines;
}

function nearBlock({ near }: Outcome, style: Styles): string[] {
  if (near.length === 0) return [];
  const places = Math.max(...near.map(({ entry }) => entry.at.length));
  const hosts = Math.max(...near.map(({ entry }) => entry.pattern.length));
  return [
    'Nearest entries:',
    ...near.map(
      ({ entry, why }) =>
        `    ${style.dim(entry.at.padEnd(places))}  ${entry.pattern.padEnd(hosts)}  ${why}`,
    ),
  ];
}

/** What to write, where, if writing an entry would help. */
function adviceBlock(outcome: Outcome, style: Styles): string[] {
  const { reason, agent, decision, withheld, written } = outcome;
  if (agent === undefined || written === null) return [];
  const never = neverOpen(written.target);
  if (never !== null) return [never];
  switch (reason) {
    case 'host_not_allowed':
    case 'port_not_allowed':
    case 'scheme_not_allowed':
      if (withheld !== null) {
        return [`The entry is ${withheld.at}; a credential that includes it lets this through.`];
      }
      return [
        `To allow it, add to \`allow\` of agent ${agent.id} (${agent.at}):`,
        style.cyan(`    - ${entryFor(outcome)}`),
        `or ask ${agent.owner}.`,
      ];
    case 'entry_expired':
      return [
        `To allow it again, write a later \`until\` at ${decision?.entry?.at ?? agent.at}, or ask ${agent.owner}.`,
      ];
    case 'denied':
      return [
        `To allow it, narrow or delete the deny entry at ${decision?.entry?.at ?? agent.at}.`,
      ];
    case 'agent_quarantined':
      return [`To let it go on: ${style.cyan(`sallyport unquarantine ${agent.id}`)}`];
    case 'method_not_allowed':
    case 'path_not_allowed':
    case 'header_not_allowed':
    case 'content_type_not_allowed':
    case 'tool_not_allowed':
      return [conditionAdvice(decision?.entry ?? null, agent)];
    default:
      return [];
  }
}

function conditionAdvice(entry: Entry | null, agent: Agent): string {
  const allowed = entry === null ? [] : allowedParts(entry);
  const says = allowed.length === 0 ? '' : `The entry allows ${allowed.join(' and ')}. `;
  return `${says}To change it, edit ${entry?.at ?? agent.at}, or ask ${agent.owner}.`;
}

/** Metadata services and the like: no line to write would help. */
function neverOpen({ host, ip }: Target): string | null {
  if (isMetadataName(host)) return `${host} is a metadata service; no entry can grant it.`;
  const reason = ip === null ? null : neverGranted(singleAddress(ip));
  return reason === null ? null : `${reason}.`;
}

function singleAddress(ip: Ip): Cidr {
  const prefix = ip.family === 4 ? 32 : 128;
  return { ip, prefix, text: `${ip.text}/${prefix}` };
}

/** The shortest entry for exactly this target. */
function entryFor({ written }: Outcome): string {
  if (written === null) return '';
  const { scheme, target } = written;
  const authority = formatAuthority(target);
  const bare = target.ip?.family === 6 ? `[${target.host}]` : target.host;
  if (scheme === 'http' || (scheme === 'connect' && target.port === 80)) {
    return target.port === 80 ? `http://${bare}` : `http://${authority}`;
  }
  if (scheme === 'tcp' || (scheme === 'connect' && neverTls.has(target.port))) {
    return `tcp://${authority}`;
  }
  if (target.port === 443) return target.host.includes(':') ? `"${target.host}"` : target.host;
  // What runs on another port nobody can tell; if it is TLS, the https form is the narrower one.
  const form = quoteIfStarred(authority);
  return scheme === 'https' ? form : `${form}    # if it is TLS; else tcp://${authority}`;
}
