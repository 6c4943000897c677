import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { authorityPaths, createAuthority } from '../../src/tls/authority.ts';
import { TestAuthority } from './certificates.ts';
import { type DnsServer, startDnsServer } from './dns-server.ts';
import { type EgressLine, type EgressPattern, linesLike, onlyLine } from './egress-lines.ts';
import { dnsAddress } from './namespace.ts';
import { canary, type Origin } from './origins.ts';
import { agent, ProxyProcess } from './proxy-process.ts';
import { shippedAllowlists } from './shipped-allowlists.ts';
import { type Sites, WebOrigin } from './web-origin.ts';

/** Where the sites of a lab are, and where the names are that no entry allows. */
const siteAddress = '93.184.215.14';
const forbiddenAddress = '93.184.215.15';

/** A credential that stands in the URL as it is. */
export const credential = 'a-long-random-token-of-the-test';

/** Names that exist and that no agent of a lab may reach: a canary listens there. */
export const forbiddenHost = 'evil.test';

/** What a refused client is told about `forbiddenHost`, in the status line above all. */
export const refusalSentence = `${forbiddenHost} is not on the allowlist of agent demo`;

const { PATH = '' } = process.env;

/** Programs of the system come first: not the ones that `npm test` puts on the PATH. */
export const searchPath = `/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:${PATH}`;

/** Milliseconds for one run of a client; none comes near it unless it hangs. */
const clientTimeout = 60_000;

/** What a person sees of one run of a client, and what the egress log says of it. */
export interface ClientRun {
  /** Exit status; null if it hung and was killed. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Egress lines from during the run; the last `close` may come after it. */
  readonly lines: readonly EgressLine[];
}

export interface ClientOptions {
  /** Over the variables of the lab; undefined takes one away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Default: the lab's `home`. */
  readonly cwd?: string;
  /** What stands on standard input; nothing without. */
  readonly input?: string;
}

