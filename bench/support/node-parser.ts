/** As much of Node's own HTTP parser as is needed to parse request heads with it alone. */
interface NodeParser {
  initialize(type: number, resource: object): void;
  execute(bytes: Buffer): number | Error;
  [callback: number]: unknown;
}

interface HttpCommon {
  readonly HTTPParser: {
    new (): NodeParser;
    readonly REQUEST: number;
    readonly kOnHeadersComplete: number;
  };
}

/**
 * Gives a function that parses one request head with the parser inside node:http, and returns the
 * request target. Not public API: only a comparison may use it.
 * @throws Error if this Node does not have it where Node 24 does
 */
export function createNodeParser(): (head: Buffer) => string {
  const { HTTPParser } = process.getBuiltinModule('_http_common') as unknown as HttpCommon;
  if (typeof HTTPParser !== 'function') throw new Error('this Node hides its HTTP parser');
  const parser = new HTTPParser();
  let target = '';
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    _fields: readonly string[],
    _method: number,
    url: string,
  ): number => {
    target = url;
    return 0;
  };
  const resource = {};
  return (head) => {
    target = '';
    parser.initialize(HTTPParser.REQUEST, resource);
    parser.execute(head);
    return target;
  };
}
