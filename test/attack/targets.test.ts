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

describe('request lines and Host headers', () => {
  const host = 'Host: evil.test:443\r\n';
  const connect = 'CONNECT evil.test:443 HTTP/1.1\r\n';
  /** Bytes up to the credentials, and the reason: `host_not_allowed` is as far as a sound one comes. */
  const rows: readonly [what: string, head: string, reason: string][] = [
    ['sound', `${connect}${host}`, 'host_not_allowed'],
    ['A14 two spaces', `CONNECT  evil.test:443 HTTP/1.1\r\n${host}`, 'bad_request'],
    ['A15 one empty line ahead', `\r\n${connect}${host}`, 'host_not_allowed'],
    ['A15 two of them', `\r\n\r\n${connect}${host}`, 'host_not_allowed'],
    ['A15 three of them', `\r\n\r\n\r\n${connect}${host}`, 'host_not_allowed'],
    ['A67 another Host', `${connect}Host: good.test\r\n`, 'host_not_allowed'],
    ['A68 two Hosts', `${connect}${host}${host}`, 'bad_request'],
    ['A69 no Host', connect, 'bad_request'],
    ['C10 HTTP/1.0 without Host', 'CONNECT evil.test:443 HTTP/1.0\r\n', 'host_not_allowed'],
    ['C11 a length', `${connect}${host}Content-Length: 5\r\n`, 'bad_request'],
    ['C11 a length of nothing', `${connect}${host}Content-Length: 0\r\n`, 'host_not_allowed'],
    ['C11 chunks', `${connect}${host}Transfer-Encoding: chunked\r\n`, 'bad_request'],
    ['A79 lower case', `connect evil.test:443 HTTP/1.1\r\n${host}`, 'bad_request'],
    ['A80 HTTP/0.9', `CONNECT evil.test:443\r\n${host}`, 'bad_request'],
    ['A81 HTTP/2.0', `CONNECT evil.test:443 HTTP/2.0\r\n${host}`, 'bad_request'],
    ['HTTP/1.2', `CONNECT evil.test:443 HTTP/1.2\r\n${host}`, 'bad_request'],
    ['a blank behind the version', `CONNECT evil.test:443 HTTP/1.1 \r\n${host}`, 'bad_request'],
    ['a blank before the colon', `${connect}Host : evil.test\r\n`, 'bad_request'],
    ['a folded line', `${connect}${host}X: a\r\n b\r\n`, 'bad_request'],
    ['a bare LF', `${connect}${host}X: a\nY: b\r\n`, 'bad_request'],
    ['a NUL in a value', `${connect}${host}X: a\0b\r\n`, 'bad_request'],
    ['a line without a colon', `${connect}${host}X\r\n`, 'bad_request'],
    ['an empty name', `${connect}${host}: x\r\n`, 'bad_request'],
    ['GET, two Hosts', 'GET http://evil.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n', 'bad_request'],
    ['GET, no Host', 'GET http://evil.test/ HTTP/1.1\r\n', 'bad_request'],
    ['GET, HTTP/1.0 without Host', 'GET http://evil.test/ HTTP/1.0\r\n', 'host_not_allowed'],
    ['A70 a list as Host', 'GET http://evil.test/ HTTP/1.1\r\nHost: a, b\r\n', 'bad_request'],
    ['A70 userinfo as Host', 'GET http://evil.test/ HTTP/1.1\r\nHost: a@b\r\n', 'bad_request'],
    ['A70 a blank in Host', 'GET http://evil.test/ HTTP/1.1\r\nHost: a b\r\n', 'bad_request'],
    [
      'A71 another Host',
      'GET http://evil.test/ HTTP/1.1\r\nHost: plain.test\r\n',
      'host_not_allowed',
    ],
    ['A77 a path', `GET /x HTTP/1.1\r\nHost: plain.test\r\n`, 'bad_request'],
    ['A78 OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: plain.test\r\n', 'bad_request'],
    ['A78 GET *', 'GET * HTTP/1.1\r\nHost: plain.test\r\n', 'bad_request'],
    ['A81 GET HTTP/2.0', 'GET http://plain.test/ HTTP/2.0\r\nHost: plain.test\r\n', 'bad_request'],
    ['GET, HTTP/0.9', 'GET http://plain.test/\r\n', 'bad_request'],
    ['A82 HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n', 'bad_request'],
    ['A83 SSH', 'SSH-2.0-OpenSSH_9.6\r\n', 'bad_request'],
    ['A83 PROXY', `PROXY TCP4 10.0.0.9 10.0.0.1 1 2\r\n${connect}${host}`, 'bad_request'],
    ['A83 SOCKS5', '\x05\x01\x00', 'bad_request'],
    ['A83 SOCKS4', '\x04\x01\x00\x50\x7f\x00\x00\x01\x00', 'bad_request'],
    ['A83 TLS', '\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03', 'bad_request'],
  ];
  for (const [what, head, reason] of rows) {
    test(what, async () => {
      const asked = dns.queries.length;
      const answer = await refusedAt(
        proxy.port,
        Buffer.from(`${head}${credentials}\r\n`, 'latin1'),
      );
      const { id } = assertRefusal(answer, reason);
      assert.equal(linesLike(proxy.lines(), { event: 'block', id, reason }).length, 1);
      assert.equal(dns.queries.length, asked);
    });
  }
});

test('leaves a whole log and untouched canaries', async () => {
  await proxy.stop();
  assert.equal(canaries.flatMap((origin) => origin.connections).length, 0);
});
