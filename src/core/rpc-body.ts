import { foldName } from './fold-name.ts';
import { isObject, type JsonObject, readStrictJson } from './strict-json.ts';

/** What a client asks of an MCP server in one body: JSON-RPC 2.0, one message or a batch of them. */
export interface RpcBody {
  /** How many messages there are; 1 to 100. */
  readonly messages: number;
  /** They stand in a list, even if it is one (MCP 2025-03-26; no other version has batches). */
  readonly batch: boolean;
  /** The method of every message that has one, in their order. */
  readonly methods: readonly string[];
  /** Every `tools/call`, in their order. */
  readonly calls: readonly ToolCall[];
  /**
   * `params.name`, or else `params.uri`, of the only message: what its header `Mcp-Name` repeats
   * (MCP 2026-07-28). Undefined without, and in a batch.
   */
  readonly named: string | undefined;
}

/** One `tools/call`. */
export interface ToolCall {
  readonly tool: string;
  readonly arguments: ReadonlyMap<string, unknown>;
}

interface Message {
  readonly method: string | undefined;
  readonly call: ToolCall | undefined;
  readonly named: string | undefined;
}

/** Levels of nesting, of which the envelope takes four. */
const deepest = 64;
/** In a message, and in its params. MCP has seven at most; every one is compared in many spellings. */
const mostKeys = 64;
/** Messages in one batch. */
const mostMessages = 100;

const callMethod = 'tools/call';
const foldedCall = foldName(callMethod);

/** The members that decide what a message does: no other key may be mistaken for one of them. */
const reserved: ReadonlySet<string> = new Set([
  'jsonrpc',
  'id',
  'method',
  'params',
  'name',
  'uri',
  'arguments',
  'result',
  'error',
]);

/**
 * Reads the body of a POST to an MCP server. A hostile agent chooses the bytes, and the server, whose
 * parser is not ours, gets the same bytes afterwards: whatever another parser could understand
 * otherwise is refused. So there is one JSON value in UTF-8, no key twice anywhere, and in a message
 * and its `params` no key that only a careless reader takes for one that counts.
 * @returns what it asks for, or a sentence about what is wrong, fixed ASCII that repeats nothing of it.
 */
export function readRpcBody(bytes: Uint8Array): RpcBody | string {
  const read = readStrictJson(bytes, deepest);
  if (typeof read === 'string') return `the JSON-RPC body ${read}`;
  const { value } = read;
  const problem = keyProblem(value);
  if (problem !== null) return problem;
  if (!Array.isArray(value)) return readSingle(value);
  if (value.length === 0) return 'a JSON-RPC batch is empty';
  if (value.length > mostMessages) {
    return `a JSON-RPC batch has more than ${mostMessages} messages`;
  }
  return readBatch(value);
}

function readSingle(value: unknown): RpcBody | string {
  const message = readMessage(value);
  if (typeof message === 'string') return message;
  return { ...collect([message]), batch: false, named: message.named };
}

function readBatch(values: readonly unknown[]): RpcBody | string {
  const messages: Message[] = [];
  for (const value of values) {
    const message = readMessage(value);
    if (typeof message === 'string') return message;
    messages.push(message);
  }
  return { ...collect(messages), batch: true, named: undefined };
}

function collect(messages: readonly Message[]): Pick<RpcBody, 'messages' | 'methods' | 'calls'> {
  return {
    messages: messages.length,
    methods: messages.flatMap(({ method }) => method ?? []),
    calls: messages.flatMap(({ call }) => call ?? []),
  };
}

