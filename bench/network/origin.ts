import { createServer, type Socket } from 'node:net';
import process from 'node:process';
import { originPort } from './plan.ts';
import { headEnd, httpAnswer, pushed, serverFlight } from './wire.ts';

/**
 * The origin of every trial, one process: answers a ClientHello with a server's first flight, a GET
 * with a small page, `pull N` with N bytes, `push N` once N bytes have come; anything else it sends
 * back.
 */
const block = Buffer.alloc(256 * 1024, 'sallyport ');

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.once('data', (first: Buffer) => serve(socket, first));
});
server.listen({ host: '0.0.0.0', port: originPort, backlog: 4096 }, () => process.send?.('ready'));
process.on('disconnect', () => process.exit());

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
