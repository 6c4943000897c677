import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Installation, runCommand } from './command.ts';
import { type DnsServer, startDnsServer } from './dns-server.ts';
import { type EgressLine, onlyLine, parseEgressLog } from './egress-lines.ts';
import { type EntryPoint, entryPoints, idOf, secretsIn, shownOf } from './identity-entries.ts';
import { dnsAddress } from './namespace.ts';
import { echo, type Origin, type Script, startTcpOrigin } from './origins.ts';
import { agent, ProxyProcess, tokenDigest } from './proxy-process.ts';
import { connectHead, RawClient } from './raw-client.ts';
import { keySet, TestKey } from './token-issuer.ts';

/** How a client gets to a listener: the connection over which it then speaks HTTP. */
export type Way = (stage: IdentityStage, localAddress: string) => Promise<RawClient>;

/** One proof, and what the proxy must make of it at every way in. */
export interface Row {
  /** Kind: state. */
  readonly what: string;
  /** Header lines that show it. */
  readonly fields: string | (() => Promise<string>);
  /** Default: the plain port. */
  readonly way?: Way;
  /** Address of the client; default one of its own. */
  readonly source?: string;
  /** Why it is refused; undefined: it is good. */
  readonly reason?: string;
  /** The agent in the log; undefined: none. */
  readonly agent?: string;
  /** The id of the proof in the log; undefined: none. */
  readonly token?: RegExp;
  /** More of the `open` line. */
  readonly line?: Readonly<Record<string, unknown>>;
}

export const token = (id: string) => `the-static-token-of-${id}`;
export const field = (value: string) => `Proxy-Authorization: ${value}\r\n`;
export const basicValue = (text: string) =>
  `Basic ${Buffer.from(text, 'latin1').toString('base64')}`;
export const basic = (text: string) => field(basicValue(text));

const address = '93.184.215.14';
const allow = ['tcp://tcp.test:22', 'http://plain.test'];
const tokensOnly = (id: string, more: object) => ({
  credentials: { tokens: [tokenDigest(token(id))], ...more },
});

/** Keys of the issuers whose tokens some agents are known by. */
export const issuerKeys = {
  rsa: new TestKey('rsa-1', 'RS256'),
  ec: new TestKey('ec-1', 'ES256'),
  ed: new TestKey('ed-1', 'EdDSA'),
  mesh: new TestKey('mesh-1', 'ES256'),
};

/** The SPIFFE id by which `worker` is known. */
export const workerId = 'spiffe://example.com/agent/worker';

const ci = 'https://ci.test';
const workload = (issuer: string, sub: string, more: object = {}) => ({
  credentials: { issued: false, workloads: [{ issuer, claims: { sub }, ...more }] },
});

const allowlists = {
  'keys/ci.json': keySet([issuerKeys.rsa, issuerKeys.ec, issuerKeys.ed]),
  'keys/mesh.json': keySet([issuerKeys.mesh]),
  'agents.yaml': {
    issuers: {
      ci: {
        issuer: ci,
        audience: 'sallyport',
        algorithms: ['RS256', 'ES256', 'EdDSA'],
        keys: { file: 'keys/ci.json' },
      },
      mesh: {
        'trust-domain': 'example.com',
        audience: 'sallyport',
        keys: { file: 'keys/mesh.json' },
      },
    },
    groups: { both: { allow }, other: { allow: ['tcp://other.test:22', 'http://other.test'] } },
    agents: {
      alice: agent(token('alice'), [{ group: 'both' }, { group: 'other' }]),
      bob: agent(token('bob'), allow),
      // Static tokens with something odd in them.
      odd0: agent(token('colon:and:more'), allow),
      odd1: agent(token('plus>>>???'), allow),
      odd2: agent(token('padded=='), allow),
      fixed: agent('-', allow, tokensOnly('fixed', { issued: false })),
      deployer: agent('-', allow, {
        ...workload('ci', 'repo:example/app:*', { task: 'run_id', 'requested-by': 'actor' }),
      }),
      service: agent('-', allow, workload('mesh', 'spiffe://example.com/ns/*/sa/service')),
      worker: agent('-', allow, {
        credentials: { tokens: [tokenDigest(token('worker'))], certificates: [workerId] },
      }),
      inside: agent('-', allow, tokensOnly('inside', { sources: ['127.9.0.0/16'] })),
    },
  },
};

/** Switches to WebSocket if it is asked to; answers anything else with nothing much. */
const web: Script = (received) => {
  received.socket.on('data', (chunk: Buffer) => {
    const text = chunk.toString('latin1');
    if (!text.includes(' HTTP/1.1\r\n')) return;
    const answer = text.includes('Upgrade: websocket')
      ? '101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket'
      : '200 OK\r\nContent-Length: 0';
    received.socket.write(`HTTP/1.1 ${answer}\r\n\r\n`);
  });
};

