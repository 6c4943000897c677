import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type http from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import type { KeyedCertificate } from './certificates.ts';

/** RFC 6455 §5.2; messages are one frame each, of less than 64 KiB. */
export const opcodes = { text: 1, close: 8, ping: 9, pong: 10 } as const;

export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** What a server answers to a key (RFC 6455 §4.2.2). */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

/** @param masked as everything that a client sends must be */
export function frame(opcode: number, payload: Buffer, masked: boolean): Buffer {
  const long = payload.length >= 126;
  const head = Buffer.alloc(long ? 4 : 2);
  head[0] = 0x80 | opcode;
  head[1] = (masked ? 0x80 : 0) | (long ? 126 : payload.length);
  if (long) head.writeUInt16BE(payload.length, 2);
  if (!masked) return Buffer.concat([head, payload]);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, payload.map((byte, at) => byte ^ (mask[at % 4] as number))]);
}

/** Reads frames off a stream, whole ones only. */
export function onFrames(stream: Duplex, first: Buffer, listener: (frame: Frame) => void): void {
  let buffered = first;
  const take = (): boolean => {
    const [, second = 0] = buffered;
    if (buffered.length < 4) return false;
    const short = second & 0x7f;
    const begin = short === 126 ? 4 : 2;
    const masked = (second & 0x80) !== 0;
    const length = short === 126 ? buffered.readUInt16BE(2) : short;
    const from = begin + (masked ? 4 : 0);
    if (buffered.length < from + length) return false;
    const mask = buffered.subarray(begin, from);
    const payload = buffered.subarray(from, from + length);
    const opcode = (buffered[0] as number) & 0x0f;
    const plain = masked ? payload.map((byte, at) => byte ^ (mask[at % 4] as number)) : payload;
    buffered = buffered.subarray(from + length);
    listener({ opcode, payload: Buffer.from(plain) });
    return true;
  };
  const takeAll = (): void => {
    while (take());
  };
  stream.on('data', (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk]);
    takeAll();
  });
  takeAll();
}

/** Accepts an upgrade, sends every text back with a `!`, and greets unasked; closes as it is told to. */
function serveEcho(request: http.IncomingMessage, socket: Duplex, head: Buffer): void {
  const accept = acceptOf(request.headers['sec-websocket-key'] ?? '');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  socket.write(frame(opcodes.text, Buffer.from('welcome'), false));
  socket.on('error', () => socket.destroy());
  onFrames(socket, head, ({ opcode, payload }) => {
    if (opcode === opcodes.close) socket.end(frame(opcodes.close, payload, false));
    if (opcode !== opcodes.text) return;
    socket.write(frame(opcodes.text, Buffer.concat([payload, Buffer.from('!')]), false));
  });
}

/** A site over TLS on port 443 that converses so, and answers nothing else. */
export async function startEchoSite(
  address: string,
  certificate: KeyedCertificate,
): Promise<{ close(): void }> {
  const server = https.createServer({ ...certificate }).on('upgrade', serveEcho);
  server.listen(443, address);
  await once(server, 'listening');
  return {
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
