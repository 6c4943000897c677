import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import {
  assertAllowed,
  assertBlocked,
  ClientLab,
  type ClientRun,
  describeRun,
  onlyLineOf,
  refusalSentence,
} from '../support/client-lab.ts';
import { enterNamespace } from '../support/namespace.ts';
import { page } from '../support/web-origin.ts';

await enterNamespace(import.meta.filename);

const text = 'the page of the origin';
const undici = pathToFileURL(
  path.resolve(import.meta.dirname, '../../node_modules/undici/index.js'),
);
let lab: ClientLab;

before(async () => {
  lab = await ClientLab.start({
    sites: { 'good.test': page(text), 'plain.test': page(text) },
    allow: ['good.test', 'http://plain.test'],
  });
});
after(() => lab.stop());

/** Prints the page and ends well, or throws what the library says. */
interface Client {
  readonly name: string;
  readonly script: string;
  /** How it asks for a plain page: most libraries ask the proxy, Node's own fetch takes a tunnel. */
  readonly plainMethod: 'GET' | 'CONNECT';
  /** What it says to a status that is no 200: about a tunnel, and about a plain request. */
  readonly tunnelSaid: (status: number, phrase: string) => string;
  readonly plainSaid: (status: number, phrase: string) => string;
}

const statusOnly = (status: number): string =>
  `Proxy response (${status}) !== 200 when HTTP Tunneling`;
const whole = (status: number, phrase: string): string => `Error: ${status} ${phrase}`;

const finish = `
console.log(await response.text());
if (!response.ok) throw new Error(response.status + ' ' + response.statusText);
`;
const clients: readonly Client[] = [
  {
    name: 'fetch with NODE_USE_ENV_PROXY',
    script: `const response = await fetch(process.argv[1]);${finish}`,
    plainMethod: 'CONNECT',
    tunnelSaid: statusOnly,
    plainSaid: statusOnly,
  },
  {
    name: 'node:http with NODE_USE_ENV_PROXY',
    script: `
      const { protocol } = new URL(process.argv[1]);
      const { get } = await import('node:' + protocol.slice(0, -1));
      get(process.argv[1], (response) => {
        response.on('data', (data) => console.log(data.toString()));
        if (response.statusCode === 200) return;
        throw new Error(response.statusCode + ' ' + response.statusMessage);
      });`,
    plainMethod: 'GET',
    tunnelSaid: (status, phrase) => `HTTP/1.1 ${status} ${phrase}`,
    plainSaid: whole,
  },
  {
    name: "undici's ProxyAgent",
    script: `
      import { ProxyAgent, fetch } from '${undici}';
      const dispatcher = new ProxyAgent(process.env.https_proxy);
      const response = await fetch(process.argv[1], { dispatcher });
      ${finish}
      await dispatcher.close();`,
    plainMethod: 'GET',
    tunnelSaid: statusOnly,
    plainSaid: whole,
  },
];

for (const { name, script, plainMethod, tunnelSaid, plainSaid } of clients) {
  describe(name, () => {
    const get = (url: string, secret?: string): Promise<ClientRun> => {
      const proxy = lab.proxyUrl(secret);
      const urls = { http_proxy: proxy, https_proxy: proxy, HTTP_PROXY: proxy, HTTPS_PROXY: proxy };
      const env = { ...urls, NODE_USE_ENV_PROXY: '1' };
      return lab.run(process.execPath, ['--input-type=module', '-e', script, url], { env });
    };

    for (const [scheme, host, method] of [
      ['https', 'good.test', 'CONNECT'],
      ['http', 'plain.test', plainMethod],
    ] as const) {
      test(`gets a page over ${scheme}`, async () => {
        const result = await get(`${scheme}://${host}/`);
        assertAllowed(result, { agent: 'demo', scheme, host, method });
        assert.equal(result.stdout, `${text}\n`);
      });
    }

    test('fails with what it knows of a refused tunnel', async () => {
      assertBlocked(await get('https://evil.test/'), tunnelSaid(403, refusalSentence), 1);
    });

    test('fails with what it knows of a refused plain request', async () => {
      assertBlocked(await get('http://evil.test/'), plainSaid(403, refusalSentence), 1);
    });

    test('fails with what it knows of a wrong credential', async () => {
      const result = await get('https://good.test/', 'wrong');
      assert.equal(result.status, 1, describeRun(result));
      const said = tunnelSaid(407, 'a valid proxy credential is required');
      assert.ok(result.stderr.includes(said), describeRun(result));
      onlyLineOf(result, { event: 'block', reason: 'bad_credentials' });
    });
  });
}
