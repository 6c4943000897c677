import { type DnsServer, startDnsServer } from './dns-server.ts';
import type { EgressLine } from './egress-lines.ts';
import { dnsAddress } from './namespace.ts';
import { type Origin, type Received, type Script, startTcpOrigin } from './origins.ts';
import { agent, ProxyProcess } from './proxy-process.ts';
import { proxyAuthorization, RawClient } from './raw-client.ts';

const tokens = { demo: 'the-long-random-token-of-demo', second: 'the-long-random-token-of-second' };

/** Header lines that prove the agent. */
export const demo = proxyAuthorization(tokens.demo, 'demo');
export const second = proxyAuthorization(tokens.second, 'second');

/** How a connection ended, and all that came over it. */
export interface Ended {
  readonly text: string;
  readonly reset: boolean;
}

/**
 * A proxy in front of plain HTTP origins: `good.test` (80 and 8080, on `origin`), `other.test`,
 * `both.test` (https and http on one port), `api.test` (GET and HEAD below /public/ only),
 * `small.test` (100 KB of upload) and `query.test` (`service=fetch` and any `page`). The script of the origins may be changed between tests.
 */
export class HttpStage implements AsyncDisposable {
  /** What the origins do with each new connection. */
  script: Script = answerAll;
  readonly proxy: ProxyProcess;
  readonly origins: Origin[] = [];
  /** Connections that the origins accepted, as they came. */
  readonly connections: Received[] = [];
  readonly #dns: DnsServer;

  private constructor(proxy: ProxyProcess, dns: DnsServer) {
    this.proxy = proxy;
    this.#dns = dns;
  }

  static async start(settings: Readonly<Record<string, unknown>> = {}): Promise<HttpStage> {
    const main = { a: ['93.184.215.14'] };
    const dns = await startDnsServer({
      address: dnsAddress,
      port: 53,
      zone: {
        'good.test': main,
        'api.test': main,
        'small.test': main,
        'query.test': main,
        'other.test': { a: ['93.184.215.15'] },
        'both.test': { a: ['93.184.215.16'] },
        'down.test': { a: ['93.184.215.17'] },
        'private.test': { a: ['10.0.0.5'] },
      },
    });
    const proxy = await ProxyProcess.start({ settings, allowlists: { 'demo.yaml': { agents } } });
    const stage = new HttpStage(proxy, dns);
    for (const [address, port] of listens) {
      const script: Script = (received) => {
        stage.connections.push(received);
        stage.script(received);
      };
      stage.origins.push(await startTcpOrigin({ address, port }, script));
    }
    return stage;
  }

  /** Everything the origins have received. */
  get received(): string {
    return this.connections.map((connection) => connection.text).join('');
  }

  client(): Promise<RawClient> {
    return RawClient.connect({ port: this.proxy.port });
  }

  /** Writes these bytes on a new connection and reads until it ends. `fin`: the client ends its side. */
  async exchange(bytes: string | Uint8Array, options: { fin?: boolean } = {}): Promise<Ended> {
    const client = await this.client();
    client.write(bytes);
    if (options.fin === true) client.end();
    const text = (await client.readToClose()).toString('latin1');
    const reset = client.error !== null;
    client.close();
    return { text, reset };
  }

  async stop(): Promise<EgressLine[]> {
    return await this.proxy.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await Promise.all(this.origins.map((origin) => origin.close()));
    await this.#dns.close();
  }
}

const agents = {
  demo: agent(tokens.demo, [
    'http://good.test',
    'http://good.test:8080',
    'http://other.test',
    'http://both.test',
    'both.test:80',
    'http://down.test',
    'http://private.test',
    'tls.test',
    { host: 'api.test', scheme: 'http', methods: ['GET', 'HEAD'], paths: ['/public/**'] },
    { host: 'small.test', scheme: 'http', upload: '100KB' },
    { host: 'query.test', scheme: 'http', query: { service: 'fetch', page: '*' } },
  ]),
  second: agent(tokens.second, ['http://other.test']),
};

const listens: readonly (readonly [address: string, port: number])[] = [
  ['93.184.215.14', 80],
  ['93.184.215.14', 8080],
  ['93.184.215.15', 80],
  ['93.184.215.16', 80],
];

/** A request head; `fields` are further header lines, each with its CRLF. */
export function head(line: string, fields = '', host = 'good.test'): string {
  return `${line} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;
}

/** A script that answers every head, up to its empty line, with what `respond` gives for it. */
export function answering(respond: (head: string, index: number) => string): Script {
  return (received) => {
    let answered = 0;
    received.socket.on('data', () => {
      const heads = received.text.split('\r\n\r\n').slice(0, -1);
      for (const text of heads.slice(answered)) {
        received.socket.write(Buffer.from(respond(text, answered++), 'latin1'));
      }
    });
  };
}

export function ok(body: string): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

/** Says in the body which request line it got. */
export const answerAll = answering((text) => ok(text.split('\r\n', 1)[0] ?? ''));

/** Answers the first bytes with these, then does `then`. */
export function once(bytes: string, then: (received: Received) => void = () => undefined): Script {
  return (received) => {
    received.socket.once('data', () => {
      received.socket.write(Buffer.from(bytes, 'latin1'), () => then(received));
    });
  };
}

/** Status lines and bodies of responses that have a Content-Length: `200 body|403 …`. */
export function summary(text: string): string {
  const parts: string[] = [];
  for (let rest = text; rest !== ''; ) {
    const end = rest.indexOf('\r\n\r\n') + 4;
    const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(rest.slice(0, end))?.[1] ?? 0);
    const status = rest.slice(9, 12);
    const reason = /\r\nSallyport-Reason: (\w+)\r\n/.exec(rest.slice(0, end))?.[1];
    parts.push(`${status} ${reason ?? rest.slice(end, end + length)}`);
    rest = rest.slice(end + length);
  }
  return parts.join('|');
}
