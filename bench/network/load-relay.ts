import { once } from 'node:events';
import type { Socket } from 'node:net';
import { openTunnel } from './client.ts';
import type { Meter } from './meter.ts';
import { allowedNames } from './plan.ts';
import type { Figures } from './trial-types.ts';
import { pullRequest, pushed, pushRequest } from './wire.ts';

const block = Buffer.alloc(256 * 1024, 'sallyport ');

/**
 * Bytes in bulk through open tunnels, first to the client, then from it: CPU seconds of the proxy
 * per GB (10^9 bytes), and the rate that this machine reached.
 */
export async function measureRelay(streams: number, bytes: number, meter: Meter): Promise<Figures> {
  const down = await inOneDirection('pull', streams, bytes, meter);
  const up = await inOneDirection('push', streams, bytes, meter);
  return { pull: down.cost, pullRate: down.rate, push: up.cost, pushRate: up.rate };
}

async function inOneDirection(
  direction: 'pull' | 'push',
  streams: number,
  bytes: number,
  meter: Meter,
): Promise<{ cost: number; rate: number }> {
  const names = allowedNames('tcp').slice(0, streams);
  const transfer = direction === 'pull' ? pull : push;
  const all = async (each: number): Promise<void> => {
    const sockets = await Promise.all(names.map(openTunnel));
    await Promise.all(sockets.map((socket) => transfer(socket, each)));
    for (const socket of sockets) socket.destroy();
  };
  await all(Math.ceil(bytes / 4));
  meter.begin();
  await all(bytes);
  const { proxy, seconds } = meter.read();
  const gigabytes = (names.length * bytes) / 1e9;
  return { cost: proxy / 1e9 / gigabytes, rate: gigabytes / seconds };
}

async function pull(socket: Socket, bytes: number): Promise<void> {
  const whole = Promise.withResolvers<void>();
  let left = bytes;
  socket.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left <= 0) whole.resolve();
  });
  socket.on('close', () => whole.reject(new Error('a transfer broke off')));
  socket.resume();
  socket.write(pullRequest(bytes));
  await whole.promise;
}

async function push(socket: Socket, bytes: number): Promise<void> {
  const answer = once(socket, 'data') as Promise<[Buffer]>;
  socket.resume();
  socket.write(pushRequest(bytes));
  for (let left = bytes; left > 0; left -= block.length) {
    const chunk = left < block.length ? block.subarray(0, left) : block;
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
  const [said] = await answer;
  if (!said.equals(pushed)) throw new Error('a transfer was not confirmed');
}
