import { subscribe } from 'node:diagnostics_channel';
import type { ClientHttp2Stream } from 'node:http2';

/**
 * Keeps the end of HTTP/2 bodies before trailers. undici (8.13.1) takes its listener for data away
 * when trailers come (`onTrailers` of its client-h2.js), although a response that it has paused is
 * not read to its end by then: the rest of it would run into nothing, and the shortened body would
 * pass for a whole one. A listener for data stays here as long as its stream. What undici has let
 * go of before the end of its data it ignores by itself.
 *
 * An answer that its origin resets with CANCEL ends like a whole one in Node, and so in undici, if it has
 * no length: here that is told as the error that it is. (NO_ERROR looks the same as what servers send to
 * stop an upload that they do not need.)
 *
 * Node's channel tells of every client stream, and in a proxy all of them are undici's.
 */
export function keepBodiesWhole(): void {
  subscribe('http2.client.stream.created', (message) => {
    const { stream } = message as { readonly stream: ClientHttp2Stream };
    const off = stream.off.bind(stream);
    Object.assign(stream, {
      off: (name: string, listener: (...args: unknown[]) => void) =>
        name === 'data' ? stream : off(name, listener),
    });
    // Before undici's own listener: an origin that takes its answer back has not ended it.
    stream.prependOnceListener('end', () => {
      if (stream.rstCode)
        stream.emit('error', new Error(`reset by the origin (${stream.rstCode})`));
    });
  });
}
