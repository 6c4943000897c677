import { readFileSync } from 'node:fs';
import { expected, type Report, reportUnknownKey } from './fields.ts';
import { describeFileError } from './file-reader.ts';
import type { HostPort, ListenSetting } from './listen-address.ts';
import { hasErrors, type Position, type Problem, problemAt, sortProblems } from './problem.ts';
import {
  configSetting,
  type Setting,
  type SettingName,
  type SettingValue,
  settingsTable,
} from './settings-table.ts';
import { readYaml, type YamlNode, type YamlScalar } from './yaml.ts';

/** All settings, read and checked. Paths are as written: relative ones to the working directory. */
export interface Settings {
  readonly listen: readonly ListenSetting[];
  readonly allowlists: string;
  readonly certs: string;
  /** Path, or `-` for standard output. */
  readonly log: string;
  readonly admin: HostPort;
  readonly workers: number | 'auto';
  /** PEM files. */
  readonly trust: readonly string[];
  readonly limits: {
    readonly connections: number;
    /** Milliseconds, as all that follow. */
    readonly headTimeout: number;
    readonly helloTimeout: number;
    readonly connectTimeout: number;
    readonly idleTimeout: number;
    readonly drainTimeout: number;
  };
  readonly resolver: {
    /** `IP`, `IP:PORT` or `[IPv6]:PORT`; empty = the system's. */
    readonly servers: readonly string[];
    /** Milliseconds. */
    readonly timeout: number;
    /** Names. */
    readonly cache: number;
  };
}

/** Values of flags, by the name of their setting. */
export interface SettingsFlags {
  readonly config?: string | undefined;
  readonly listen?: readonly string[] | undefined;
  readonly allowlists?: string | undefined;
  readonly certs?: string | undefined;
  readonly log?: string | undefined;
  readonly admin?: string | undefined;
  readonly workers?: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Settings from flags, else variables, else the config file, else defaults; each setting by itself.
 * A variable that is empty counts as not there. Problems name the flag, the variable, or the place
 * in the file. Never throws.
 */
export function loadSettings(
  flags: SettingsFlags,
  env: Environment,
  read: (path: string) => Uint8Array = readFileSync,
): { readonly settings: Settings } | { readonly problems: readonly Problem[] } {
  const loader = new Loader(flags, env, read);
  const settings = loader.load();
  return hasErrors(loader.problems) ? { problems: sortProblems(loader.problems) } : { settings };
}

class Loader {
  readonly problems: Problem[] = [];
  readonly #flags: SettingsFlags;
  readonly #env: Environment;
  readonly #file: ReadonlyMap<string, YamlNode>;
  readonly #report: Report = (at, code, message, hint) => {
    this.problems.push(problemAt(at, code, message, hint));
  };

  constructor(flags: SettingsFlags, env: Environment, read: (path: string) => Uint8Array) {
    this.#flags = flags;
    this.#env = env;
    const path = flags.config ?? (env[configSetting.variable] || undefined);
    this.#file = path === undefined ? new Map() : this.#readFile(path, read);
  }

  load(): Settings {
    return {
      listen: this.#value('listen'),
      allowlists: this.#value('allowlists'),
      certs: this.#value('certs'),
      log: this.#value('log'),
      admin: this.#value('admin'),
      workers: this.#value('workers'),
      trust: this.#value('trust'),
      limits: {
        connections: this.#value('limits.connections'),
        headTimeout: this.#value('limits.head-timeout'),
        helloTimeout: this.#value('limits.hello-timeout'),
        connectTimeout: this.#value('limits.connect-timeout'),
        idleTimeout: this.#value('limits.idle-timeout'),
        drainTimeout: this.#value('limits.drain-timeout'),
      },
      resolver: {
        servers: this.#value('resolver.servers'),
        timeout: this.#value('resolver.timeout'),
        cache: this.#value('resolver.cache'),
      },
    };
  }

  /** What was given last, or the default; also where what was given is refused, which is reported. */
  #value<N extends SettingName>(name: N): SettingValue<N> {
    const setting = settingsTable[name] as Setting<unknown>;
    const given = this.#given(name, setting);
    const value =
      given === undefined ? undefined : setting.read(given.node, given.name, this.#report);
    return (value ??
      setting.read(nodeOf(setting.default, setting, defaultsAt), name, ignore)) as SettingValue<N>;
  }

  /** The value's node, and how messages call it. */
  #given(
    name: SettingName,
    setting: Setting<unknown>,
  ): { node: YamlNode; name: string } | undefined {
    const flag = name in this.#flags ? this.#flags[name as keyof SettingsFlags] : undefined;
    if (flag !== undefined && setting.flag !== undefined) {
      return { node: nodeOf(flag, setting, outside(setting.flag)), name: setting.flag };
    }
    const variable = setting.variable === undefined ? '' : this.#env[setting.variable];
    if (variable && setting.variable !== undefined) {
      const parts = setting.list ? variable.split(',').map((part) => part.trim()) : variable;
      return { node: nodeOf(parts, setting, outside(setting.variable)), name: setting.variable };
    }
    const node = this.#file.get(name);
    return node === undefined ? undefined : { node, name: `\`${name}\`` };
  }

  /** The values of the config file, by the names of the table. */
  #readFile(path: string, read: (path: string) => Uint8Array): Map<string, YamlNode> {
    const values = new Map<string, YamlNode>();
    const at = { file: path, line: 1, column: 1 };
    let bytes: Uint8Array;
    try {
      bytes = read(path);
    } catch (error) {
      const message = `the config file cannot be read: ${describeFileError(error)}`;
      this.#report(
        at,
        'file-unreadable',
        message,
        'Name another with --config FILE, or leave it out.',
      );
      return values;
    }
    const { root, problems } = readYaml(path, bytes);
    this.problems.push(...problems);
    if (root !== null) this.#flatten(root, '', values);
    return values;
  }

  #flatten(node: YamlNode, prefix: string, values: Map<string, YamlNode>): void {
    if (node.kind !== 'map') {
      const what = prefix === '' ? 'the config file' : `\`${prefix.slice(0, -1)}\``;
      expected(
        node,
        what,
        'a map of settings',
        'Write listen: [127.0.0.1:3128], or leave it out.',
        this.#report,
      );
      return;
    }
    const names = Object.keys(settingsTable).filter((name) => name.startsWith(prefix));
    const known = new Set(names.map((name) => name.slice(prefix.length).split('.', 1)[0] ?? ''));
    for (const { key, at, value } of node.entries.values()) {
      const name = prefix + key;
      if (!known.has(key)) reportUnknownKey(key, at, [...known], this.#report);
      else if (Object.hasOwn(settingsTable, name)) values.set(name, value);
      else this.#flatten(value, `${name}.`, values);
    }
  }
}

const defaultsAt: Position = { file: 'defaults', line: 1, column: 1 };

function ignore(): void {
  // Defaults are right; a test reads each of them.
}

function outside(source: string): Position {
  return { file: source, line: 1, column: 1 };
}

/** Text from outside a file as the node that the same text would be in one. */
function nodeOf(
  given: string | readonly string[],
  setting: Setting<unknown>,
  at: Position,
): YamlNode {
  if (!setting.list) return scalarOf(typeof given === 'string' ? given : given.join(','), at);
  const items = typeof given === 'string' ? given.split(',').filter((item) => item !== '') : given;
  return { kind: 'list', at, items: items.map((item) => scalarOf(item, at)) };
}

function scalarOf(source: string, at: Position): YamlScalar {
  const value = /^\d{1,15}$/u.test(source) ? Number(source) : source;
  return { kind: 'scalar', at, value, source };
}
