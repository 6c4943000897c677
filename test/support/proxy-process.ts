import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { patience, until } from './deadline.ts';
import { assertEgressLog, type EgressLine, readEgressLog } from './egress-lines.ts';

const main = path.resolve(import.meta.dirname, '../../src/main.ts');

export interface ProxyOptions {
  /** Files under the allowlists directory: YAML as text, or a value that is written as JSON (which YAML is). */
  readonly allowlists: Readonly<Record<string, string | object>>;
  /** Keys of sallyport.yaml over `listen` and `admin` on free ports of 127.0.0.1. */
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Further arguments of `serve`. */
  readonly args?: readonly string[];
  /** File that takes standard output; thrown away without. */
  readonly stdout?: string;
  /** Command and arguments that start the program in their turn: `['prlimit', '--nofile=100']`. */
  readonly prefix?: readonly string[];
}

/** What the proxy ended with instead of listening. */
export class ProxyStartError extends Error {
  override readonly name = 'ProxyStartError';
  readonly status: number | null;
  readonly stderr: string;

  constructor(status: number | null, stderr: string) {
    super(`the proxy ended with status ${status} before it listened:\n${stderr}`);
    this.status = status;
    this.stderr = stderr;
  }
}

export interface AdminAnswer {
  readonly status: number;
  readonly text: string;
}

/** The digest of a static token, as `credentials: {tokens: […]}` wants it. */
export function tokenDigest(token: string): string {
  return `sha256:${createHash('sha256').update(token).digest('hex')}`;
}

/** An agent for `allowlists`: `{agents: {demo: agent('secret', ['good.test'])}}`. `more`: further keys. */
export function agent(token: string, allow: readonly unknown[], more: object = {}): object {
  return {
    owner: 'owner@example.com',
    purpose: 'to be tested',
    credentials: { tokens: [tokenDigest(token)] },
    allow,
    ...more,
  };
}

/**
 * The program as it ships, in a process and a directory of its own. `await using` stops it and
 * takes the directory away.
 */
export class ProxyProcess implements AsyncDisposable {
  /** Holds `allowlists/`, `certs/`, `egress.jsonl` and `sallyport.yaml`; its working directory. */
  readonly directory: string;
  readonly logFile: string;
  /** Ports of the listeners, in order of `listen`. */
  ports: readonly number[] = [];
  adminPort = 0;
  readonly #child: ChildProcess;
  #stderr = '';
  #ended: { code: number | null; signal: NodeJS.Signals | null } | null = null;

  private constructor(options: ProxyOptions) {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-proxy-'));
    this.logFile = path.join(this.directory, 'egress.jsonl');
    this.writeAllowlists(options.allowlists);
    this.#child = this.#spawn(options);
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.#child.on('exit', (code, signal) => {
      this.#ended = { code, signal };
    });
    const kill = () => this.#child.kill('SIGKILL');
    process.once('exit', kill);
    this.#child.once('exit', () => process.off('exit', kill));
  }

  /** Resolves once it listens and is ready. Rejects with `ProxyStartError` if it ends before. */
  static async start(options: ProxyOptions): Promise<ProxyProcess> {
    const proxy = new ProxyProcess(options);
    try {
      await proxy.#untilReady();
    } catch (error) {
      await proxy[Symbol.asyncDispose]();
      throw error;
    }
    return proxy;
  }

  /** Port of the first listener. */
  get port(): number {
    return this.ports[0] ?? 0;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Everything it wrote on standard error so far: the operations log, one JSON object per line. */
  get stderr(): string {
    return this.#stderr;
  }

  get running(): boolean {
    return this.#ended === null;
  }

  /** The egress log as it stands. */
  lines(): EgressLine[] {
    return readEgressLog(this.logFile);
  }

  /** Adds or replaces files; what is not named stays. */
  writeAllowlists(files: ProxyOptions['allowlists']): void {
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(this.directory, 'allowlists', name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      const text = typeof content === 'string' ? content : JSON.stringify(content, null, 2);
      fs.writeFileSync(`${file}.new`, text);
      fs.renameSync(`${file}.new`, file);
    }
  }

  /** Writes these allowlist files, if any, and has them read; resolves when that is done. */
  async reload(files: ProxyOptions['allowlists'] = {}): Promise<AdminAnswer> {
    this.writeAllowlists(files);
    return await this.admin('/reload', 'POST');
  }

  /** Asks the admin listener. */
  async admin(target: string, method = 'GET'): Promise<AdminAnswer> {
    const request = http.request({ port: this.adminPort, path: target, method, agent: false });
    request.setTimeout(6 * patience, () => {
      request.destroy(new Error(`no answer to ${method} ${target}\n${this.#stderr}`));
    });
    request.end();
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk;
    return { status: response.statusCode ?? 0, text };
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits until it has ended by itself or by a signal; its exit status, null if a signal killed it. */
  async waitForExit(deadline = patience): Promise<number | null> {
    await until(
      () => this.#ended !== null,
      () => `still running\n${this.#stderr}`,
      deadline,
    );
    return this.#ended?.code ?? null;
  }

  /**
   * SIGTERM, and waits for the end; gives the lines of the egress log, of which it has seen that
   * they are whole (see `assertEgressLog`). Open tunnels make it wait: close them first.
   */
  async stop(deadline = patience): Promise<EgressLine[]> {
    this.signal('SIGTERM');
    const status = await this.waitForExit(deadline);
    if (status !== 0) throw new Error(`ended with status ${status}\n${this.#stderr}`);
    const lines = this.lines();
    assertEgressLog(lines);
    return lines;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended === null) {
      this.signal('SIGKILL');
      await this.waitForExit();
    }
    fs.rmSync(this.directory, { recursive: true, force: true });
  }

  #spawn(options: ProxyOptions): ChildProcess {
    const config = path.join(this.directory, 'sallyport.yaml');
    const settings = {
      listen: ['127.0.0.1:0'],
      admin: '127.0.0.1:0',
      allowlists: path.join(this.directory, 'allowlists'),
      certs: path.join(this.directory, 'certs'),
      log: this.logFile,
      ...options.settings,
    };
    fs.writeFileSync(config, JSON.stringify(settings));
    const program = [process.execPath, '--disable-sigusr1', main, 'serve', '--config', config];
    const [command = '', ...args] = [
      ...(options.prefix ?? []),
      ...program,
      ...(options.args ?? []),
    ];
    return spawn(command, args, {
      cwd: this.directory,
      env: { ...withoutSettings(process.env), ...options.env },
      stdio: ['ignore', options.stdout ? fs.openSync(options.stdout, 'a') : 'ignore', 'pipe'],
    });
  }

  async #untilReady(): Promise<void> {
    const looked = () => `not listening\n${this.#stderr}`;
    await until(() => this.#listening() || this.#ended !== null, looked, 2 * patience);
    if (this.#ended !== null) throw new ProxyStartError(this.#ended.code, this.#stderr);
    const ready = async () => (await this.admin('/ready')).status === 200;
    await until(ready, () => `not ready\n${this.#stderr}`);
  }

  /** The operations log names the ports once all are open. */
  #listening(): boolean {
    const line = this.#stderr.split('\n').find((text) => text.includes('"msg":"listening"'));
    if (line === undefined) return false;
    const { listen, admin } = JSON.parse(line) as { listen: string[]; admin: string };
    this.ports = listen.map(portOf);
    this.adminPort = portOf(admin);
    return true;
  }
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

/** Settings of whoever runs the tests must not reach the proxy under test. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('SALLYPORT_')));
}
