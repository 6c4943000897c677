import { clip } from './clip.ts';
import type { Complaint } from './fields.ts';

/** Framing, routing and hop-by-hop fields are the proxy's own business (RFC 9110 §7.6.1). */
const reserved: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
]);

/** The name of a header that an entry may ask for, add or take away (RFC 9110 §5.1), lower case. */
export function parseHeaderName(name: string): { value: string } | Complaint {
  if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/u.test(name)) {
    return {
      code: 'bad-header',
      message: `\`${clip(name)}\` is not a header name`,
      hint: 'Write a name such as authorization or x-api-key.',
    };
  }
  const value = name.toLowerCase();
  if (!reserved.has(value)) return { value };
  return {
    code: 'bad-header',
    message: `\`${clip(name)}\` belongs to the proxy`,
    hint: 'Name a header that is passed on end to end, such as authorization, cookie or x-api-key.',
  };
}
