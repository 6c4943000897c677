import { endsInNumber, MAX_HOSTNAME_BYTES } from './hostname.ts';

/**
 * Why a target is refused, as fragments that follow "bad target: ". Fixed ASCII text, because
 * nothing that a client wrote may reach a status line.
 */
export const targetProblems = {
  tooLong: 'it is too long',
  noPort: 'the port is missing; write host:port',
  badPort: 'the port must be a number from 1 to 65535 without sign or leading zero',
  noHost: 'the host is empty; write host:port',
  brackets: 'brackets belong around an IPv6 address and nothing else; write [::1]:443 or name:443',
  noBrackets: 'there is more than one colon; write name:443, or [::1]:443 for an IPv6 address',
  userinfo: 'a user name or password does not belong into it; write host:port',
  percent: 'percent signs are not allowed in a host, neither encoded bytes nor zone ids',
  path: 'a path does not belong into it; write host:port',
  star: 'a star is no host name; ask for one host by its name',
  notAscii: 'the host is not ASCII; write its A-labels (xn--...)',
  nameTooLong: `the host name is longer than ${MAX_HOSTNAME_BYTES} bytes`,
  number:
    'the last label of the host is a number; an IPv4 address has four decimal parts without ' +
    'leading zeros',
  name:
    'the host is not a valid name; its labels have 1 to 63 letters, digits, hyphens and ' +
    'underscores and neither begin nor end with a hyphen',
  originForm: 'it is a path alone; a proxy needs the whole URL, http://host/path',
  notUrl: 'it is neither a URL nor for this method; write http://host/path',
  https: 'https is not fetched for you; open a tunnel with CONNECT host:443',
  websocket: 'ws and wss are not URLs for a proxy; write http://host/path, or CONNECT for wss',
  scheme: 'only http:// is served; for everything else open a tunnel with CONNECT host:port',
  pathStart: 'a path begins with a slash',
  fragment: 'a fragment (#) is never sent; leave it out',
  pathBytes: 'the path has a byte outside visible ASCII; percent-encode it',
  backslash: 'the path has a backslash; write a slash, or %5C',
} as const;

const breakers: readonly [byte: string, problem: string][] = [
  ['@', targetProblems.userinfo],
  ['%', targetProblems.percent],
  ['[', targetProblems.brackets],
  [']', targetProblems.brackets],
  ['/', targetProblems.path],
  ['?', targetProblems.path],
  ['#', targetProblems.path],
  ['*', targetProblems.star],
];

/** The most telling problem of a host that is neither a canonical name nor an address. */
export function hostProblem(host: string): string {
  if (host === '') return targetProblems.noHost;
  for (const [byte, problem] of breakers) if (host.includes(byte)) return problem;
  for (let at = 0; at < host.length; at++) {
    if (host.charCodeAt(at) > 0x7e) return targetProblems.notAscii;
  }
  const length = host.endsWith('.') ? host.length - 1 : host.length;
  if (length > MAX_HOSTNAME_BYTES) return targetProblems.nameTooLong;
  return endsInNumber(host) ? targetProblems.number : targetProblems.name;
}
