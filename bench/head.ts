import { parseAuthority } from '../src/core/authority-form.ts';
import { parseConnectHead } from '../src/core/request-head.ts';
import type { Axis } from './support/axis.ts';
import { measure, type Operation } from './support/micro.ts';
import { createNodeParser } from './support/node-parser.ts';

const target = 'registry.npm.example:443';
const credential = Buffer.from('storefront-refactor:0123456789abcdef0123456789abcdef').toString(
  'base64',
);

const curl = head([
  ['Host', target],
  ['Proxy-Authorization', `Basic ${credential}`],
  ['User-Agent', 'curl/8.14.1'],
  ['Proxy-Connection', 'Keep-Alive'],
]);

const browser = head([
  ['Host', target],
  ['Proxy-Connection', 'keep-alive'],
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)'],
  ...Array.from({ length: 16 }, (_, at) => [`X-Field-${at}`, 'some value '.repeat(3)] as const),
  ['Proxy-Authorization', `Basic ${credential}`],
]);

/** The head of a CONNECT: ours with the target parsed, node:http's parser without. */
export const headAxis: Axis = {
  name: 'head',
  about: "the head of a CONNECT, parsed: ours with its target, and node:http's parser",
  async run({ quick }) {
    const rows = [
      ['curl, 4 fields', curl],
      ['20 fields', browser],
    ] as const;
    return {
      tables: [
        {
          title: 'Parsing the head of a CONNECT, CPU ns',
          columns: [
            { key: 'head', label: 'head' },
            { key: 'size', label: 'bytes', digits: 4 },
            { key: 'ours', label: 'parseConnectHead + parseAuthority ns' },
            { key: 'oursGarbage', label: 'garbage B' },
            { key: 'node', label: 'node:http parser ns' },
            { key: 'nodeGarbage', label: 'garbage B' },
          ],
          rows: rows.map(([name, bytes]) => {
            const ours = measure(parseOurs(bytes), quick);
            const node = measure(parseWithNode(bytes), quick);
            return {
              head: name,
              size: bytes.length,
              ours: ours.ns,
              oursGarbage: ours.bytes,
              node: node.ns,
              nodeGarbage: node.bytes,
            };
          }),
          notes: [
            'The parser of node:http gives the target and the fields as they came; that the target is a host and a port is not yet known then.',
          ],
        },
      ],
    };
  },
};

function parseOurs(bytes: Buffer): Operation {
  return () => {
    const parsed = parseConnectHead(bytes, 0);
    if (parsed === null || typeof parsed === 'string') throw new Error('the head was refused');
    const found = parseAuthority(parsed.head.target);
    if (typeof found === 'string') throw new Error('the target was refused');
    return found;
  };
}

function parseWithNode(bytes: Buffer): Operation {
  const parse = createNodeParser();
  return () => {
    const url = parse(bytes);
    if (url !== target) throw new Error('the head was refused');
    return url;
  };
}

function head(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`CONNECT ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1');
}