const plainPort: Way = (stage, localAddress) =>
  RawClient.connect({ port: stage.proxy.port, localAddress });

/**
 * A proxy with the agents above, origins at `tcp.test:22`, `plain.test:80` and `other.test` (both),
 * and a memory of every secret that was shown to it.
 */
export class IdentityStage implements AsyncDisposable {
  readonly proxy: ProxyProcess;
  readonly origins: readonly Origin[];
  readonly #dns: DnsServer;
  readonly #ours = new Installation();
  readonly #foreign = new Installation();
  readonly #secrets = new Set<string>();
  #readTo = 0;
  #sources = 0;
  /** What a client without any proof is told. */
  #challenge = '';

  private constructor(proxy: ProxyProcess, dns: DnsServer, origins: readonly Origin[]) {
    this.proxy = proxy;
    this.#dns = dns;
    this.origins = origins;
  }

  /** @param listen listeners, the first a plain port for all */
  static async start(listen: readonly unknown[] = ['127.0.0.1:0']): Promise<IdentityStage> {
    const zone = { '*': { a: [address] } };
    const dns = await startDnsServer({ address: dnsAddress, port: 53, zone });
    const origins = await Promise.all([
      startTcpOrigin({ address, port: 22 }, echo),
      startTcpOrigin({ address, port: 80 }, web),
    ]);
    const proxy = await ProxyProcess.start({ allowlists, settings: { listen } });
    const stage = new IdentityStage(proxy, dns, origins);
    const client = await stage.connect();
    client.write(connectHead('tcp.test:22'));
    stage.#challenge = shownOf(await client.readToClose());
    assert.match(stage.#challenge, /^HTTP\/1\.1 407 a valid proxy credential is required\r\n/);
    return stage;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await Promise.all(this.origins.map((origin) => origin.close()));
    await this.#dns.close();
    this.#ours[Symbol.dispose]();
    this.#foreign[Symbol.dispose]();
  }

  /** Runs a command against the proxy, as its user would. */
  async command(...argv: readonly string[]): Promise<string> {
    const config = ['--config', path.join(this.proxy.directory, 'sallyport.yaml')];
    const admin = { SALLYPORT_ADMIN: `127.0.0.1:${this.proxy.adminPort}` };
    const { status, stdout, stderr } = await runCommand([...argv, ...config], admin);
    assert.equal(status, 0, stderr);
    return stdout.trim();
  }

  /** The same credential with less in it, by the command. */
  async attenuate(credential: string, args: readonly string[]): Promise<string> {
    const argv = ['token', 'attenuate', credential, ...args];
    const { status, stdout, stderr } = await this.#ours.run(argv);
    assert.equal(status, 0, stderr);
    return stdout.trim();
  }

  /** A connection to the plain port, from an address that has not failed yet. */
  async connect(): Promise<RawClient> {
    return await plainPort(this, this.newSource());
  }

  newSource(): string {
    const n = ++this.#sources;
    return `127.3.${n >> 8}.${n & 255}`;
  }

  /** DNS queries and connections to origins so far. */
  get outside(): number {
    const connections = this.origins.map((origin) => origin.connections.length);
    return connections.reduce((sum, count) => sum + count, this.#dns.queries.length);
  }

  /** Lines of the egress log since the last call. */
  newLines(): EgressLine[] {
    const text = fs.readFileSync(this.proxy.logFile, 'utf8');
    const lines = parseEgressLog(text.slice(this.#readTo));
    this.#readTo = text.length;
    return lines;
  }

  /** A credential by the command, as if it were issued at `now`, signed by the proxy's key. */
  async issue(args: readonly string[], now?: number): Promise<string> {
    return await this.#issue(this.#ours, path.join(this.proxy.directory, 'certs'), args, now);
  }

  /** The same by somebody who has the allowlists but not the key. */
  async issueElsewhere(args: readonly string[]): Promise<string> {
    return await this.#issue(this.#foreign, this.#foreign.certs, args, undefined);
  }

  /** A credential for `fixed`, of a time when it took such. */
  async issueForFixed(): Promise<string> {
    const text = JSON.stringify(allowlists['agents.yaml']);
    await this.proxy.reload({ 'agents.yaml': text.replace('"issued":false', '"issued":true') });
    const credential = await this.issue(['fixed']);
    await this.proxy.reload(allowlists);
    return credential;
  }

  async #issue(
    installation: Installation,
    certs: string,
    args: readonly string[],
    now: number | undefined,
  ): Promise<string> {
    const { status, stdout, stderr } = await installation.run(['token', 'issue', ...args], now, {
      SALLYPORT_ALLOWLISTS: path.join(this.proxy.directory, 'allowlists'),
      SALLYPORT_CERTS: certs,
    });
    assert.equal(status, 0, stderr);
    return stdout.trim();
  }

  /** Shows the proof at every way in. */
  async checkRow(row: Row): Promise<void> {
    const fields = typeof row.fields === 'string' ? row.fields : await row.fields();
    for (const secret of secretsIn(fields)) this.#secrets.add(secret);
    const source = row.source ?? this.newSource();
    for (const point of entryPoints) {
      this.newLines();
      const { outside } = this;
      const client = await (row.way ?? plainPort)(this, source);
      try {
        await point.send(client, fields);
        if (row.reason === undefined) await this.#served(row, point, client);
        else {
          await this.#refused(row, point, client);
          assert.equal(this.outside, outside, `${point.name}: nothing is asked or dialled`);
        }
      } finally {
        client.close();
      }
    }
  }

  /** Nothing that was shown is anywhere where somebody else could read it. */
  async checkSecrets(): Promise<void> {
    const [metrics, connections] = await Promise.all(
      ['/metrics', '/connections'].map(async (target) => (await this.proxy.admin(target)).text),
    );
    const log = fs.readFileSync(this.proxy.logFile, 'utf8');
    assert.ok(this.#secrets.size > 0);
    for (const [where, text] of Object.entries({
      metrics,
      connections,
      log,
      stderr: this.proxy.stderr,
    })) {
      for (const secret of this.#secrets) {
        assert.ok(!text?.includes(secret), `${secret} is in ${where}`);
      }
    }
  }

  async #served(row: Row, point: EntryPoint, client: RawClient): Promise<void> {
    const answer = await point.answer(client);
    assert.equal(answer.status, point.good, `${point.name}: ${answer.reason}`);
    if (!point.opens) {
      const page = JSON.parse(answer.body.toString()) as {
        agent: string;
        credential: { id?: string };
      };
      assert.equal(page.agent, row.agent, point.name);
      if (row.token !== undefined) assert.match(page.credential.id ?? '', row.token, point.name);
      return;
    }
    const line = onlyLine(this.newLines(), { event: 'open' });
    this.#compare(row, point, line);
    for (const [key, value] of Object.entries(row.line ?? {})) {
      assert.equal(line[key as keyof EgressLine], value, point.name);
    }
  }

  async #refused(row: Row, point: EntryPoint, client: RawClient): Promise<void> {
    const answer = await client.readToClose();
    // The one that tells who it is, to somebody who has proven to be that.
    const isQuarantined = row.reason === 'agent_quarantined';
    const status = isQuarantined ? 403 : 407;
    if (!isQuarantined) assert.equal(shownOf(answer), this.#challenge, point.name);
    else assert.match(answer.toString('latin1'), /^HTTP\/1\.1 403 agent \w+ is quarantined\r\n/);
    const line = onlyLine(this.newLines(), { event: 'block', id: idOf(answer) ?? 'none' });
    assert.deepEqual([line.reason, line.status], [row.reason, status], point.name);
    this.#compare(row, point, line);
  }

  #compare(row: Row, point: EntryPoint, line: EgressLine): void {
    assert.equal(line.agent, row.agent, point.name);
    if (row.token === undefined) assert.equal(line.token, undefined, point.name);
    else assert.match(line.token ?? 'none', row.token, point.name);
  }
}

/** The parts of a signed credential, changed. */
export function changed(credential: string, change: (parts: string[]) => void): string {
  const parts = credential.split('.');
  change(parts);
  return parts.join('.');
}

/** A narrowing appended by hand, as `token attenuate` does it: signed by the signature before it. */
export function narrowed(credential: string, ...blocks: readonly (object | string)[]): string {
  let parts = credential.split('.');
  for (const block of blocks) {
    const text = typeof block === 'string' ? block : JSON.stringify(block);
    const encoded = Buffer.from(text).toString('base64url');
    const before = Buffer.from(parts.at(-1) ?? '', 'base64url');
    const signature = createHmac('sha256', before).update(encoded).digest('base64url');
    parts = [...parts.slice(0, -1), encoded, signature];
  }
  return parts.join('.');
}

/** The claims of an issued credential with another value for one of them, in the same spelling. */
export function withClaim(credential: string, name: string, value: unknown): string {
  return changed(credential, (parts) => {
    const claims = JSON.parse(Buffer.from(parts[1] ?? '', 'base64url').toString()) as object;
    parts[1] = Buffer.from(JSON.stringify({ ...claims, [name]: value })).toString('base64url');
  });
}
