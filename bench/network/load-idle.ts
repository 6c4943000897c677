import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { captureClientHello } from '../support/client-hello.ts';
import { residentBytes } from '../support/cpu.ts';
import { openTunnel } from './client.ts';
import type { Meter } from './meter.ts';
import { allowedNames } from './plan.ts';
import type { Figures } from './trial-types.ts';
import { ping, serverFlight } from './wire.ts';

/** Milliseconds until a proxy has come to rest, and over which its rest is measured. */
const settle = 1500;
const watch = 1500;

/** Tunnels opened and closed before the first look, so that code and pools are there already. */
const rehearsal = 400;

/**
 * Holds tunnels in which TLS has begun and nothing moves: resident memory of the proxy for each,
 * and the CPU that it spends on holding them. In the end every one must still carry bytes.
 */
export async function measureIdle(
  counts: readonly number[],
  concurrency: number,
  meter: Meter,
): Promise<Figures> {
  const hellos = await Promise.all(allowedNames('https').map((name) => captureClientHello(name)));
  for (const socket of await openTunnels(rehearsal, concurrency, hellos)) socket.destroy();
  await sleep(settle);
  const before = residentBytes(meter.proxyPids);
  const figures: Record<string, number> = { empty: before };
  const held: Socket[] = [];
  for (const count of counts) {
    held.push(...(await openTunnels(count - held.length, concurrency, hellos)));
    await sleep(settle);
    figures[`bytes${count}`] = (residentBytes(meter.proxyPids) - before) / count;
    meter.begin();
    await sleep(watch);
    const { proxy, seconds } = meter.read();
    figures[`busy${count}`] = (100 * proxy) / 1e9 / seconds;
  }
  const alive = await countAlive(held);
  for (const socket of held) socket.destroy();
  return { ...figures, alive };
}

async function openTunnels(
  count: number,
  concurrency: number,
  hellos: readonly Buffer[],
): Promise<Socket[]> {
  const sockets: Socket[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) sockets.push(await openWithTls(next++, hellos));
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return sockets;
}

async function openWithTls(turn: number, hellos: readonly Buffer[]): Promise<Socket> {
  const names = allowedNames('https');
  const socket = await openTunnel(names[turn % names.length] ?? '');
  await exchange(socket, hellos[turn % hellos.length] as Buffer, serverFlight.length);
  return socket;
}

async function countAlive(sockets: readonly Socket[]): Promise<number> {
  let alive = 0;
  for (const socket of sockets) {
    if (await exchange(socket, ping, ping.length)) alive++;
  }
  return alive;
}

/** True once as many bytes have come back as should. */
async function exchange(socket: Socket, request: Buffer, length: number): Promise<boolean> {
  let missing = length;
  socket.resume();
  socket.write(request);
  while (missing > 0) {
    if (socket.destroyed) return false;
    const [chunk] = (await Promise.race([once(socket, 'data'), once(socket, 'close')])) as [
      Buffer | boolean,
    ];
    if (typeof chunk === 'boolean') return false;
    missing -= chunk.length;
  }
  return true;
}
