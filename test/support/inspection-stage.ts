import fs from 'node:fs';
import http2 from 'node:http2';
import os from 'node:os';
import path from 'node:path';
import type tls from 'node:tls';
import { createAuthority } from '../../src/tls/authority.ts';
import { type KeyedCertificate, TestAuthority } from './certificates.ts';
import { type DnsServer, startDnsServer } from './dns-server.ts';
import type { EgressLine } from './egress-lines.ts';
import { answerAll } from './http-stage.ts';
import { Http2Origin } from './http2-origin.ts';
import { dnsAddress } from './namespace.ts';
import { type Origin, type Received, type Script, startTlsOrigin } from './origins.ts';
import { agent, ProxyProcess } from './proxy-process.ts';
import { proxyAuthorization, RawClient } from './raw-client.ts';

const tokens = { demo: 'the-long-random-token-of-demo', second: 'the-long-random-token-of-second' };

/** Header lines that prove the agent. */
export const demo = proxyAuthorization(tokens.demo, 'demo');
export const second = proxyAuthorization(tokens.second, 'second');

const day = 86_400_000;
const roots = new TestAuthority();
const strangers = new TestAuthority('An authority that nobody trusts');

/** Host → the address that it is on, and the certificate that it shows there. */
const sites: Readonly<Record<string, readonly [address: string, certificate: KeyedCertificate]>> = {
  'api.test': [
    '93.184.215.14',
    roots.issue(['api.test', 'free.test', 'hooks.test', '93.184.215.14']),
  ],
  'expired.test': [
    '93.184.215.15',
    roots.issue(['expired.test'], { notBefore: Date.now() - 9 * day, notAfter: Date.now() - day }),
  ],
  'wrong.test': ['93.184.215.16', roots.issue(['other.test'])],
  'stranger.test': ['93.184.215.17', strangers.issue(['stranger.test'])],
};

/** Origins that speak HTTP/2: `both.test` speaks HTTP/1.1, too. */
const multiplexing: typeof sites = {
  'h2.test': ['2606:4700::1111', roots.issue(['h2.test'])],
  'both.test': ['2606:4700::1112', roots.issue(['both.test'])],
};

/** Entries that need inspection, beside one that does not. */
export const allow: readonly unknown[] = [
  { host: 'api.test', methods: ['GET', 'HEAD'], paths: ['/public/**'] },
  { host: 'api.test', methods: ['POST', 'PUT'], paths: ['/upload'] },
  { host: 'hooks.test', methods: ['GET', 'POST'], upload: '100KB' },
  'free.test',
  { host: 'expired.test', methods: ['GET'] },
  { host: 'wrong.test', methods: ['GET'] },
  { host: 'stranger.test', methods: ['GET'] },
  { host: '93.184.215.14', methods: ['GET'] },
  { host: 'h2.test', paths: ['/**'], methods: ['GET', 'HEAD', 'POST', 'PUT'] },
  { host: 'both.test', paths: ['/**'] },
];

/**
 * A proxy with an authority, which trusts the roots of the TLS origins behind it: `api.test`,
 * `hooks.test` and `free.test`, and some with certificates that will not do. The script of the
 * origins works on what is inside TLS, and may be changed between tests.
 */
export class InspectionStage implements AsyncDisposable {
  script: Script = answerAll;
  readonly proxy: ProxyProcess;
  /** PEM of the proxy's authority. */
  readonly authority: string;
  /** The directory of the proxy's authority. */
  readonly certs: string;
  readonly origins: Origin[] = [];
  /** `h2.test` and `both.test`. */
  readonly http2: Http2Origin[] = [];
  /** Handshakes that origins finished, as they came. */
  readonly connections: Received[] = [];
  readonly #dns: DnsServer;
  readonly #directory: string;

  private constructor(proxy: ProxyProcess, authority: string, dns: DnsServer, directory: string) {
    this.proxy = proxy;
    this.authority = authority;
    this.#dns = dns;
    this.#directory = directory;
    this.certs = path.join(directory, 'certs');
  }

  /** As it stands in HTTPS_PROXY of `demo`. */
  get proxyUrl(): string {
    return `http://demo:${tokens.demo}@127.0.0.1:${this.proxy.port}`;
  }

