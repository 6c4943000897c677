import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createProxyServer } from 'http-proxy-3';

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
  outgoing.prependListener('upgrade', () => upgrade.onStatus(101));
  outgoing.prependListener('response', (response) => upgrade.onStatus(response.statusCode ?? 502));
});

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
