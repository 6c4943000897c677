import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import process from 'node:process';
import { createServer as createTlsServer } from 'node:tls';
import { readOriginCertificate } from './origin-certificate.ts';
import { originPort, tlsOriginPort } from './plan.ts';
import { bulkHead, headEnd, httpAnswer, pushed, serverFlight } from './wire.ts';

/**
 * The origin of every trial, one process: answers a ClientHello with a server's first flight, a GET
 * with a small page (or one of N bytes: `/bytes/N`), `pull N` with N bytes, `push N` once N bytes have come; anything else it sends
 * back. Argument: the directory with the certificate for its other port, where all of this is behind
 * TLS; without one there is no such port.
 */
const block = Buffer.alloc(256 * 1024, 'sallyport ');

const [certificates] = process.argv.slice(2);
const listeners = [
  createServer({ noDelay: true }, accept).listen(listenOptions(originPort)),
  ...(certificates === undefined ? [] : [listenTls(certificates)]),
];
process.on('disconnect', () => process.exit());
await Promise.all(listeners.map((listener) => once(listener, 'listening')));
process.send?.('ready');

function listenTls(directory: string) {
  const options = { ...readOriginCertificate(directory), ALPNProtocols: ['http/1.1'] };
  return createTlsServer({ noDelay: true, ...options }, accept).listen(
    listenOptions(tlsOriginPort),
  );
}

function listenOptions(port: number) {
  return { host: '0.0.0.0', port, backlog: 4096 };
}

function accept(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.once('data', (first: Buffer) => serve(socket, first));
}

function serve(socket: Socket, first: Buffer): void {
  switch (first.toString('latin1', 0, 4)) {
    case 'GET ':
      return serveHttp(socket, first);
    case 'pull':
      return pour(socket, numberIn(first));
    case 'push':
      return swallow(socket, numberIn(first) - (first.length - first.indexOf('\n') - 1));
    default:
      socket.on('data', (chunk) => socket.write(chunk));
      socket.write(first[0] === 0x16 ? serverFlight : first);
  }
}

function serveHttp(socket: Socket, first: Buffer): void {
  let unfinished = '';
  const take = (chunk: Buffer): void => {
    const heads = (unfinished + chunk.toString('latin1')).split(headEnd);
    unfinished = heads.pop() ?? '';
    const bulk = /^GET \/bytes\/(\d+) /u.exec(heads[0] ?? '')?.[1];
    if (bulk !== undefined) {
      socket.write(bulkHead(Number(bulk)), 'latin1');
      return pour(socket, Number(bulk));
    }
    socket.write(httpAnswer.repeat(heads.length), 'latin1');
  };
  socket.on('data', take);
  take(first);
}

/** The number in a line like `pull 1000`. */
function numberIn(first: Buffer): number {
  return Number(first.toString('latin1', 5, first.indexOf('\n')));
}

function pour(socket: Socket, bytes: number): void {
  let left = bytes;
  const write = (): void => {
    while (left > 0) {
      const chunk = left < block.length ? block.subarray(0, left) : block;
      left -= chunk.length;
      if (!socket.write(chunk)) return;
    }
  };
  socket.on('drain', write);
  write();
}

function swallow(socket: Socket, bytes: number): void {
  let left = bytes;
  socket.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left <= 0) socket.write(pushed);
  });
}
