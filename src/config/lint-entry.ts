import type { Cidr, Ip } from '../core/ip.ts';
import { isMetadata, isMetadataName, neverGranted } from '../policy/address-guard.ts';
import { reachOfAnybody, reachOfStrangers } from './broad.ts';
import type { EntryLine } from './entry.ts';
import type { Report } from './fields.ts';
import { dohHosts, relayPorts, sharedHosts, uploadHosts, webhookHosts } from './lint-hosts.ts';
import { reaches } from './pattern-cover.ts';
import type { Position } from './problem.ts';
import { noteSilences, type ProblemCode } from './problem-codes.ts';

/** What surrounds the files. */
export interface LintContext {
  /** Ms since the epoch. */
  readonly now: number;
  /** True for an address and port on which the proxy itself listens. */
  readonly isOwnListener: (ip: Ip, port: number) => boolean;
}

/** Shortest prefixes that a private network has: 10.0.0.0/8 (RFC 1918), fc00::/7 (RFC 4193). */
const widestPrefix = { 4: 8, 6: 7 } as const;

interface HostList {
  readonly code: ProblemCode;
  readonly hosts: readonly ListedHost[];
  readonly message: string;
}

interface ListedHost {
  readonly text: string;
  /** From right to left. */
  readonly labels: readonly string[];
  readonly andBelow: boolean;
}

const HINT =
  'Take it out, or say why it is meant with a `note` in the long form: `{host: …, note: …}`.';

const hostLists: readonly HostList[] = [
  {
    code: 'doh-host',
    hosts: listed(dohHosts),
    message: 'a DNS-over-HTTPS host; data leaves in the names that it is asked for',
  },
  {
    code: 'upload-host',
    hosts: listed(uploadHosts),
    message: 'a host for uploads; whatever the agent holds can be published there',
  },
  {
    code: 'shared-host',
    hosts: listed(sharedHosts),
    message: "strangers' content lives on this host too; their space is allowed with yours",
  },
  {
    code: 'webhook-host',
    hosts: listed(webhookHosts),
    message: 'a host that passes on what anybody posts, also to strangers',
  },
];

/** Everything about one entry of an allow list that needs no other entry. */
export function lintAllowEntry(entry: EntryLine, context: LintContext, report: Report): void {
  lintBreadth(entry, reachOfStrangers(entry.pattern), report);
  lintAddresses(entry, report);
  lintOwnListeners(entry, context, report);
  lintEnd(entry.until, context.now, entry.at, report);
  const reportUnlessNoted: Report = (at, code, message, hint) => {
    if (entry.note === undefined || !noteSilences(code)) report(at, code, message, hint);
  };
  // A wildcard over strangers' names reaches half of what is listed, and has been told.
  if (reachOfStrangers(entry.pattern) === null) lintHosts(entry, reportUnlessNoted);
  lintRanges(rangesOf(entry), entry.at, reportUnlessNoted);
  lintPorts(entry, reportUnlessNoted);
  lintInjections(entry, report, reportUnlessNoted);
  lintTools(entry, reportUnlessNoted);
}

/** A deny entry over names that anybody can register says so like any other. */
export function lintDenyEntry(entry: EntryLine, report: Report): void {
  if (!entry.broad) lintBreadth(entry, reachOfAnybody(entry.pattern), report);
}

function lintBreadth(entry: EntryLine, reach: string | null, report: Report): void {
  const { text } = entry.pattern;
  if (reach === null) {
    if (!entry.broad) return;
    const message = `\`${text}\` is not broad: nobody else can register a name that it matches`;
    report(entry.at, 'broad-not-needed', message, 'Leave `broad` out.');
  } else if (!entry.broad) {
    report(
      entry.at,
      'broad-wildcard',
      `\`${text}\` reaches ${reach}`,
      `Name the hosts that are needed, or write \`{host: "${text}", broad: true, note: why it is meant}\`.`,
    );
  }
}

function lintAddresses(entry: EntryLine, report: Report): void {
  const { pattern, at } = entry;
  if (pattern.kind === 'name' && pattern.suffix === 'exact' && isMetadataName(pattern.text)) {
    const message = `\`${pattern.text}\` is a metadata service; no entry can grant it`;
    report(
      at,
      'metadata-entry',
      message,
      'Delete the entry: what it gives out are the credentials of the machine.',
    );
  }
  if (pattern.kind === 'cidr') lintGrant(pattern.cidr, at, report);
  for (const cidr of entry.addresses) lintGrant(cidr, at, report);
}

