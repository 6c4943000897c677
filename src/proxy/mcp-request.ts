import { type RpcBody, readRpcBody } from '../core/rpc-body.ts';
import type { Entry } from '../policy/policy.ts';
import type { Exchange } from './exchange.ts';
import type { Inbound } from './inbound.ts';
import { loggedParams, loggedTools } from './logged-calls.ts';
import { mcpHeaderProblem } from './mcp-headers.ts';
import type { Refused } from './request-target.ts';

/** Longest JSON-RPC body where the entry has no `max-body`, bytes. */
const longestBody = 1_048_576;

/** What streamable HTTP uses (MCP 2025-03-26 and later), and what asks for no more than that. */
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS']);

/** The body of a request to an MCP server, read whole before the request goes anywhere. */
export interface McpRequest {
  /** Null: a request without a body, which calls nothing. */
  readonly body: Buffer | null;
  /** Notes what it calls in its exchange. */
  note(exchange: Exchange): void;
}

/**
 * Why a request to a server whose tools are limited cannot be understood, before its body is read;
 * null if it can. Tools could be called unseen in an upgraded connection, or by another method.
 */
export function mcpProblem(inbound: Inbound, hasBody: boolean): Refused | null {
  if (inbound.isUpgrade) return { reason: 'upgrade_not_allowed', detail: {} };
  if (!methods.has(inbound.method)) return { reason: 'method_not_allowed', detail: {} };
  const expected = inbound.method === 'POST';
  if (hasBody === expected) return null;
  return badRequest(
    expected
      ? 'tools are limited here, and a POST without a body says nothing'
      : 'tools are limited here, and only a POST may have a body',
  );
}

/**
 * Reads the body of a POST and what it calls.
 *
 * @param entry whose `max-body` bounds it
 * @param counted is told of every chunk, in bytes
 * @param done called once, unless the client goes away before its body is whole
 */
export function readMcpRequest(
  inbound: Inbound,
  entry: Entry,
  counted: (bytes: number) => void,
  done: (read: McpRequest | Refused) => void,
): void {
  const longest = entry.maxBody ?? longestBody;
  const chunks: Buffer[] = [];
  let size = 0;
  inbound.body.on('error', () => {});
  inbound.body.on('data', (chunk: Buffer) => {
    if (size > longest) return;
    size += chunk.length;
    if (size <= longest) {
      chunks.push(chunk);
      counted(chunk.length);
    } else {
      chunks.length = 0;
      done({ reason: 'upload_limit', detail: {} });
    }
  });
  inbound.body.once('end', () => {
    if (size <= longest && inbound.received) done(understand(inbound, Buffer.concat(chunks)));
  });
  inbound.body.resume();
}

function understand(inbound: Inbound, body: Buffer): McpRequest | Refused {
  const read = readRpcBody(body);
  if (typeof read === 'string') return badRequest(`the JSON-RPC body: ${read}`);
  const problem = mcpHeaderProblem(inbound.headers, read);
  if (problem !== null) return badRequest(problem);
  return { body, note: (exchange) => note(exchange, read) };
}

function note(exchange: Exchange, { calls }: RpcBody): void {
  exchange.tools = calls.map(({ tool }) => tool);
  exchange.calledTools = loggedTools(calls);
  const logged = exchange.decision?.entry?.tools?.log ?? [];
  exchange.calledWith = loggedParams(calls, logged);
}

function badRequest(message: string): Refused {
  return { reason: 'bad_request', detail: { message } };
}
