import { connectHead, parseHead, type RawClient, type RawResponse } from './raw-client.ts';

/** One way to ask the proxy for something, with the header fields that say who asks. */
export interface EntryPoint {
  readonly name: string;
  /** Status of the answer to somebody who may do it. */
  readonly good: number;
  /** Leaves an `open` line in the log; the others answer with a page that names the agent. */
  readonly opens: boolean;
  /** Sends what it takes. What comes first for anybody, proven or not, is read off. */
  send(client: RawClient, fields: string): Promise<void>;
  /** The answer to a client that is proven. */
  answer(client: RawClient): Promise<RawResponse>;
}

type Bytes = (fields: string) => string;

const get = (url: string, fields: string, host = 'plain.test') =>
  `GET ${url} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;

/** Asks the proxy itself: needs no credential, and reaches no origin. */
const page = get('/', '');

async function readPage(client: RawClient): Promise<void> {
  const { status } = await client.readResponse();
  if (status !== 200) throw new Error(`a page of our own answered ${status}`);
}

const first =
  (bytes: Bytes): EntryPoint['send'] =>
  async (client, fields) =>
    client.write(bytes(fields));

/** Behind a request that needs no credential, on the same connection. */
const second =
  (bytes: Bytes): EntryPoint['send'] =>
  async (client, fields) => {
    client.write(page);
    await readPage(client);
    client.write(bytes(fields));
  };

/** In one segment with such a request. */
const pipelined =
  (bytes: Bytes): EntryPoint['send'] =>
  async (client, fields) => {
    client.write(page + bytes(fields));
    await readPage(client);
  };

const readHead = async (client: RawClient) =>
  parseHead((await client.readUntil('\r\n\r\n')).toString('latin1'));

function request(
  name: string,
  send: EntryPoint['send'],
  more: Partial<EntryPoint> = {},
): EntryPoint {
  const answer = (client: RawClient) => client.readResponse();
  return { name, good: 200, opens: true, send, answer, ...more };
}

const tunnel = (name: string, send: EntryPoint['send']) =>
  request(name, send, { answer: readHead });

/** Our own page inside a tunnel to it: no credential is sent in there. */
async function readInside(client: RawClient): Promise<RawResponse> {
  const head = await readHead(client);
  if (head.status !== 200) return head;
  client.write(get('/policy', '', 'sallyport.internal'));
  return await client.readResponse();
}

const connect: Bytes = (fields) => connectHead('tcp.test:22', fields);
const plain: Bytes = (fields) => get('http://plain.test/', fields);
const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n';
const upload = 'Content-Length: 4\r\nExpect: 100-continue\r\n';

/**
 * Every way in. The targets are `tcp.test:22`, and `plain.test` on port 80, whose origin switches to
 * WebSocket if it is asked to.
 */
export const entryPoints: readonly EntryPoint[] = [
  tunnel('CONNECT', first(connect)),
  tunnel(
    'CONNECT by HTTP/1.0',
    first((fields) => `CONNECT tcp.test:22 HTTP/1.0\r\n${fields}\r\n`),
  ),
  tunnel('CONNECT behind a request', second(connect)),
  tunnel('CONNECT pipelined', pipelined(connect)),
  request('absolute-form', first(plain)),
  request('absolute-form behind a request', second(plain)),
  request('absolute-form pipelined', pipelined(plain)),
  request(
    'an upload that waits to be let in',
    first((fields) => plain(upload + fields).replace('GET', 'POST')),
    { answer: readAfterContinue },
  ),
  request(
    'an upgrade',
    first((fields) => get('http://plain.test/ws', upgrade + fields)),
    { good: 101 },
  ),
  request(
    'the policy page',
    first((fields) => get('/policy', fields)),
    { opens: false },
  ),
  request(
    'the policy page by the proxy',
    first((fields) => get('http://sallyport.internal/policy', fields)),
    { opens: false },
  ),
  request(
    'the policy page in a tunnel',
    first((fields) => connectHead('sallyport.internal:80', fields)),
    { opens: false, answer: readInside },
  ),
];

async function readAfterContinue(client: RawClient): Promise<RawResponse> {
  const head = await readHead(client);
  if (head.status !== 100) return head;
  client.write('body');
  return await client.readResponse();
}

/** The bytes of a 407 without what is of one request alone: its id, and the target that it names. */
export function shownOf(answer: Buffer): string {
  const text = answer.toString('latin1');
  const id = idOf(answer);
  return (id === undefined ? text : text.replaceAll(id, 'ID'))
    .replace(/"host":"[a-z.]+","port":\d+,/, '')
    .replace(/Content-Length: \d+/, '');
}

/** The value of Sallyport-Id. */
export function idOf(answer: Buffer): string | undefined {
  return /\r\nSallyport-Id: ([0-9A-Z]+)\r\n/.exec(answer.toString('latin1'))?.[1];
}

/** Every text in these header lines that nobody else may see: credentials, encoded and not. */
export function secretsIn(fields: string): string[] {
  const found: string[] = [];
  for (const [, scheme, value] of fields.matchAll(/: *(basic|bearer) +([^\r\n]+)/gi)) {
    if (scheme === undefined || value === undefined) continue;
    const decoded = Buffer.from(value, 'base64').toString('latin1');
    found.push(value, scheme.toLowerCase() === 'basic' ? decoded.replace(/^[^:]*:/, '') : value);
  }
  // The parts of a signed credential that are not in the log as its id.
  return [...found, ...found.map((text) => text.split('.').at(-1) ?? '')].filter(
    (text) => text.length >= 12,
  );
}
