import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createProxyServer } from 'http-proxy-3';
import { responseHeaders } from './headers.ts';

/** One upgrade that was admitted: how its request must look at the origin, and who hears of it. */
export interface Upgrade {
  readonly path: string;
  /** Name, value, name, value …; Connection and Upgrade are added here. */
  readonly headers: readonly string[];
  /** The status of the origin's answer: 101, or what it said instead. */
  onStatus(status: number): void;
  onFailure(): void;
}

const upgrades = new WeakMap<IncomingMessage, Upgrade>();

/**
 * http-proxy-3 carries the upgrade itself: the request, the 101 and the bytes after it, which the
 * client's early ones join only then. It never dials (its agent hands out the vetted connection),
 * and the request head is ours: its own passes copy every header and fold slashes in the path.
 */
const proxy = createProxyServer({});

proxy.on('proxyReqWs', (outgoing: ClientRequest, request: IncomingMessage) => {
  const upgrade = upgrades.get(request);
  if (upgrade === undefined) {
    outgoing.destroy();
    return;
  }
  for (const name of outgoing.getHeaderNames()) outgoing.removeHeader(name);
  outgoing.path = upgrade.path;
  for (let at = 0; at + 1 < upgrade.headers.length; at += 2) {
    outgoing.appendHeader(upgrade.headers[at] as string, upgrade.headers[at + 1] as string);
  }
  outgoing.setHeader('Connection', 'Upgrade');
  outgoing.setHeader('Upgrade', 'websocket');
  judgeAnswers(outgoing, upgrade);
});

// It throws what nobody listens to, a reset of the client among it. Both sockets end by themselves.
proxy.on('error', () => {});

/**
 * Puts our judgement before what http-proxy-3 does with an answer: it would join the sockets after
 * any 101 and mirror any refusal, with all header names in lower case.
 */
function judgeAnswers(outgoing: ClientRequest, upgrade: Upgrade): void {
  const listen = outgoing.on.bind(outgoing);
  outgoing.on = (event, listener) => {
    if (event !== 'upgrade' && event !== 'response') return listen(event, listener);
    return listen(event, (answer: IncomingMessage, socket?: Duplex, early?: Buffer) => {
      const headers = event === 'upgrade' ? switched(answer) : declined(answer);
      if (headers === null) {
        outgoing.destroy();
        answer.socket.destroy();
        upgrade.onFailure();
        return;
      }
      answer.headers = headers;
      upgrade.onStatus(answer.statusCode ?? 101);
      listener(answer, socket, early);
    });
  };
}

/** The headers of a 101 that is one, RFC 9110 §15.2.2; null if it switches to something else. */
function switched(answer: IncomingMessage): NodeJS.Dict<string[]> | null {
  if (answer.headers.upgrade?.toLowerCase() !== 'websocket') return null;
  const headers = responseHeaders(answer.rawHeaders, 101, false);
  return headers && grouped([...headers, 'Connection', 'Upgrade', 'Upgrade', 'websocket']);
}

/** The headers of an answer that is not a 101; null if it cannot be passed on. */
function declined(answer: IncomingMessage): NodeJS.Dict<string[]> | null {
  const status = answer.statusCode ?? 0;
  if (status < 200 || status > 599 || status === 407) return null;
  const headers = responseHeaders(answer.rawHeaders, status, false);
  // In lower case, as http-proxy-3 looks for it: it would put in the request's own.
  return headers && grouped([...headers, 'connection', 'close']);
}

/** As http-proxy-3 writes headers: by name, in order; spellings as they came. */
function grouped(list: readonly string[]): NodeJS.Dict<string[]> {
  const headers = Object.create(null) as NodeJS.Dict<string[]>;
  for (let at = 0; at + 1 < list.length; at += 2) {
    const name = list[at] as string;
    // In lower case, as http-proxy-3 looks for it before it adds chunked.
    const key = name.toLowerCase() === 'content-length' ? 'content-length' : name;
    headers[key] ??= [];
    headers[key].push(list[at + 1] as string);
  }
  return headers;
}

/** Sends the upgrade over an already vetted and dialled connection and joins the two sockets. */
export function passUpgrade(
  request: IncomingMessage,
  client: Socket,
  head: Buffer,
  upstream: Duplex,
  upgrade: Upgrade,
): void {
  upgrades.set(request, upgrade);
  const agent = new Agent({ keepAlive: false });
  agent.createConnection = () => upstream;
  // The host here only fills a field; the agent's connection is used whatever it says.
  const target = { protocol: 'http:', host: 'vetted.invalid', port: 80 };
  proxy.ws(request, client, head, { target, agent, toProxy: true }, () => upgrade.onFailure());
}