/** A range of `addresses`. */
export function lintGrant(cidr: Cidr, at: Position, report: Report): void {
  const reason = neverGranted(cidr);
  if (reason === null) return;
  const code = isOneAddress(cidr) && isMetadata(cidr.ip) ? 'metadata-entry' : 'never-granted';
  report(at, code, reason, 'Take the address out.');
}

function lintOwnListeners(
  { pattern, ports, at }: EntryLine,
  { isOwnListener }: LintContext,
  report: Report,
): void {
  if (pattern.kind !== 'cidr' || !isOneAddress(pattern.cidr)) return;
  const port = ports?.find((candidate) => isOwnListener(pattern.cidr.ip, candidate));
  if (port === undefined) return;
  const message = `\`${pattern.text}\`: Sallyport itself listens on port ${port} there; no entry can grant it`;
  report(at, 'own-listener', message, 'Take the port out; whoever uses the proxy needs no entry.');
}

/** Ranges that are written out. */
export function lintRanges(ranges: readonly Cidr[], at: Position, report: Report): void {
  const wide = ranges.find(
    (cidr) => cidr.prefix < widestPrefix[cidr.ip.family] && neverGranted(cidr) === null,
  );
  if (wide === undefined) return;
  const message = `${wide.text} is wider than any network of one owner`;
  const hint =
    'Name the ranges that are needed, or say why it is meant with a `note` in the long form.';
  report(at, 'wide-range', message, hint);
}

function rangesOf({ pattern, addresses }: EntryLine): readonly Cidr[] {
  return pattern.kind === 'cidr' ? [pattern.cidr, ...addresses] : addresses;
}

function isOneAddress({ ip, prefix }: Cidr): boolean {
  return prefix === (ip.family === 4 ? 32 : 128);
}

/** `until` of an entry or a group's grant. */
export function lintEnd(until: number, now: number, at: Position, report: Report): void {
  if (now < until) return;
  const message = `\`until\` has passed: ${new Date(until).toISOString()}`;
  report(at, 'expired-entry', message, 'Delete it, or write a later time.');
}

function lintHosts({ pattern, at }: EntryLine, report: Report): void {
  for (const { code, hosts, message } of hostLists) {
    const host = hosts.find(({ labels, andBelow }) => reaches(pattern, labels, andBelow));
    if (host === undefined) continue;
    const through = host.text === pattern.text ? '' : ` (${host.text})`;
    report(at, code, `\`${pattern.text}\`${through}: ${message}`, HINT);
  }
}

function lintPorts({ ports, pattern, at }: EntryLine, report: Report): void {
  const port = ports?.find((candidate) => relayPorts.has(candidate));
  if (port === undefined) return;
  const message = `\`${pattern.text}\`: proxies listen on port ${port}; through one, an agent gets anywhere`;
  report(at, 'relay-port', message, HINT);
}

function lintInjections(entry: EntryLine, report: Report, reportUnlessNoted: Report): void {
  if (entry.inject === undefined) return;
  const { pattern, at } = entry;
  if (reachOfStrangers(pattern) !== null) {
    const message = `\`${pattern.text}\`: the secret would go to names that belong to strangers`;
    report(at, 'broad-inject', message, 'Name the one host that the secret is for.');
  } else if (pattern.kind !== 'name' || pattern.suffix !== 'exact') {
    const message = `\`${pattern.text}\`: the secret goes to every name that the pattern matches`;
    reportUnlessNoted(at, 'inject-wildcard', message, HINT);
  }
  if (entry.scheme === 'http') {
    const message = `\`${pattern.text}\`: the secret travels in the clear`;
    reportUnlessNoted(at, 'inject-in-clear', message, HINT);
  }
}

/** A tool is called at some path of some name, and each of them may be a server of its own. */
function lintTools({ pattern, tools, paths, at }: EntryLine, report: Report): void {
  if (tools === undefined || paths !== undefined) return;
  if (pattern.kind === 'name' && pattern.suffix === 'exact' && !pattern.text.includes('*')) return;
  const message = `\`${pattern.text}\`: the tools are those of every path of every name that the pattern matches`;
  report(at, 'tools-wildcard', message, 'Name the host, or the `paths` of the MCP server.');
}

function listed(hosts: readonly string[]): readonly ListedHost[] {
  return hosts.map((text) => {
    const andBelow = text.startsWith('.');
    const name = andBelow ? text.slice(1) : text;
    return { text: name, labels: name.split('.').toReversed(), andBelow };
  });
}
