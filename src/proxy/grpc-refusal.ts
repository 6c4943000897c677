import type { RawHeaders } from './headers.ts';
import type { Refusal } from './refuse.ts';

/**
 * What gRPC makes of an HTTP status (doc/http-grpc-status-mapping.md of grpc), so that the code is the
 * one that clients without our fields arrive at: INTERNAL, UNAUTHENTICATED, PERMISSION_DENIED,
 * UNIMPLEMENTED, UNAVAILABLE.
 */
const codes: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  502: 14,
  503: 14,
  504: 14,
};

const unknown = 2;

/** Is this a call of gRPC (PROTOCOL-HTTP2.md of grpc, "Content-Type")? */
export function isGrpc(headers: RawHeaders): boolean {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if ((headers[at] as string).toLowerCase() !== 'content-type') continue;
    if (/^application\/grpc(?:[+;]|$)/i.test(headers[at + 1] as string)) return true;
  }
  return false;
}

/**
 * The header list of a refusal as gRPC reads it, an answer that is its trailers alone: from one with a
 * body its clients learn the status, and nothing of why.
 */
export function grpcRefusal(refusal: Refusal): string[] {
  const { reason, status, phrase, headers } = refusal;
  const list: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] as string;
    if (!/^content-(?:type|length)$/i.test(name)) list.push(name, headers[at + 1] as string);
  }
  const code = String(codes[status] ?? unknown);
  const message = percentEncoded(`${phrase} (${reason})`);
  return [
    ...list,
    'Content-Type',
    'application/grpc',
    'Grpc-Status',
    code,
    'Grpc-Message',
    message,
  ];
}

/** PROTOCOL-HTTP2.md of grpc, "Percent-Encoded". */
function percentEncoded(text: string): string {
  return text.replace(/[^ -$&-~]+/g, encodeURIComponent);
}