function readMessage(value: unknown): Message | string {
  if (!isObject(value)) return 'a JSON-RPC message is not an object';
  const problem = envelopeProblem(value);
  if (problem !== null) return problem;
  const { method, params } = value as { method?: unknown; params?: unknown };
  if (!Object.hasOwn(value, 'method')) return readAnswer(value);
  if (typeof method !== 'string' || !/^[\x21-\x7e]{1,256}$/u.test(method)) {
    return 'a JSON-RPC method is not 1 to 256 characters of visible ASCII';
  }
  if (Object.hasOwn(value, 'result') || Object.hasOwn(value, 'error')) {
    return 'a JSON-RPC message is a request and an answer at once';
  }
  if (method !== callMethod && foldName(method) === foldedCall) {
    return 'a JSON-RPC method is spelled almost like tools/call';
  }
  const named = nameIn(params);
  if (method !== callMethod) return { method, call: undefined, named };
  const call = readCall(params);
  return typeof call === 'string' ? call : { method, call, named };
}

function readAnswer(value: JsonObject): Message | string {
  if (Object.hasOwn(value, 'result') === Object.hasOwn(value, 'error')) {
    return 'a JSON-RPC message has neither a method nor one of result and error';
  }
  return { method: undefined, call: undefined, named: undefined };
}

function envelopeProblem(message: JsonObject): string | null {
  const { jsonrpc, id, params } = message as { jsonrpc?: unknown; id?: unknown; params?: unknown };
  const problem = lookalikeProblem(message);
  if (problem !== null) return problem;
  if (jsonrpc !== '2.0') return 'a JSON-RPC message has no "jsonrpc": "2.0"';
  if (id !== undefined && id !== null && typeof id !== 'string' && typeof id !== 'number') {
    return 'a JSON-RPC id is neither text nor a number';
  }
  if (params === undefined || params === null) return null;
  if (!isObject(params)) return 'JSON-RPC params are not an object';
  return lookalikeProblem(params);
}

function lookalikeProblem(object: JsonObject): string | null {
  const keys = Object.keys(object);
  if (keys.length > mostKeys) {
    return `a JSON-RPC message, or its params, have more than ${mostKeys} keys`;
  }
  return keys.some((key) => !reserved.has(key) && reserved.has(foldName(key)))
    ? 'a JSON-RPC key is spelled almost like one that MCP defines'
    : null;
}

/** What `Mcp-Name` repeats. */
function nameIn(params: unknown): string | undefined {
  if (!isObject(params)) return undefined;
  const { name, uri } = params as { name?: unknown; uri?: unknown };
  if (typeof name === 'string') return name;
  return typeof uri === 'string' ? uri : undefined;
}

function readCall(params: unknown): ToolCall | string {
  if (!isObject(params)) return 'a tools/call has no params';
  const { name, arguments: given } = params as { name?: unknown; arguments?: unknown };
  if (typeof name !== 'string' || !isToolName(name)) {
    return 'the name of a tool is not 1 to 256 printable characters in Unicode form NFKC';
  }
  if (given === undefined || given === null) return { tool: name, arguments: new Map() };
  if (!isObject(given)) return 'the arguments of a tools/call are not an object';
  return { tool: name, arguments: new Map(Object.entries(given)) };
}

/**
 * No controls, no invisible and no unassigned characters, no space at an end: what a server could
 * strip or fold before it looks the tool up, a deny rule would not have seen.
 */
function isToolName(name: string): boolean {
  return (
    /^[^\p{C}\p{Zl}\p{Zp}]{1,256}$/u.test(name) &&
    name === name.trim() &&
    name === name.normalize('NFKC')
  );
}

/**
 * Keys that parsers differ about, anywhere: NUL ends a text in C, a lone surrogate becomes another
 * character (Go) or an error (Rust), `__proto__` gives JavaScript objects members that are not theirs.
 */
function keyProblem(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return null;
  if (!Array.isArray(value)) {
    for (const key of Object.keys(value)) {
      if (key.includes('\0') || !key.isWellFormed()) return 'a JSON-RPC key holds no valid text';
      if (key === '__proto__') return 'a JSON-RPC key is __proto__';
    }
  }
  for (const item of Object.values(value)) {
    const problem = keyProblem(item);
    if (problem !== null) return problem;
  }
  return null;
}
