import { type Cidr, parseIp } from '../core/ip.ts';
import { parsePattern } from '../policy/pattern.ts';
import type { Scheme } from '../policy/policy.ts';
import { clip } from './clip.ts';
import type { Complaint } from './fields.ts';

/** The short form of an entry, taken apart but for its host pattern. */
export interface EntryForm {
  /** Undefined if the text names none. */
  readonly scheme: Scheme | undefined;
  /** Without brackets. */
  readonly host: string;
  readonly port: number | undefined;
}

const url = /^([A-Za-z][A-Za-z0-9+.-]{0,20}):\/\/(.*)$/su;

/** `HOST`, `HOST:PORT`, `http://HOST[:PORT]`, `tcp://HOST:PORT` (contract §3, "Short forms"). */
export function parseEntryForm(text: string): EntryForm | Complaint {
  const match = url.exec(text);
  if (match === null) return parseHostAndPort(text, undefined);
  const [, name = '', rest = ''] = match;
  if (name === 'http' || name === 'tcp') return parseHostAndPort(rest, name);
  return schemeComplaint(text, name.toLowerCase(), rest);
}

/** True for the text of an address or range of either family, with or without host bits. */
export function looksLikeRange(text: string): boolean {
  const slash = text.indexOf('/');
  return parseIp(slash === -1 ? text : text.slice(0, slash)) !== null;
}

