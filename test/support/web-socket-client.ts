/**
 * `node web-socket-client.ts HOST PATH`: a WebSocket through the proxy of HTTPS_PROXY, which Node's own
 * does not know of. Prints what came as JSON.
 */
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { frame, onFrames, opcodes } from './web-socket.ts';

const [host = '', at = ''] = process.argv.slice(2);
const { HTTPS_PROXY = '' } = process.env;
const { username, password, hostname, port } = new URL(HTTPS_PROXY);

/** What the other side said. */
export interface WebSocketOutcome {
  readonly status: number;
  readonly texts: readonly string[];
  /** Of the close frame. */
  readonly code?: number;
  /** Of an answer that is no upgrade. */
  readonly body?: string;
}

const basic = Buffer.from(`${username}:${password}`).toString('base64');
const connect = http.request({
  host: hostname,
  port,
  method: 'CONNECT',
  path: `${host}:443`,
  headers: { 'Proxy-Authorization': `Basic ${basic}` },
});
connect.end();
const [, tunnel] = (await once(connect, 'connect')) as [http.IncomingMessage, Duplex];
const secure = tls.connect({ socket: tunnel, servername: host });

function print(outcome: WebSocketOutcome): void {
  console.log(JSON.stringify(outcome));
}

function converse(socket: Duplex, head: Buffer): void {
  const texts: string[] = [];
  const long = 'x'.repeat(20_000);
  onFrames(socket, head, ({ opcode, payload }) => {
    if (opcode === opcodes.close) {
      print({ status: 101, texts, code: payload.readUInt16BE() });
      socket.end();
      return;
    }
    const text = payload.toString();
    texts.push(text === `${long}!` ? 'long' : text);
    if (texts.length === 1) socket.write(frame(opcodes.text, Buffer.from('hello'), true));
    if (texts.length === 2) socket.write(frame(opcodes.text, Buffer.from(long), true));
    if (texts.length === 3) socket.write(frame(opcodes.close, Buffer.from([0x03, 0xe8]), true));
  });
}

https
  .get({
    host,
    path: at,
    createConnection: () => secure,
    headers: {
      Host: host,
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': Buffer.alloc(16, 1).toString('base64'),
    },
  })
  .on('upgrade', (_response, socket, head) => converse(socket, head))
  .on('response', (response) => {
    let body = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    response.on('end', () => print({ status: response.statusCode ?? 0, texts: [], body }));
  });
