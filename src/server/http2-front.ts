import { performServerHandshake } from 'node:http2';
import type { Socket } from 'node:net';
import { maxHeaderLines } from '../core/request-head.ts';
import type { Client } from '../proxy/client-connection.ts';
import { Http2Session } from '../proxy/http2-session.ts';
import type { Services } from '../proxy/services.ts';
import type { Tunnel } from '../proxy/tunnel.ts';

/**
 * What a client may do on one connection (attack family H45): nghttp2 ends those that go beyond,
 * whatever they send, and none of it is held in memory for longer than a frame.
 */
const options = {
  settings: {
    enablePush: false,
    maxConcurrentStreams: 100,
    maxHeaderListSize: 32_768,
    initialWindowSize: 262_144,
  },
  // More than we accept, so that too many are seen and refused, with a line in the log, instead of reset.
  maxHeaderListPairs: 10 * maxHeaderLines,
  // An origin may repeat a header that should stand alone (two ETags): it is passed on as it came, as in
  // HTTP/1.1. Node would throw instead, in the middle of the answer, which ends the process.
  strictSingleValueFields: false,
  /** Megabytes. */
  maxSessionMemory: 16,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  maxOutstandingPings: 10,
  /** Streams that a client may open and take back at once, and how many a second from then on. */
  streamResetBurst: 200,
  streamResetRate: 20,
} as const;

/** Serves HTTP/2 to the client of an inspected tunnel; ALPN has agreed on it. */
export function serveHttp2(services: Services, socket: Socket, from: Client, tunnel: Tunnel): void {
  new Http2Session(services, performServerHandshake(socket, options), socket, from, tunnel);
}
