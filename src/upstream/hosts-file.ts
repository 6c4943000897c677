import { readFileSync } from 'node:fs';
import type { Clock } from '../core/clock.ts';
import { systemClock } from '../core/clock.ts';
import { FileStamp } from '../core/file-stamp.ts';
import type { Ip } from '../core/ip.ts';
import { parseIp } from '../core/ip.ts';

/** Name in lower case → its addresses, IPv4 before IPv6, each in the order of the file. */
export type HostsTable = ReadonlyMap<string, readonly Ip[]>;

/**
 * The names of hosts(5), read again when the file changes. A file that is missing or unreadable
 * holds no names.
 */
export class HostsFile {
  readonly #path: string;
  readonly #stamp: FileStamp;
  #table: HostsTable = new Map();

  constructor(path = '/etc/hosts', clock: Clock = systemClock) {
    this.#path = path;
    this.#stamp = new FileStamp(path, clock);
  }

  /** The addresses of exactly this name (canonical lower case), or null. Never throws. */
  lookup(name: string): readonly Ip[] | null {
    if (this.#stamp.changed()) this.#table = parseHosts(readText(this.#path));
    return this.#table.get(name) ?? null;
  }
}

/**
 * hosts(5): `address name alias…`, `#` begins a comment. A line whose first word is not an address
 * in plain form (zone ids included) is skipped.
 */
export function parseHosts(text: string): HostsTable {
  const table = new Map<string, Ip[]>();
  for (const line of text.split('\n')) {
    const comment = line.indexOf('#');
    const words = (comment === -1 ? line : line.slice(0, comment)).trim().split(/\s+/);
    const ip = parseIp(words[0] ?? '');
    if (ip === null) continue;
    for (const name of words.slice(1)) addAddress(table, name.toLowerCase(), ip);
  }
  for (const addresses of table.values()) addresses.sort((a, b) => a.family - b.family);
  return table;
}

function addAddress(table: Map<string, Ip[]>, name: string, ip: Ip): void {
  const known = table.get(name);
  if (known === undefined) table.set(name, [ip]);
  else if (!known.some((other) => other.text === ip.text)) known.push(ip);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
