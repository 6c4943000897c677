import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type http from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import {
  type EventStore,
  StreamableHTTPServerTransport,
} from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CallToolRequestSchema,
  type JSONRPCMessage,
  ListToolsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import type { KeyedCertificate } from './certificates.ts';
import type { Listen } from './origins.ts';

/** All that the server has; each answers with its name, its arguments, and three steps before it. */
export const toolNames = ['read_file', 'read_secret', 'read_slowly', 'search', 'write_file'];

/** One request as it reached the origin. */
export interface McpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
}

/** An MCP server behind TLS: streamable HTTP at `/mcp`, the older SSE at `/sse` and `/messages`. */
export class McpOrigin implements AsyncDisposable {
  readonly requests: McpRequest[] = [];
  /** Tools that were called, in order. */
  readonly called: string[] = [];
  readonly #streamable = new Map<string, StreamableHTTPServerTransport>();
  readonly #sse = new Map<string, SSEServerTransport>();
  readonly #server: https.Server;

  private constructor(certificate: KeyedCertificate) {
    this.#server = https.createServer({ ...certificate }, (request, response) => {
      const { method = '', url = '', headers } = request;
      this.requests.push({ method, url, headers });
      this.#serve(request, response).catch((error: unknown) => {
        response.destroy(error as Error);
      });
    });
  }

  static async start(listen: Listen, certificate: KeyedCertificate): Promise<McpOrigin> {
    const origin = new McpOrigin(certificate);
    origin.#server.listen(listen.port, listen.address);
    await once(origin.#server, 'listening');
    return origin;
  }

  /** Ids of the sessions of streamable HTTP that were not ended. */
  get sessions(): string[] {
    return [...this.#streamable.keys()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '', 'https://origin.invalid');
    if (pathname === '/sse') return await this.#openSse(response);
    if (pathname === '/messages') {
      const transport = this.#sse.get(searchParams.get('sessionId') ?? '');
      return await transport?.handlePostMessage(request, response);
    }
    const id = request.headers['mcp-session-id'];
    const known = typeof id === 'string' ? this.#streamable.get(id) : undefined;
    const transport = known ?? (id === undefined ? await this.#openStreamable() : undefined);
    if (transport !== undefined) return await transport.handleRequest(request, response);
    response.statusCode = 404;
    response.end();
  }

  async #openSse(response: http.ServerResponse): Promise<void> {
    const transport = new SSEServerTransport('/messages', response);
    this.#sse.set(transport.sessionId, transport);
    await this.#tools().connect(transport);
  }

  async #openStreamable(): Promise<StreamableHTTPServerTransport> {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: new KeptEvents(),
      retryInterval: 50,
      onsessioninitialized: (id) => {
        this.#streamable.set(id, transport);
      },
      onsessionclosed: (id) => {
        this.#streamable.delete(id);
      },
    });
    await this.#tools().connect(transport as Transport);
    return transport;
  }

  #tools(): Server {
    const server = new Server({ name: 'lab', version: '1' }, { capabilities: { tools: {} } });
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: toolNames.map((name) => ({ name, inputSchema: { type: 'object' as const } })),
    }));
    server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
      this.called.push(params.name);
      const { progressToken } = extra._meta ?? {};
      for (let progress = 1; progress <= 3; progress++) {
        if (progressToken !== undefined) {
          const method = 'notifications/progress';
          await extra.sendNotification({ method, params: { progressToken, progress, total: 3 } });
        }
        // What follows is for a client that comes back with the id of the last event.
        if (progress === 1 && params.name === 'read_slowly') extra.closeSSEStream?.();
        await sleep(50);
      }
      const text = `${params.name} ${JSON.stringify(params.arguments)}`;
      return { content: [{ type: 'text', text }] };
    });
    return server;
  }
}

/** Events of one session. */
class KeptEvents implements EventStore {
  readonly #events: { readonly stream: string; readonly message: JSONRPCMessage }[] = [];

  storeEvent(stream: string, message: JSONRPCMessage): Promise<string> {
    return Promise.resolve(String(this.#events.push({ stream, message }) - 1));
  }

  getStreamIdForEventId(id: string): Promise<string | undefined> {
    return Promise.resolve(this.#events[Number(id)]?.stream);
  }

  async replayEventsAfter(
    last: string,
    { send }: { send: (id: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string> {
    const stream = this.#events[Number(last)]?.stream ?? '';
    for (const [at, event] of this.#events.entries()) {
      if (at <= Number(last) || event.stream !== stream) continue;
      // Without content: it only said that the stream may be resumed.
      if (Object.keys(event.message).length > 0) await send(String(at), event.message);
    }
    return stream;
  }
}
