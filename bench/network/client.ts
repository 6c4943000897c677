import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { authorization, originPort, proxyAddresses, proxyPort } from './plan.ts';
import { headEnd } from './wire.ts';

let opened = 0;

/** A new connection to the proxy, to one of its addresses after the other. */
export function openConnection(): Socket {
  const host = proxyAddresses[opened++ % proxyAddresses.length] ?? '';
  return connect({ host, port: proxyPort, noDelay: true });
}

/** A CONNECT as a common client sends it. */
export function connectHead(name: string, port = originPort): string {
  const target = `${name}:${port}`;
  return `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${authorization}\r\nUser-Agent: bench/1\r\n\r\n`;
}

/** A small request for a page, by way of a proxy. */
export function getRequest(name: string): string {
  const authority = `${name}:${originPort}`;
  return `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: ${authorization}\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n`;
}

/** True if this is the whole head of an answer, and it says yes. */
export function isEstablished(bytes: Buffer): boolean {
  return (
    bytes.toString('latin1', 9, 12) === '200' &&
    bytes.toString('latin1', bytes.length - 4) === headEnd
  );
}

/** An open tunnel. @throws Error if the proxy says no. */
export async function openTunnel(name: string, port = originPort): Promise<Socket> {
  const socket = openConnection();
  socket.write(connectHead(name, port), 'latin1');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.pause();
  if (!isEstablished(answer)) throw new Error(`no tunnel: ${answer.toString('latin1', 0, 200)}`);
  return socket;
}
