import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import cases from '../cases/targets.json' with { type: 'json' };
import { startDnsServer } from '../support/dns-server.ts';
import { type EgressLine, linesLike } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace, forbiddenAddresses } from '../support/namespace.ts';
import { canary, type Origin, startRawHttpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess } from '../support/proxy-process.ts';
import { proxyAuthorization, RawClient } from '../support/raw-client.ts';
import { assertRefusal, refusedAt } from '../support/refusal.ts';

await enterNamespace(import.meta.filename);

interface TargetCase {
  readonly id: string;
  readonly text: string;
  readonly method?: string;
  readonly host?: string;
  readonly port?: number;
  readonly problem?: string;
}

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const plainAddress = '93.184.215.14';
/** With these the request line cannot be read, so that there is no target to speak of. */
const breaksConnect = / /;
const breaksRequest = /[ \n]|.{16384}/;
const titleOf = ({ id, text }: TargetCase) => `${id}: ${JSON.stringify(text.slice(0, 60))}`;

let proxy: ProxyProcess;
let plain: Origin;
let canaries: Origin[];
let dns: Awaited<ReturnType<typeof startDnsServer>>;

before(async () => {
  dns = await startDnsServer({
    address: dnsAddress,
    port: 53,
    zone: { 'plain.test': { a: [plainAddress] } },
  });
  plain = await startRawHttpOrigin(
    { address: plainAddress, port: 80 },
    () => 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  );
  canaries = await Promise.all(forbiddenAddresses.map((address) => canary(address, 443)));
  proxy = await ProxyProcess.start({
    allowlists: { 'demo.yaml': { agents: { demo: agent(token, ['http://plain.test']) } } },
  });
});

after(async () => {
  await proxy[Symbol.asyncDispose]();
  await Promise.all([plain, ...canaries].map((origin) => origin.close()));
  await dns.close();
});

/** Sends a request that must be refused; its log line, after checking that no name was looked up. */
async function refused(head: string, reason: string): Promise<EgressLine> {
  const asked = dns.queries.length;
  const answer = await refusedAt(proxy.port, Buffer.from(head, 'utf8'));
  const body = assertRefusal(answer, reason);
  assert.equal(dns.queries.length, asked, 'a refused name was looked up');
  const lines = linesLike(proxy.lines(), { event: 'block', id: body.id });
  assert.equal(lines.length, 1, 'one attempt, one line');
  return lines[0] as EgressLine;
}

function reasonOf({ host, problem, text }: TargetCase, breaks: RegExp): string {
  if (problem === undefined) return host === 'plain.test' ? 'port_not_allowed' : 'host_not_allowed';
  return breaks.test(text) ? 'bad_request' : 'bad_target';
}

function assertLine(line: EgressLine, { host, port, problem }: TargetCase): void {
  if (problem !== undefined) assert.equal(line.host, undefined, 'a refused target is not logged');
  else assert.deepEqual([line.host, line.port], [host, port]);
}

describe('the target of a CONNECT', () => {
  for (const row of cases.authority as TargetCase[]) {
    test(titleOf(row), async () => {
      const head = `CONNECT ${row.text} HTTP/1.1\r\nHost: good.test:443\r\n${credentials}\r\n`;
      assertLine(await refused(head, reasonOf(row, breaksConnect)), row);
    });
  }

  test('is malformed whoever asks: 400 comes before 407', async () => {
    assertRefusal(
      await refusedAt(proxy.port, 'CONNECT a@b.test:443 HTTP/1.1\r\nHost: x\r\n\r\n'),
      'bad_target',
    );
  });
});

describe('the target of a plain request', () => {
  for (const row of cases.absolute as TargetCase[]) {
    if (row.host === 'plain.test' && row.port === 80) continue;
    // Those are no URLs but paths, and then our own pages.
    if (/^[ /*]/.test(row.text)) continue;
    test(titleOf(row), async () => {
      const head = `${row.method} ${row.text} HTTP/1.1\r\nHost: good.test\r\n${credentials}\r\n`;
      await refused(head, reasonOf(row, breaksRequest));
    });
  }

  for (const row of cases.authority as TargetCase[]) {
    if (['noPort', 'path'].includes(row.problem ?? '') || /[/?#]/.test(row.text)) continue;
    test(`http:// ${titleOf(row)}`, async () => {
      const head = `GET http://${row.text}/ HTTP/1.1\r\nHost: good.test\r\n${credentials}\r\n`;
      assertLine(await refused(head, reasonOf(row, breaksRequest)), row);
    });
  }
});

/** A CONNECT needs a port where a Host does not. */
const isName = ({ problem, text }: TargetCase) => problem === 'noPort' && !text.endsWith(':');

describe('the Host of a request inside a tunnel', () => {
  const rows = [...cases.hostPort, ...cases.authority] as TargetCase[];
  for (const row of rows) {
    if (row.text !== row.text.trim() || /[\0\r\n]/.test(row.text)) continue;
    test(titleOf(row), async () => {
      const client = await RawClient.connect({ port: proxy.port });
      assert.equal((await client.tunnel('plain.test:80', credentials)).status, 200);
      const before = plain.connections.length;
      client.write(Buffer.from(`GET / HTTP/1.1\r\nHost: ${row.text}\r\n\r\n`, 'utf8'));
      const answer = await client.readResponse();
      const wellFormed = row.problem === undefined || isName(row);
      assertRefusal(answer, wellFormed ? 'host_mismatch' : 'bad_request');
      await client.readToClose();
      client.close();
      assert.equal(
        plain.connections.slice(before).reduce((sum, c) => sum + c.bytes.length, 0),
        0,
      );
    });
  }
});

test('leaves a whole log and untouched canaries', async () => {
  await proxy.stop();
  assert.equal(canaries.flatMap((origin) => origin.connections).length, 0);
});
