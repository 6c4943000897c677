import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import type { KeyedCertificate, TestAuthority } from './certificates.ts';
import type { Way } from './identity-stage.ts';
import { proxyHeader } from './proxy-header.ts';
import { RawClient } from './raw-client.ts';

/** The listener of that number. */
export const byPort =
  (index: number): Way =>
  ({ proxy }, localAddress) =>
    RawClient.connect({ port: proxy.ports[index] ?? 0, localAddress });

export const bySocket =
  (file: string): Way =>
  async () =>
    new RawClient(await connected(net.connect({ path: file, allowHalfOpen: true }), 'connect'));

/** By TLS, with this certificate if any; `first`: bytes that stand before the handshake. */
export const byTls =
  (
    index: number,
    authority: TestAuthority,
    certificate?: KeyedCertificate,
    first?: Uint8Array,
  ): Way =>
  async ({ proxy }, localAddress) => {
    const options = { host: '127.0.0.1', port: proxy.ports[index] ?? 0, localAddress };
    const raw = await connected(net.connect({ ...options, allowHalfOpen: true }), 'connect');
    if (first !== undefined) raw.write(first);
    const trust = { ca: authority.cert, servername: 'localhost' };
    const over = tls.connect({ socket: raw, ...trust, ...certificate });
    return new RawClient(await connected(over, 'secureConnect'));
  };

/** Behind a load balancer that says that the client is there. */
export const behind =
  (index: number, client: string): Way =>
  async (stage, localAddress) => {
    const raw = await byPort(index)(stage, localAddress);
    raw.write(proxyHeader(client, 4711));
    return raw;
  };

/** The files of a TLS listener in this directory, as its settings name them. */
export function tlsFiles(directory: string): object {
  const file = (name: string) => path.join(directory, name);
  return { cert: file('proxy.crt'), key: file('proxy.key'), 'client-ca': file('ca.crt') };
}

export function writeTlsFiles(directory: string, authority: TestAuthority): void {
  const server = authority.issue(['localhost']);
  fs.writeFileSync(path.join(directory, 'ca.crt'), authority.cert);
  fs.writeFileSync(path.join(directory, 'proxy.crt'), server.cert);
  fs.writeFileSync(path.join(directory, 'proxy.key'), server.key);
}

async function connected<T extends net.Socket>(socket: T, event: string): Promise<T> {
  await new Promise((resolve, reject) => {
    socket.once(event, resolve).once('error', reject);
  });
  return socket;
}
