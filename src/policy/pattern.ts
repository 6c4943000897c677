import type { Cidr } from '../core/ip.ts';
import { readAddressPattern } from './address-pattern.ts';
import { readNamePattern } from './name-pattern.ts';
import { badPattern, type Finding, showCharacter, urlForm } from './pattern-finding.ts';

/** A host pattern of an allow or deny entry (contract §3, "Host patterns"), in canonical spelling. */
export type HostPattern = NamePattern | CidrPattern | AnyPattern;

export interface NamePattern {
  readonly kind: 'name';
  /** As written: `example.com`, `*.example.com`, `.example.com`, `a.*.example.com`. */
  readonly text: string;
  /** Without the leading `*.` or `.`, from right to left; `*` is exactly one label. */
  readonly labels: readonly string[];
  readonly suffix: 'exact' | 'below' | 'apex-and-below';
}

/** An address (prefix 32 or 128) or a range; matches IP-literal targets only. */
export interface CidrPattern {
  readonly kind: 'cidr';
  /** Canonical: without brackets, without a prefix that covers one address; mapped IPv4 as IPv4. */
  readonly text: string;
  readonly cidr: Cidr;
}

/** `*`: every name, no IP literal. */
export interface AnyPattern {
  readonly kind: 'any';
  readonly text: '*';
}

/** Why a pattern is refused. */
export interface PatternProblem {
  /** One of the codes of `sallyport check`. */
  readonly code: Finding['code'];
  /** One sentence without a full stop; shows nothing of the text but single characters. */
  readonly message: string;
  /** The form to write instead, a valid pattern; undefined if nobody can tell what was meant. */
  readonly hint: string | undefined;
}

/** The longest pattern is `*.` and a name of 253 characters. */
const LONGEST_PATTERN = 255;
/** A text can be wrong in several ways at once: `HTTPS://user@Bücher.Example:443/`. */
const MOST_REPAIRS = 8;

/** Reads one host pattern as it stands in an allowlist. Never throws, never repairs. */
export function parsePattern(text: string): HostPattern | PatternProblem {
  const read = readPattern(text);
  if (isHostPattern(read)) return read;
  return { code: read.code, message: read.message, hint: hintOf(read) };
}

/** As `parsePattern`, for who does not ask why it is none. */
export function hostPattern(text: string): HostPattern | null {
  const read = readPattern(text);
  return isHostPattern(read) ? read : null;
}

export function isHostPattern<P extends object>(read: HostPattern | P): read is HostPattern {
  return 'kind' in read;
}

/** Follows the candidates until one is a valid pattern. */
function hintOf(finding: Finding): string | undefined {
  let candidate = finding.candidate;
  for (let repairs = 0; candidate !== undefined && repairs < MOST_REPAIRS; repairs++) {
    const read = readPattern(candidate);
    if (isHostPattern(read)) return read.text;
    candidate = read.candidate;
  }
  return undefined;
}

function readPattern(text: string): HostPattern | Finding {
  if (text === '*') return { kind: 'any', text };
  const finding = findForm(text);
  if (finding !== null) return finding;
  if (looksLikeAddress(text)) {
    const address = readAddressPattern(text);
    return 'code' in address ? address : { kind: 'cidr', ...address };
  }
  const name = readNamePattern(text);
  return 'code' in name ? name : { kind: 'name', text, ...name };
}

/** What is no pattern at all: empty, too long, invisible characters, parts of a URL. */
function findForm(text: string): Finding | null {
  if (text === '') return badPattern('a host pattern is missing');
  const blank = text.search(/[\0-\x20\x7f]/);
  if (blank !== -1) {
    return badPattern(`${showCharacter(text, blank)} is in no host name`, trimmed(text));
  }
  if (text.length > LONGEST_PATTERN) return badPattern('a name has at most 253 characters');
  return findUrlPart(text);
}

function findUrlPart(text: string): Finding | null {
  const scheme = text.indexOf('://');
  if (scheme !== -1) return urlForm('a host pattern has no scheme', text.slice(scheme + 3));
  const path = text.search(/[/?#]/);
  if (path !== -1 && !(text[path] === '/' && looksLikeAddress(text.slice(0, path)))) {
    return urlForm('a host pattern has no path, query or fragment', text.slice(0, path));
  }
  const userinfo = text.lastIndexOf('@');
  if (userinfo !== -1) {
    return urlForm('a host pattern has no user name', text.slice(userinfo + 1));
  }
  const port = portColon(text);
  return port === -1 ? null : urlForm('a host pattern has no port', text.slice(0, port));
}

/** Where a port begins: behind a bracket, or at the only colon. -1 if there is none. */
function portColon(text: string): number {
  const bracket = text.indexOf(']:');
  if (bracket !== -1) return bracket + 1;
  const colon = text.indexOf(':');
  return colon === text.lastIndexOf(':') ? colon : -1;
}

/** Anything with a colon or brackets, or of four numbers, perhaps with a prefix behind it. */
function looksLikeAddress(text: string): boolean {
  if (/^\[[^\]]*\](?:\/[^/]*)?$/.test(text))
    return text.includes(':') || isDotted(text.slice(1, -1));
  return text.indexOf(':') !== text.lastIndexOf(':') || isDotted(text.replace(/\/[^/]*$/, ''));
}

function isDotted(text: string): boolean {
  return /^(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}$/.test(text);
}

function trimmed(text: string): string | undefined {
  const rest = text.trim();
  return rest === text || rest === '' ? undefined : rest;
}
