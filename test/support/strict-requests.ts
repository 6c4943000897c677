import assert from 'node:assert/strict';

/** One request as a strict server reads it (RFC 9112). */
export interface StrictRequest {
  readonly line: string;
  /** Lower-case names. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/**
 * The requests in the bytes of one connection, Latin-1. Fails on all that servers differ about: another
 * line end than CRLF, a header without one framing, a name that is no token, a body whose end is unclear.
 * @param partial the last one may not be whole: it is left out
 */
export function strictRequests(text: string, partial = false): StrictRequest[] {
  const requests: StrictRequest[] = [];
  for (let rest = text; rest !== ''; ) {
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1 && partial) break;
    assert.ok(end > 0, `no whole head in ${JSON.stringify(rest.slice(0, 300))}`);
    const [line = '', ...lines] = rest.slice(0, end).split('\r\n');
    assert.match(line, /^[A-Z-]+ [!-~]+ HTTP\/1\.1$/);
    const headers = lines.map(strictField);
    const read = strictBody(headers, rest.slice(end + 4));
    if (read === null && partial) break;
    assert.ok(read !== null, `no whole body in ${JSON.stringify(rest.slice(0, 300))}`);
    requests.push({ line, headers, body: read.body });
    rest = read.rest;
  }
  return requests;
}

function strictField(line: string): [string, string] {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)$/.exec(line);
  assert.ok(match, `not a header line: ${JSON.stringify(line)}`);
  return [(match[1] as string).toLowerCase(), match[2] as string];
}

function strictBody(
  headers: StrictRequest['headers'],
  rest: string,
): { body: string; rest: string } | null {
  const lengths = headers.filter(([name]) => name === 'content-length');
  const codings = headers.filter(([name]) => name === 'transfer-encoding');
  assert.ok(lengths.length + codings.length <= 1, `framings: ${JSON.stringify(headers)}`);
  if (codings.length === 1) {
    assert.equal(codings[0]?.[1], 'chunked');
    return strictChunks(rest);
  }
  const length = lengths[0]?.[1] ?? '0';
  assert.match(length, /^\d{1,15}$/);
  if (rest.length < Number(length)) return null;
  return { body: rest.slice(0, Number(length)), rest: rest.slice(Number(length)) };
}

/** No trailers: the proxy passes none of a request on. */
function strictChunks(text: string): { body: string; rest: string } | null {
  let body = '';
  for (let rest = text; ; ) {
    const match = /^([0-9a-fA-F]{1,8})\r\n/.exec(rest);
    if (match === null) return null;
    const size = Number.parseInt(match[1] as string, 16);
    const data = rest.slice(match[0].length);
    if (data.length < size + 2) return null;
    assert.equal(data.slice(size, size + 2), '\r\n');
    if (size === 0) return { body, rest: data.slice(2) };
    body += data.slice(0, size);
    rest = data.slice(size + 2);
  }
}
