import { clip } from './clip.ts';
import {
  type Complaint,
  integer,
  notEmpty,
  parsed,
  type Reader,
  type Report,
  text,
  uniqueListOf,
} from './fields.ts';
import { parseListenAddress, parseServerAddress } from './listen-address.ts';
import { listenKey, readListen } from './listen-setting.ts';
import { parseDuration } from './units.ts';
import type { YamlNode } from './yaml.ts';

/** One setting: where it may come from, what it is without any, and how it is read. */
export interface Setting<T> {
  /** Long flag of `serve`; undefined if there is none. */
  readonly flag?: string;
  /** Environment variable; undefined if there is none. */
  readonly variable?: string;
  /** As one would write it in the config file. */
  readonly default: string;
  /** Flags may be repeated, variables hold several with commas between. */
  readonly list?: true;
  /** What kind of value, in a word or two. */
  readonly type: string;
  readonly help: string;
  readonly read: Reader<T>;
}

const setting = <T>(row: Setting<T>): Setting<T> => row;

const duration = (initial: string, help: string): Setting<number> =>
  setting({ default: initial, type: 'DURATION', help, read: parsed(parseDuration) });

/**
 * Every setting. The key is the setting's name: its key in the config file, with a dot for a map
 * inside. The README's table is tested against this one.
 */
export const settingsTable = {
  listen: setting({
    flag: '--listen',
    variable: 'SALLYPORT_LISTEN',
    default: '127.0.0.1:3128',
    list: true,
    type: 'HOST:PORT',
    help: 'where clients connect; repeatable; in the file also with tls, agent, unix or proxy-protocol',
    read: notEmpty(uniqueListOf(readListen, 'addresses', '[127.0.0.1:3128]', listenKey)),
  }),
  allowlists: setting({
    flag: '--allowlists',
    variable: 'SALLYPORT_ALLOWLISTS',
    default: './allowlists',
    type: 'DIR',
    help: 'the directory of allowlist files',
    read: text,
  }),
  certs: setting({
    flag: '--certs',
    variable: 'SALLYPORT_CERTS',
    default: './certs',
    type: 'DIR',
    help: 'the directory of keys and certificates',
    read: text,
  }),
  log: setting({
    flag: '--log',
    variable: 'SALLYPORT_LOG',
    default: './logs/egress.jsonl',
    type: 'FILE',
    help: 'the egress log; - is standard output',
    read: text,
  }),
  admin: setting({
    flag: '--admin',
    variable: 'SALLYPORT_ADMIN',
    default: '127.0.0.1:3129',
    type: 'HOST:PORT',
    help: 'where health, metrics and reload are served; keep it on loopback',
    read: parsed(parseListenAddress),
  }),
  workers: setting({
    flag: '--workers',
    variable: 'SALLYPORT_WORKERS',
    default: '1',
    type: 'N',
    help: 'threads that carry traffic; auto is one per core',
    read: readWorkers,
  }),
  trust: setting({
    default: '',
    list: true,
    type: 'FILE',
    help: 'PEM files with roots to trust in upstream TLS, beside the usual ones',
    read: uniqueListOf(text, 'files', '[certs/internal-ca.crt]', String),
  }),
  'limits.connections': setting({
    default: '10000',
    type: 'N',
    help: 'client connections at a time, of all agents together',
    read: integer(1, 1_000_000),
  }),
  'limits.head-timeout': duration('10s', 'until the head of a request must be complete'),
  'limits.hello-timeout': duration('10s', 'until the TLS hello in a new tunnel must be complete'),
  'limits.connect-timeout': duration(
    '10s',
    'for connecting to a destination, all addresses together',
  ),
  'limits.idle-timeout': duration('15m', 'after which a tunnel without a byte is cut'),
  'limits.drain-timeout': duration('30s', 'that connections get to end after SIGTERM'),
  'resolver.servers': setting({
    default: '',
    list: true,
    type: 'IP[:PORT]',
    help: "DNS servers instead of the system's",
    read: uniqueListOf(parsed(parseServerAddress), 'servers', '[192.0.2.53]', String),
  }),
  'resolver.timeout': duration('5s', 'for resolving one name'),
  'resolver.cache': setting({
    default: '10000',
    type: 'N',
    help: 'names whose addresses are remembered; 0 remembers none',
    read: integer(0, 1_000_000),
  }),
} as const satisfies Readonly<Record<string, Setting<unknown>>>;

export type SettingName = keyof typeof settingsTable;
export type SettingValue<N extends SettingName> =
  (typeof settingsTable)[N] extends Setting<infer T> ? T : never;

/** `--config`: where the others may stand. Not a setting of the file itself. */
export const configSetting = {
  flag: '--config',
  variable: 'SALLYPORT_CONFIG',
  type: 'FILE',
  help: 'a YAML file with settings; flags and variables win over it',
} as const;

function readWorkers(node: YamlNode, name: string, report: Report): number | 'auto' | undefined {
  if (node.kind === 'scalar' && node.value === 'auto') return 'auto';
  if (node.kind === 'scalar' && typeof node.value === 'string') {
    const complaint = workersComplaint(node.value);
    report(node.at, complaint.code, `${name}: ${complaint.message}`, complaint.hint);
    return undefined;
  }
  return integer(1, 256)(node, name, report);
}

function workersComplaint(value: string): Complaint {
  return {
    code: 'bad-value',
    message: `\`${clip(value)}\` is not a number of workers`,
    hint: 'Write a whole number from 1 to 256, or auto for one per core.',
  };
}
