import type { IncomingMessage } from 'node:http';
import type { CutOrder } from './connections.ts';

/** Bytes. */
const longest = 64 * 1024;

/** What `POST /connections/cut` carries, or what is wrong with it. */
export async function readCutOrder(request: IncomingMessage): Promise<CutOrder | string> {
  const text = await readBody(request);
  if (text === null) return `the body has more than ${longest} bytes`;
  const value = parseObject(text);
  const { ids, by, why } = value ?? {};
  if (!Array.isArray(ids) || !ids.every((id) => typeof id === 'string')) {
    return 'send {"ids": ["01JD…"], "by": "who", "why": "…"}';
  }
  if (!isOptionalText(by) || !isOptionalText(why)) return '`by` and `why` are text';
  return { ids, by, why };
}

async function readBody(request: IncomingMessage): Promise<string | null> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk as string;
    if (text.length > longest) return null;
  }
  return text;
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' ? (value as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}

function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}