function parseHostAndPort(rest: string, scheme: Scheme | undefined): EntryForm | Complaint {
  if (rest.startsWith('[')) return parseBracketed(rest, scheme);
  if (looksLikeRange(rest) && !/\/[^:]*:/u.test(rest))
    return { scheme, host: rest, port: undefined };
  const stranger = /[@?#\\]|\/(?![0-9]{1,3}(?::|$))/u.exec(rest);
  if (stranger !== null) return urlComplaint(rest, scheme);
  const colon = rest.indexOf(':');
  if (colon === -1) return { scheme, host: rest, port: undefined };
  if (rest.includes(':', colon + 1)) return colonComplaint(rest, scheme);
  const port = parsePort(rest.slice(colon + 1));
  const host = rest.slice(0, colon);
  if (port === null) return portComplaint(rest.slice(colon + 1), host, scheme);
  return { scheme, host, port };
}

/** `[IPv6]`, `[IPv6]:PORT`; the brackets may hold an IPv6 range as well. */
function parseBracketed(rest: string, scheme: Scheme | undefined): EntryForm | Complaint {
  const end = rest.indexOf(']');
  const host = rest.slice(1, end);
  const tail = rest.slice(end + 1);
  if (end === -1 || !host.includes(':') || !(tail === '' || tail.startsWith(':'))) {
    return {
      code: 'bad-pattern',
      message: `\`${clip(rest)}\`: brackets belong around an IPv6 address, and only a port may follow`,
      hint: 'Write `"[2001:db8::1]:443"`, in quotes, or the name or IPv4 address without brackets.',
    };
  }
  if (tail === '') return { scheme, host, port: undefined };
  const port = parsePort(tail.slice(1));
  return port === null ? portComplaint(tail.slice(1), `[${host}]`, scheme) : { scheme, host, port };
}

/** 1–65535 in decimal digits, without sign or leading zero; else null. */
function parsePort(text: string): number | null {
  if (!/^[1-9][0-9]{0,4}$/u.test(text)) return null;
  const port = Number(text);
  return port <= 65_535 ? port : null;
}

function portComplaint(port: string, host: string, scheme: Scheme | undefined): Complaint {
  const example = `${prefixOf(scheme)}${clip(host)}`;
  if (port === '*') {
    return {
      code: 'bad-port',
      message: 'there is no entry for every port',
      hint: `Name the ports: \`{host: "${clip(host)}", ports: [443, 8443]}\`.`,
    };
  }
  return {
    code: 'bad-port',
    message: port === '' ? 'nothing follows the colon' : `\`${clip(port)}\` is not a port`,
    hint: `Write \`${example}:443\`, or any number from 1 to 65535 without sign or leading zero.`,
  };
}

function colonComplaint(rest: string, scheme: Scheme | undefined): Complaint {
  return {
    code: 'bad-pattern',
    message: `\`${clip(rest)}\` has more than one colon and is not an IPv6 address`,
    hint: `Write \`${prefixOf(scheme)}HOST:PORT\`, or \`"[2001:db8::1]:443"\` for an IPv6 address with a port.`,
  };
}

/** A path, query, fragment, user or backslash where a host belongs. */
function urlComplaint(rest: string, scheme: Scheme | undefined): Complaint {
  const authority = rest.split(/[/?#\\]/u, 1)[0] ?? '';
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  const path = rest.slice(authority.length).split(/[?#]/u, 1)[0] ?? '';
  const form = `${prefixOf(scheme)}${clip(host)}`;
  if (authority.includes('@')) {
    return {
      code: 'url-form',
      message: 'a user or password does not belong into an entry',
      hint: `Write \`${form}\`, and change that password: it stands in a file now.`,
    };
  }
  const long =
    scheme === undefined ? `host: ${clip(host)}` : `host: ${clip(host)}, scheme: ${scheme}`;
  const paths =
    path.length > 1 ? `, or \`{${long}, paths: ["${clip(path)}"]}\` for that path alone` : '';
  return {
    code: 'url-form',
    message: `\`${prefixOf(scheme)}${clip(rest)}\`: an entry is a host, without path or query`,
    hint: `Write \`${form}\`${paths}.`,
  };
}

function schemeComplaint(text: string, scheme: string, rest: string): Complaint {
  const host = (rest.split(/[/?#\\]/u, 1)[0] ?? '').replace(/^.*@/u, '');
  const bare = clip(host.replace(/:443$/u, ''));
  if (scheme === 'https' || scheme === 'wss') {
    const why = scheme === 'wss' ? 'wss is https' : 'https is what an entry means by itself';
    const path = rest.slice(host.length);
    const paths = path.length > 1 ? ', with `paths` in the long form if a path is meant' : '';
    return {
      code: 'url-form',
      message: `\`${clip(text)}\`: ${why}`,
      hint: `Write \`${bare}\`${paths}.`,
    };
  }
  if (scheme === 'http' || scheme === 'tcp' || scheme === 'ws') {
    const right = scheme === 'ws' ? 'http' : scheme;
    return {
      code: 'url-form',
      message: `\`${clip(text)}\`: ${scheme === 'ws' ? 'ws is http' : 'schemes are lower case'}`,
      hint: `Write \`${right}://${clip(host)}\`.`,
    };
  }
  return {
    code: 'bad-scheme',
    message: `\`${clip(scheme)}\` is not a scheme here; there are https, http and tcp`,
    hint: `Write \`${bare}\` for https, \`http://${clip(host)}\` for plain HTTP, or \`tcp://${bare}:PORT\` for anything else.`,
  };
}

function prefixOf(scheme: Scheme | undefined): string {
  return scheme === undefined ? '' : `${scheme}://`;
}

/** An address or range of `addresses` and `sources`. */
export function parseRange(text: string): { value: Cidr } | Complaint {
  const pattern = parsePattern(text);
  if ('kind' in pattern && pattern.kind === 'cidr') return { value: pattern.cidr };
  const meant = 'kind' in pattern ? undefined : pattern.hint;
  return {
    code: 'bad-address',
    message: `\`${clip(text)}\` is not an IP address or range`,
    hint:
      meant !== undefined && looksLikeRange(meant)
        ? `Write \`${meant}\`: the bits behind the prefix are zero, in the usual spelling.`
        : 'Write `10.20.0.0/16`, `192.0.2.7` or `2001:db8::/32`; names are not addresses.',
  };
}