  /** @param withAuthority false: nobody ran `ca init`. */
  static async start(
    settings: Readonly<Record<string, unknown>> = {},
    withAuthority = true,
  ): Promise<InspectionStage> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-inspection-'));
    const certs = path.join(directory, 'certs');
    const trusted = path.join(directory, 'roots.pem');
    fs.writeFileSync(trusted, roots.cert);
    const authority = withAuthority ? createAuthority(certs, Date.now()).pem : '';
    const names = { ...zone(), ...alsoAt('93.184.215.14', ['free.test', 'hooks.test']) };
    const dns = await startDnsServer({ address: dnsAddress, port: 53, zone: names });
    const proxy = await ProxyProcess.start({
      settings: { certs, trust: [trusted], ...settings },
      allowlists: { 'demo.yaml': listsWith(allow) },
    });
    const stage = new InspectionStage(proxy, authority, dns, directory);
    for (const [address, certificate] of Object.values(sites)) {
      const script: Script = (received) => {
        stage.connections.push(received);
        stage.script(received);
      };
      stage.origins.push(await startTlsOrigin({ address, port: 443 }, certificate, script));
    }
    for (const [host, [address, certificate]] of Object.entries(multiplexing)) {
      const allowHTTP1 = host === 'both.test';
      stage.http2.push(await Http2Origin.start({ address, port: 443 }, certificate, allowHTTP1));
    }
    return stage;
  }

  /** A tunnel to the host with the client's TLS in it, which trusts the proxy's authority and no other. */
  async openTls(
    host: string,
    options: tls.ConnectionOptions & { readonly as?: string } = {},
  ): Promise<tls.TLSSocket> {
    const client = await RawClient.connect({ port: this.proxy.port });
    const answer = await client.tunnel(`${host}:443`, options.as ?? demo);
    if (answer.status !== 200) throw new Error(`${answer.status} ${answer.reason}`);
    return await client.startTls({ servername: host, ca: this.authority, ...options });
  }

  /** The same, to write bytes to and read them from. */
  async open(
    host: string,
    options: tls.ConnectionOptions & { readonly as?: string } = {},
  ): Promise<RawClient> {
    return new RawClient(await this.openTls(host, options));
  }

  /** The same, speaking HTTP/2. */
  async openHttp2(
    host: string,
    options: tls.ConnectionOptions & { readonly as?: string } = {},
  ): Promise<http2.ClientHttp2Session> {
    const socket = await this.openTls(host, { ALPNProtocols: ['h2'], ...options });
    const session = http2.connect(`https://${host}`, { createConnection: () => socket });
    session.on('error', () => undefined);
    return session;
  }

  /** Writes these bytes inside TLS and reads until the connection ends. */
  async exchange(host: string, bytes: string | Uint8Array): Promise<string> {
    const client = await this.open(host);
    client.write(bytes);
    const text = (await client.readToClose()).toString('latin1');
    client.close();
    return text;
  }

  /** The allowlist with other entries for `demo`, and further keys of it. */
  lists(entries: readonly unknown[], more: object = {}): object {
    return listsWith(entries, more);
  }

  async stop(): Promise<EgressLine[]> {
    return await this.proxy.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await Promise.all([...this.origins, ...this.http2].map((origin) => origin.close()));
    await this.#dns.close();
    fs.rmSync(this.#directory, { recursive: true });
  }
}

function listsWith(entries: readonly unknown[], more: object = {}): object {
  const agents = {
    demo: agent(tokens.demo, entries, more),
    second: agent(tokens.second, [{ host: 'hooks.test', methods: ['GET'] }]),
  };
  return { agents };
}

type Zone = Record<
  string,
  { readonly a: readonly string[] } | { readonly aaaa: readonly string[] }
>;

function zone(): Zone {
  return Object.fromEntries([
    ...Object.entries(sites).map(([host, [at]]) => [host, { a: [at] }] as const),
    ...Object.entries(multiplexing).map(([host, [at]]) => [host, { aaaa: [at] }] as const),
  ]);
}

function alsoAt(address: string, hosts: readonly string[]): Zone {
  return Object.fromEntries(hosts.map((host) => [host, { a: [address] }]));
}