export interface LabOptions {
  readonly sites: Sites;
  readonly allow: readonly unknown[];
  /**
   * The shipped allowlists are read beside the agent's, and there is an authority for inspection,
   * which the clients trust instead of the one that signed the sites.
   */
  readonly inspected?: boolean;
  /** Further keys of the agent. */
  readonly agent?: object;
  /** Settings of the proxy, as `ProxyOptions` has them. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/**
 * For the `skip` of a test: false if these programs are there, else which one is missing.
 * @param names of programs on the PATH
 */
export function missingClient(...names: readonly string[]): string | false {
  const missing = names.filter((name) => !isInstalled(name));
  return missing.length > 0 && `not installed: ${missing.join(', ')} (.ci/run installs it)`;
}

function isInstalled(name: string): boolean {
  return searchPath.split(':').some((directory) => {
    try {
      fs.accessSync(path.join(directory, name), fs.constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

interface Parts {
  readonly proxy: ProxyProcess;
  readonly web: WebOrigin;
  readonly dns: DnsServer;
  readonly home: string;
  readonly caFile: string;
  readonly canaries: readonly Origin[];
  /** Ends all of them. */
  readonly stack: AsyncDisposableStack;
}

/**
 * The shipped program between real clients and origins on public-looking addresses. To be made
 * inside `enterNamespace`. Clients learn of the proxy by their variables alone.
 */
export class ClientLab {
  readonly proxy: ProxyProcess;
  readonly web: WebOrigin;
  readonly dns: DnsServer;
  /** An empty home directory for the clients. */
  readonly home: string;
  /** PEM file of the authority that the clients trust: it signed the sites, or inspects them. */
  readonly caFile: string;
  readonly #canaries: readonly Origin[];
  readonly #parts: AsyncDisposableStack;

  private constructor(parts: Parts) {
    this.proxy = parts.proxy;
    this.web = parts.web;
    this.dns = parts.dns;
    this.home = parts.home;
    this.caFile = parts.caFile;
    this.#canaries = parts.canaries;
    this.#parts = parts.stack;
  }

  static async start(options: LabOptions): Promise<ClientLab> {
    await using stack = new AsyncDisposableStack();
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-home-'));
    stack.defer(() => fs.rmSync(home, { recursive: true, force: true }));
    const names = Object.keys(options.sites);
    const authority = new TestAuthority();
    const roots = path.join(home, 'test-ca.pem');
    fs.writeFileSync(roots, authority.cert);
    const zone = Object.fromEntries(names.map((name) => [name, { a: [siteAddress] }]));
    const dns = await startDnsServer({
      address: dnsAddress,
      port: 53,
      zone: { ...zone, [forbiddenHost]: { a: [forbiddenAddress] } },
    });
    stack.use(dns);
    const web = await WebOrigin.start(siteAddress, options.sites, authority.issue(names));
    stack.use(web);
    const canaries = await Promise.all([80, 443].map((port) => canary(forbiddenAddress, port)));
    for (const one of canaries) stack.use(one);
    const demo = agent(credential, options.allow, options.agent);
    const lists = { 'demo.yaml': { agents: { demo } } };
    const { settings = {}, inspected = false } = options;
    const certs = path.join(home, 'certs');
    const caFile = inspected ? authorityPaths(certs).certificate : roots;
    if (inspected) createAuthority(certs, Date.now());
    const proxy = await ProxyProcess.start({
      allowlists: inspected ? { ...shippedAllowlists(), ...lists } : lists,
      settings: inspected ? { certs, trust: [roots], ...settings } : settings,
    });
    stack.use(proxy);
    return new ClientLab({ proxy, web, dns, home, caFile, canaries, stack: stack.move() });
  }

  /** `http://demo:CREDENTIAL@127.0.0.1:PORT`, as it stands in HTTPS_PROXY. */
  proxyUrl(secret = credential): string {
    return `http://demo:${secret}@127.0.0.1:${this.proxy.port}`;
  }

  /** Runs a client to its end. The program's own messages are asked for in English. */
  async run(
    command: string,
    args: readonly string[],
    options: ClientOptions = {},
  ): Promise<ClientRun> {
    const seen = this.proxy.lines().length;
    const child = spawn(command, args, {
      cwd: options.cwd ?? this.home,
      env: { ...this.#env(), ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: clientTimeout,
      killSignal: 'SIGKILL',
    });
    // Who does not read it may be gone before it is written.
    child.stdin.on('error', () => {}).end(options.input);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const [status] = (await once(child, 'close')) as [number | null];
    return { status, stdout, stderr, lines: this.proxy.lines().slice(seen) };
  }

  /**
   * Ends everything. Fails if a byte or a DNS query went to `forbiddenHost`, if a plain request took
   * the proxy's credential to an origin, if the credential is in the log, or if the log is not
   * whole. What a client says inside TLS is its own: apt does send the credential there.
   */
  async stop(): Promise<void> {
    await using _ = this.#parts;
    const lines = await this.proxy.stop();
    assert.equal(this.#canaries.flatMap((origin) => origin.connections).length, 0);
    assert.deepEqual(this.dns.asked(forbiddenHost), []);
    assert.ok(!JSON.stringify(lines).includes(credential));
    for (const { headers, secure } of this.web.requests) {
      if (!secure) assert.equal(headers['proxy-authorization'], undefined);
    }
  }

  #env(): NodeJS.ProcessEnv {
    const proxy = this.proxyUrl();
    return {
      PATH: searchPath,
      HOME: this.home,
      TMPDIR: os.tmpdir(),
      LC_ALL: 'C.UTF-8',
      HTTP_PROXY: proxy,
      HTTPS_PROXY: proxy,
      http_proxy: proxy,
      https_proxy: proxy,
      CARGO_HTTP_CAINFO: this.caFile,
      CURL_CA_BUNDLE: this.caFile,
      GIT_SSL_CAINFO: this.caFile,
      NODE_EXTRA_CA_CERTS: this.caFile,
      NPM_CONFIG_CAFILE: this.caFile,
      PIP_CERT: this.caFile,
      REQUESTS_CA_BUNDLE: this.caFile,
      SSL_CERT_FILE: this.caFile,
    };
  }
}

/** Fails unless the client ended well, its egress lines say so, and nothing was blocked for long. */
export function assertAllowed(run: ClientRun, pattern: EgressPattern): void {
  assert.equal(run.status, 0, describeRun(run));
  assert.ok(linesLike(run.lines, { event: 'open', ...pattern }).length > 0, describeRun(run));
  const blocked = linesLike(run.lines, { event: 'block' });
  const unexpected = blocked.filter((line) => line.reason !== 'no_credentials');
  assert.deepEqual(unexpected, [], describeRun(run));
}

/**
 * Fails unless the client ended with an error, showed `said` on its output, and the egress log
 * has a line that blocks `forbiddenHost` with the agent's name.
 */
export function assertBlocked(run: ClientRun, said: string | RegExp, status?: number): void {
  if (status === undefined) assert.notEqual(run.status, 0, describeRun(run));
  else assert.equal(run.status, status, describeRun(run));
  const output = run.stdout + run.stderr;
  const shown = typeof said === 'string' ? output.includes(said) : said.test(output);
  assert.ok(shown, `${String(said)} is not in\n${describeRun(run)}`);
  const blocked = linesLike(run.lines, { event: 'block', reason: 'host_not_allowed' });
  assert.ok(blocked.length > 0, describeRun(run));
  for (const line of blocked) {
    assert.deepEqual([line.agent, line.host, line.verdict], ['demo', forbiddenHost, 'block']);
  }
}

/** The only egress line of the run with these values. */
export function onlyLineOf(run: ClientRun, pattern: EgressPattern): EgressLine {
  return onlyLine(run.lines, pattern);
}

export function describeRun(run: ClientRun): string {
  const lines = run.lines.map((line) => JSON.stringify(line)).join('\n');
  return `status ${run.status}\n${run.stdout}\n${run.stderr}\n${lines}`;
}
