import type { RpcBody } from '../core/rpc-body.ts';
import type { RawHeaders } from './headers.ts';

/** What counts of the header list; each at most once. */
interface McpHeaders {
  readonly contentType: string | undefined;
  readonly method: string | undefined;
  readonly name: string | undefined;
}

const contentTypes = /^application\/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?$/iu;
/** MCP 2026-07-28, "Value Encoding": the markers count as they stand here. */
const encoded = /^=\?base64\?(.*)\?=$/u;

/**
 * Do the headers of a POST to an MCP server say the same as its body, and is that body what
 * `readRpcBody` takes it for: JSON in UTF-8, under no content coding? `Mcp-Method` and `Mcp-Name` (MCP
 * 2026-07-28) may be absent, but they must not disagree: load balancers and servers may go by them. An
 * underscore counts as a hyphen, as it does for servers behind CGI and its like.
 * @returns null, or a sentence about what is wrong, fixed ASCII.
 */
export function mcpHeaderProblem(raw: RawHeaders, body: RpcBody): string | null {
  const headers = readHeaders(raw);
  if (typeof headers === 'string') return headers;
  const { contentType, method, name } = headers;
  if (contentType === undefined || !contentTypes.test(contentType)) {
    return 'the Content-Type of a JSON-RPC body is not application/json in UTF-8';
  }
  if (method !== undefined && (body.batch || method !== body.methods[0])) {
    return 'the header Mcp-Method is not the method in the body';
  }
  if (name !== undefined && (body.named === undefined || decodeValue(name) !== body.named)) {
    return 'the header Mcp-Name is not the name in the body';
  }
  return null;
}

function readHeaders(raw: RawHeaders): McpHeaders | string {
  const seen = new Map<string, string>();
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const lower = (raw[at] as string).toLowerCase();
    const name = lower.replaceAll('_', '-');
    if (name === 'content-encoding') return 'a JSON-RPC body must have no Content-Encoding';
    if (name !== 'content-type' && name !== 'mcp-method' && name !== 'mcp-name') continue;
    if (name !== lower) return 'a header is spelled with an underscore in the place of a hyphen';
    if (seen.has(name)) return 'Content-Type, Mcp-Method or Mcp-Name is there more than once';
    seen.set(name, raw[at + 1] as string);
  }
  return {
    contentType: seen.get('content-type'),
    method: seen.get('mcp-method'),
    name: seen.get('mcp-name'),
  };
}

/** Null if it is encoded in another way than the one (RFC 4648 §4, with padding). */
function decodeValue(value: string): string | null {
  const text = encoded.exec(value)?.[1];
  if (text === undefined) return value;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes.toString('utf8') : null;
}
