import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import type { Settings } from '../config/settings.ts';
import { reachableHost } from './proxy-exports.ts';

/** What the admin listener of a running proxy says. */
export interface AdminAnswer {
  readonly status: number;
  /** Whatever it holds is to be looked at before it is used. */
  readonly body: {
    readonly connections?: unknown;
    readonly entries?: unknown;
    readonly cut?: unknown;
  };
}

/** Milliseconds. A proxy that is busy for longer is as good as none to who waits at a terminal. */
const patience = 5_000;
/** Bytes of an answer: some 300,000 connections. */
const longest = 128 * 1024 * 1024;

/** `127.0.0.1:3129`, as messages name the admin listener. */
export function adminAddress({ admin }: Settings): string {
  const host = reachableHost(admin.host);
  return host.includes(':') ? `[${host}]:${admin.port}` : `${host}:${admin.port}`;
}

/**
 * Asks the admin listener that the settings name. Null if nothing answers there, or something that
 * is no Sallyport. Never by a proxy, whatever the environment says.
 */
export async function askAdmin(
  { admin }: Settings,
  method: 'GET' | 'POST',
  path: string,
  body: object = {},
): Promise<AdminAnswer | null> {
  if (admin.port === 0) return null;
  const host = reachableHost(admin.host);
  const text = method === 'GET' ? '' : JSON.stringify(body);
  try {
    const asked = request({
      host,
      port: admin.port,
      method,
      path,
      agent: new Agent({ keepAlive: false }),
      signal: AbortSignal.timeout(patience),
      headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) },
    });
    asked.end(text);
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return await readAnswer(response);
  } catch {
    return null;
  }
}

async function readAnswer(response: IncomingMessage): Promise<AdminAnswer> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk as string;
    if (text.length > longest) throw new Error('the answer is too long');
  }
  const body: unknown = JSON.parse(text);
  if (typeof body !== 'object' || body === null) throw new Error('the answer is no object');
  return { status: response.statusCode ?? 0, body };
}
