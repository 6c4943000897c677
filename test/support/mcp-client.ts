/**
 * `node mcp-client.ts URL TRANSPORT STEP…`: a client of an MCP server that knows nothing of a proxy.
 * Each step is `list`, `end` (of the session), or a tool to call; prints what came of each as JSON.
 */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';

const [url = '', kind = '', ...steps] = process.argv.slice(2);

/** What a host of tools shows to its model. */
export interface McpOutcome {
  readonly tools?: readonly string[];
  readonly text?: string;
  readonly progress?: readonly number[];
  /** Milliseconds between the first and the last sign of progress. */
  readonly spread?: number;
  readonly error?: string;
}

const http = kind === 'http' ? new StreamableHTTPClientTransport(new URL(url)) : null;
const client = new Client({ name: 'lab', version: '1' });
await client.connect((http ?? new SSEClientTransport(new URL(url))) as Transport);

async function call(name: string): Promise<McpOutcome> {
  const progress: number[] = [];
  const times: number[] = [];
  const args = { repo: 'example/shop', token: 'hidden-from-the-log' };
  const result = await client.callTool({ name, arguments: args }, undefined, {
    timeout: 10_000,
    onprogress: (notification) => {
      progress.push(notification.progress);
      times.push(performance.now());
    },
  });
  const [content] = result.content as { text: string }[];
  const spread = (times.at(-1) ?? 0) - (times[0] ?? 0);
  return { progress, spread, ...(content === undefined ? {} : { text: content.text }) };
}

async function step(name: string): Promise<McpOutcome> {
  if (name === 'list') {
    const { tools } = await client.listTools();
    return { tools: tools.map((tool) => tool.name) };
  }
  if (name !== 'end') return await call(name);
  await http?.terminateSession();
  return {};
}

const outcomes: McpOutcome[] = [];
for (const name of steps) {
  outcomes.push(await step(name).catch((error: unknown) => ({ error: String(error) })));
}
console.log(JSON.stringify(outcomes));
await client.close();
