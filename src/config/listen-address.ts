import { parseAuthority } from '../core/authority-form.ts';
import { type Cidr, parseIp } from '../core/ip.ts';
import { clip } from './clip.ts';
import type { Complaint } from './fields.ts';

/** An address of TCP. */
export interface HostPort {
  /** Name, or IP address without brackets. */
  readonly host: string;
  /** 0–65535; 0 takes any free port. */
  readonly port: number;
}

/** A Unix socket in the file system. */
export interface UnixPath {
  readonly path: string;
  /** Permission bits: who may connect. */
  readonly mode: number;
}

/** A listener for clients. */
export interface ListenSetting {
  readonly at: HostPort | UnixPath;
  /** Null: plain TCP. */
  readonly tls: TlsSetting | null;
  /** Id of the agent that everyone who connects here is; null: clients say who they are. */
  readonly agent: string | null;
  /** Who must say with a PROXY header (version 2) for whom they speak; empty: nobody does. */
  readonly proxyProtocol: readonly Cidr[];
}

/** Paths of PEM files, and what is asked of clients. */
export interface TlsSetting {
  readonly cert: string;
  readonly key: string;
  /** Client certificates are asked for, and must come from this authority; null: they are not. */
  readonly clientCa: string | null;
  /** A client without a certificate is turned away. */
  readonly required: boolean;
  /** Certificate revocation list of that authority. */
  readonly crl: string | null;
}

export const isUnix = (at: HostPort | UnixPath): at is UnixPath => 'path' in at;

/** `127.0.0.1:3128`, `[::1]:3128`, `unix:/run/sallyport/demo.sock`: as messages and the log say it. */
export function formatListener(at: HostPort | UnixPath): string {
  if (isUnix(at)) return `unix:${at.path}`;
  return at.host.includes(':') ? `[${at.host}]:${at.port}` : `${at.host}:${at.port}`;
}

/** `HOST:PORT`, an IPv6 address in brackets; port 0 included. */
export function parseListenAddress(text: string): { value: HostPort } | Complaint {
  const anyPort = /^(.*):0$/u.exec(text)?.[1];
  const target = parseAuthority(anyPort === undefined ? text : `${anyPort}:1`);
  if (typeof target !== 'string') {
    const port = anyPort === undefined ? target.port : 0;
    return { value: { host: target.host, port } };
  }
  return {
    code: 'bad-setting',
    message: `\`${clip(text)}\` is not an address to listen on`,
    hint: `Write ${listenHint(text)}.`,
  };
}

function listenHint(text: string): string {
  const port = /^\*?:?(\d{1,5})$/u.exec(text)?.[1];
  if (port !== undefined && Number(port) <= 65_535) {
    return `127.0.0.1:${port}, or 0.0.0.0:${port} for every address`;
  }
  if (parseIp(text)?.family === 6) return `[${text}]:3128`;
  if (parseIp(text) !== null) return `${text}:3128`;
  return '127.0.0.1:3128, [::1]:3128 or 0.0.0.0:3128; port 0 takes any free one';
}

/** A DNS server: `IP`, `IP:PORT` or `[IPv6]:PORT`; the text as it came. */
export function parseServerAddress(text: string): { value: string } | Complaint {
  const bare = parseIp(text);
  const target = bare === null ? parseAuthority(text) : null;
  const isAddress = bare !== null || (typeof target === 'object' && target?.ip !== null);
  if (isAddress) return { value: text };
  return {
    code: 'bad-setting',
    message: `\`${clip(text)}\` is not the address of a DNS server`,
    hint: 'Write 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53; names would need a resolver first.',
  };
}
