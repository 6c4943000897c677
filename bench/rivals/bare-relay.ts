import { readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import process from 'node:process';
import { blockedSuffix, proxyAddresses, proxyPort } from '../network/plan.ts';

/**
 * The floor: the least that a CONNECT proxy on node:net can do. Names come from a table read once,
 * heads are taken as they are, bytes are copied. Never to be used for anything but comparison.
 */

const addresses = readHosts();

for (const host of proxyAddresses) {
  createServer({ allowHalfOpen: true, noDelay: true }, serve).listen({
    host,
    port: proxyPort,
    backlog: 4096,
  });
}
process.on('SIGTERM', () => process.exit());

function serve(client: Socket): void {
  client.on('error', () => client.destroy());
  client.once('data', (head: Buffer) => {
    const authority = head.toString('latin1', 'CONNECT '.length, head.indexOf(' HTTP/1.'));
    const colon = authority.lastIndexOf(':');
    const host = authority.slice(0, colon);
    if (host.endsWith(blockedSuffix)) {
      client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    tunnel(client, addresses.get(host) ?? host, Number(authority.slice(colon + 1)));
  });
}

function tunnel(client: Socket, host: string, port: number): void {
  const upstream = connect({ host, port, allowHalfOpen: true, noDelay: true }, () => {
    client.write('HTTP/1.1 200 OK\r\n\r\n');
    copy(client, upstream);
    copy(upstream, client);
  });
  upstream.on('error', () => client.destroy());
  upstream.on('close', () => client.destroySoon());
  client.on('close', () => upstream.destroy());
}

function copy(from: Socket, to: Socket): void {
  from.on('data', (chunk: Buffer) => {
    if (!to.write(chunk)) from.pause();
  });
  to.on('drain', () => from.resume());
  from.on('end', () => to.end());
}

function readHosts(): ReadonlyMap<string, string> {
  const table = new Map<string, string>();
  for (const line of readFileSync('/etc/hosts', 'utf8').split('\n')) {
    const [address = '', ...names] = line.split(' ');
    for (const name of names) table.set(name, address);
  }
  return table;
}
