import assert from 'node:assert/strict';
import { execFile, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { createAuthority } from '../../src/tls/authority.ts';
import { type KeyedCertificate, TestAuthority } from './certificates.ts';
import { type ClientRun, describeRun, searchPath } from './client-lab.ts';
import { until } from './deadline.ts';
import { startDnsServer } from './dns-server.ts';
import { type EgressLine, type EgressPattern, linesLike } from './egress-lines.ts';
import { dnsAddress } from './namespace.ts';
import { agent, type ProxyOptions, ProxyProcess } from './proxy-process.ts';

const program = path.resolve(import.meta.dirname, '../../src/main.ts');
const roots = new TestAuthority();

/** Milliseconds for one run of a client; none comes near it unless it hangs. */
const clientTimeout = 30_000;

export interface EnvLabOptions {
  /** Host → the address that it is on, one of the namespace's. Origins are the test's own. */
  readonly hosts: Readonly<Record<string, string>>;
  readonly allow: readonly unknown[];
  /** Further keys of the agent. */
  readonly agent?: object;
  readonly settings?: ProxyOptions['settings'];
  /** Where the sandbox reaches the proxy; default its first listener. */
  readonly proxyHost?: string;
}

/**
 * A proxy that inspects, and shells that know of it by the lines of `sallyport env` and by nothing
 * else. To be made inside `enterNamespace`.
 */
export class EnvLab implements AsyncDisposable {
  readonly proxy: ProxyProcess;
  /** An empty home directory for the clients. */
  readonly home: string;
  /** What `sallyport env demo` printed. */
  readonly exports: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    proxy: ProxyProcess,
    home: string,
    exports: string,
    stack: AsyncDisposableStack,
  ) {
    this.proxy = proxy;
    this.home = home;
    this.exports = exports;
    this.#stack = stack;
  }

  static async start(options: EnvLabOptions): Promise<EnvLab> {
    await using stack = new AsyncDisposableStack();
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-env-'));
    stack.defer(() => fs.rmSync(directory, { recursive: true, force: true }));
    const [home, certs, trusted] = ['home', 'certs', 'roots.pem'].map((name) =>
      path.join(directory, name),
    ) as [string, string, string];
    fs.mkdirSync(home);
    fs.writeFileSync(trusted, roots.cert);
    createAuthority(certs, Date.now());
    const zone = Object.entries(options.hosts).map(([host, at]) => {
      return [host, at.includes(':') ? { aaaa: [at] } : { a: [at] }] as const;
    });
    stack.use(
      await startDnsServer({ address: dnsAddress, port: 53, zone: Object.fromEntries(zone) }),
    );
    const demo = agent('a-token-that-no-client-has', options.allow, options.agent);
    const proxy = await ProxyProcess.start({
      settings: { certs, trust: [trusted], ...options.settings },
      allowlists: { 'demo.yaml': { agents: { demo } } },
    });
    stack.use(proxy);
    const config = path.join(proxy.directory, 'sallyport.yaml');
    const address = `${options.proxyHost ?? '127.0.0.1'}:${proxy.port}`;
    const env = await promisify(execFile)(process.execPath, [
      program,
      ...['env', 'demo', '--config', config, '--proxy', address],
    ]);
    return new EnvLab(proxy, home, env.stdout, stack.move());
  }

  /** A certificate that the proxy trusts, for an origin with these names. */
  certificate(...hosts: readonly string[]): KeyedCertificate {
    return roots.issue(hosts);
  }

  /** The value that a variable has by the exports; undefined if they do not name it. */
  exported(name: string): string | undefined {
    return new RegExp(`^export ${name}='(.*)'$`, 'mu').exec(this.exports)?.[1];
  }

  /**
   * Runs a script of a POSIX shell that has the exports; `node` in it is the one that runs the tests.
   * Waits for the egress lines of the requests that it made.
   */
  async shell(script: string, ...args: readonly string[]): Promise<ClientRun> {
    const seen = this.proxy.lines().length;
    const node = `node() { '${process.execPath}' "$@"; }`;
    const run = await runShell(`${this.exports}\n${node}\n${script}`, args, {
      cwd: this.home,
      env: { PATH: searchPath, HOME: this.home, TMPDIR: os.tmpdir(), LC_ALL: 'C.UTF-8' },
    });
    return { ...run, lines: await this.#settledLines(seen) };
  }

  /** Lines since the one with this index, once all that was opened has ended. */
  async #settledLines(seen: number): Promise<EgressLine[]> {
    let lines: EgressLine[] = [];
    await until(
      () => {
        lines = this.proxy.lines().slice(seen);
        return unended(lines).length === 0;
      },
      () => describeLines(unended(lines)),
    );
    return lines;
  }

  /** Stops the proxy, whose log must be whole. */
  async [Symbol.asyncDispose](): Promise<void> {
    await using _ = this.#stack;
    await this.proxy.stop();
  }
}

/** Runs it to its end, or ends it and all that it has started. */
async function runShell(
  script: string,
  args: readonly string[],
  options: SpawnOptions,
): Promise<Omit<ClientRun, 'lines'>> {
  const child = spawn('sh', ['-euc', script, 'sh', ...args], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const kill = (): void => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  };
  const late = setTimeout(kill, clientTimeout);
  const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => {
    const chunks: Buffer[] = [];
    stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
    return chunks;
  }) as [Buffer[], Buffer[]];
  const [status] = (await once(child, 'close')) as [number | null];
  clearTimeout(late);
  return {
    status,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
}

function unended(lines: readonly EgressLine[]): EgressLine[] {
  const ended = new Set(
    lines.filter(({ event }) => event === 'close' || event === 'request').map(({ id }) => id),
  );
  return lines.filter(({ event, id }) => event === 'open' && !ended.has(id));
}

function describeLines(lines: readonly EgressLine[]): string {
  return `still open: ${lines.map((line) => JSON.stringify(line)).join('\n')}`;
}

/**
 * Fails unless the client ended well, and the log has exactly `count` requests like this, each with one
 * `open` and one `request` line and the entry that let it through.
 */
export function assertRequests(run: ClientRun, pattern: EgressPattern, count = 1): EgressLine[] {
  assert.equal(run.status, 0, describeRun(run));
  const ends = linesLike(run.lines, {
    event: 'request',
    agent: 'demo',
    verdict: 'allow',
    ...pattern,
  });
  assert.equal(ends.length, count, describeRun(run));
  for (const { id, entry } of ends) {
    const events = run.lines.filter((line) => line.id === id).map(({ event }) => event);
    assert.deepEqual(events, ['open', 'request'], describeRun(run));
    assert.match(entry ?? '', /^demo\.yaml:[0-9]+$/u, describeRun(run));
  }
  return ends;
}

/** Fails unless the client showed `said`, and the log has exactly one request like this, blocked. */
export function assertRefusedRequest(
  run: ClientRun,
  pattern: EgressPattern,
  said: string | RegExp,
): EgressLine {
  const output = run.stdout + run.stderr;
  const shown = typeof said === 'string' ? output.includes(said) : said.test(output);
  assert.ok(shown, `${String(said)} is not in\n${describeRun(run)}`);
  const found = linesLike(run.lines, { event: 'block', agent: 'demo', ...pattern });
  const [line] = found;
  assert.ok(line !== undefined && found.length === 1, describeRun(run));
  assert.equal(line.verdict, 'block', describeRun(run));
  assert.match(line.entry ?? '', /^demo\.yaml:[0-9]+$/u, describeRun(run));
  return line;
}
