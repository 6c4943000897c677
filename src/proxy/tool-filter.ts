import type { Decision } from '../policy/decide.ts';
import { admitsTool } from '../policy/tools.ts';
import type { RawHeaders } from './headers.ts';
import { type AdmitsTool, filterToolList } from './tool-list.ts';
import { ToolListStream } from './tool-list-stream.ts';

/** Longest JSON answer of an MCP server, bytes: it is read whole. */
const longestAnswer = 16 * 1024 * 1024;

/** What takes tools that may not be called out of an answer. Texts are problems: the answer is cut. */
export interface ToolFilter {
  /** Nothing of the answer may go out before all of it is read. */
  readonly whole: boolean;
  push(chunk: Buffer): Buffer | string;
  end(): Buffer | string;
}

/**
 * The filter for an answer by its header list; null if it can hold no list of tools that a client of
 * MCP would read. A problem, if what it holds cannot be seen.
 */
export function toolFilter(
  decision: Decision | null,
  headers: RawHeaders,
): ToolFilter | null | string {
  const tools = decision?.tools ?? null;
  if (tools === null) return null;
  const admits: AdmitsTool = (tool) => admitsTool(tools, tool);
  let type: string | null = null;
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = (headers[at] as string).toLowerCase();
    const value = (headers[at + 1] as string).trim().toLowerCase();
    if (name === 'content-encoding' && value !== 'identity') {
      return 'an answer that may list tools is compressed';
    }
    if (name !== 'content-type') continue;
    if (type !== null) return 'an answer that may list tools has more than one type';
    type = value;
  }
  return filterFor(type ?? 'json', admits);
}

/** Clients look for these words anywhere in the field, and some read JSON from what has no type at all. */
function filterFor(type: string, admits: AdmitsTool): ToolFilter | null | string {
  const hasEvents = type.includes('event-stream');
  const hasJson = type.includes('json');
  if (hasEvents && hasJson) return 'an answer that may list tools has more than one type';
  if (hasEvents) return new EventFilter(admits);
  return hasJson ? new JsonFilter(admits) : null;
}

class EventFilter implements ToolFilter {
  readonly whole = false;
  readonly #stream: ToolListStream;

  constructor(admits: AdmitsTool) {
    this.#stream = new ToolListStream({ admits });
  }

  push(chunk: Buffer): Buffer | string {
    return this.#stream.push(chunk);
  }

  end(): Buffer | string {
    return this.#stream.end();
  }
}

const nothing = Buffer.alloc(0);

class JsonFilter implements ToolFilter {
  readonly whole = true;
  readonly #admits: AdmitsTool;
  readonly #chunks: Buffer[] = [];
  #size = 0;

  constructor(admits: AdmitsTool) {
    this.#admits = admits;
  }

  push(chunk: Buffer): Buffer | string {
    this.#size += chunk.length;
    if (this.#size > longestAnswer) return 'an answer that may list tools is too long';
    this.#chunks.push(chunk);
    return nothing;
  }

  end(): Buffer | string {
    const body = Buffer.concat(this.#chunks);
    return body.length === 0 ? body : filterToolList(body, this.#admits);
  }
}
