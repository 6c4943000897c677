import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Installation } from '../support/command.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { onlyLine, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { echo, type Origin, type Script, startTcpOrigin } from '../support/origins.ts';
import { ProxyProcess, tokenDigest } from '../support/proxy-process.ts';
import { header, proxyAuthorization, RawClient, type RawResponse } from '../support/raw-client.ts';
import { assertRefusal } from '../support/refusal.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-agent-';
const digestOf = (id: string) => tokenDigest(token + id);
const names = '93.184.215.14';
const literal = '93.184.215.15';
const inRange = '93.184.215.16';
const denied = '93.184.215.17';
const literal6 = '2606:4700::1111';

const lists = `
groups:
  docs/all:
    allow:
      - docs.test
      - "*.docs.test"
    deny:
      - secret.docs.test
  temp/past:
    allow: [past.test]
  temp/future:
    allow: [future.test]
agents:
  demo:
    owner: web@example.com
    purpose: to be tested
    credentials: {tokens: ["${digestOf('demo')}"]}
    allow:
      - group: docs/all
      - {group: temp/past, until: 2020-01-01T00:00:00Z}
      - {group: temp/future, until: 2099-01-01T00:00:00Z}
      - exact.test
      - port.test:8443
      - http://plain.test
      - http://plain8080.test:8080
      - tcp://tcp.test:22
      - many.test
      - http://many.test
      - {host: both.test, scheme: https, ports: [443]}
      - {host: both.test, scheme: http, ports: [443]}
      - {host: any.test, scheme: https, ports: [443]}
      - {host: any.test, scheme: tcp, ports: [443]}
      - "*.wild.test"
      - deep.wild.test:8443
      - {host: old.wild.test, until: 2020-01-01T00:00:00Z}
      - "api.*.star.test"
      - .apex.test
      - {host: expired.test, until: 2020-01-01T00:00:00Z}
      - {host: lives.test, until: 2099-01-01T00:00:00Z}
      - {host: two.test, until: 2020-01-01T00:00:00Z}
      - {host: two.test, ports: [8443], until: 2099-01-01T00:00:00Z}
      - {host: read.test, scheme: http, methods: [GET, HEAD]}
      - {host: part.test, scheme: http, paths: ["/a/**", "/b/*/c"]}
      - {host: mixed.test, scheme: http, methods: [GET]}
      - {host: mixed.test, scheme: http, methods: [POST], paths: ["/up"]}
      - {host: "*.cond.test", scheme: http}
      - {host: one.cond.test, scheme: http, methods: [GET]}
      - {host: api.test, methods: [GET]}
      - {host: sub.api.test, paths: ["/x/**"]}
      - ${literal}
      - tcp://${literal}:22
      - {host: 93.184.215.16/31, ports: [443, 8443]}
      - {host: "${literal6}", ports: [443]}
      - xn--bcher-kva.test
      - a_b.test
      - bad.test
      - port-denied.test
      - {host: port-denied.test, ports: [8443]}
      - {host: http-denied.test}
      - {host: http-denied.test, scheme: http}
      - {host: all.doh.test}
    deny:
      - bad.wild.test
      - port-denied.test:8443
      - http://http-denied.test
  empty:
    owner: web@example.com
    purpose: to be refused
    credentials: {tokens: ["${digestOf('empty')}"]}
    allow: []
  watched:
    owner: ops@example.com
    purpose: to be watched
    mode: report
    credentials: {tokens: ["${digestOf('watched')}"]}
    allow:
      - exact.test
      - {host: expired.test, until: 2020-01-01T00:00:00Z}
      - {host: read.test, scheme: http, methods: [GET]}
      - {host: part.test, scheme: http, paths: ["/a/**"]}
    deny:
      - bad.test
deny:
  - .doh.test
  - bad.test
  - ${denied}
`;

/** Where in the file an entry stands: the first line that holds this text. */
function at(text: string, from = 0): string {
  const rows = lists.split('\n');
  const line = rows.findIndex((row, index) => index >= from && row.includes(text));
  assert.ok(line >= 0, `no line with ${text}`);
  return `all.yaml:${line + 1}`;
}

type Row = readonly [agent: string, request: string, reason: string, entry?: string];

/** `host:port` is a CONNECT, a URL is a plain GET, or what method stands before it. */
const rows: readonly Row[] = [
  ['demo', 'exact.test:443', 'allow', at('- exact.test')],
  ['demo', 'EXACT.Test.:443', 'allow', at('- exact.test')],
  ['demo', 'exact.test:80', 'port_not_allowed', at('- exact.test')],
  ['demo', 'exact.test:8443', 'port_not_allowed', at('- exact.test')],
  ['demo', 'http://exact.test/', 'port_not_allowed', at('- exact.test')],
  ['demo', 'http://exact.test:443/', 'scheme_not_allowed', at('- exact.test')],
  ['demo', 'sub.exact.test:443', 'host_not_allowed'],
  ['demo', 'xexact.test:443', 'host_not_allowed'],
  ['demo', 'exactxtest:443', 'host_not_allowed'],
  ['demo', 'exact.test.evil.test:443', 'host_not_allowed'],
  ['demo', 'port.test:8443', 'allow', at('- port.test')],
  ['demo', 'port.test:443', 'port_not_allowed', at('- port.test')],
  ['demo', 'http://plain.test/', 'allow', at('- http://plain.test')],
  ['demo', 'POST http://plain.test/a?b=c', 'allow', at('- http://plain.test')],
  ['demo', 'http://plain.test:8080/', 'port_not_allowed', at('- http://plain.test')],
  ['demo', 'plain.test:80', 'allow', at('- http://plain.test')],
  ['demo', 'plain.test:443', 'port_not_allowed', at('- http://plain.test')],
  ['demo', 'http://plain8080.test:8080/', 'allow', at('- http://plain8080')],
  ['demo', 'http://plain8080.test/', 'port_not_allowed', at('- http://plain8080')],
  ['demo', 'tcp.test:22', 'allow', at('- tcp://tcp.test')],
  ['demo', 'tcp.test:443', 'port_not_allowed', at('- tcp://tcp.test')],
  ['demo', 'http://tcp.test:22/', 'scheme_not_allowed', at('- tcp://tcp.test')],
  ['demo', 'many.test:443', 'allow', at('- many.test')],
  ['demo', 'many.test:80', 'allow', at('- http://many.test')],
  ['demo', 'http://many.test/', 'allow', at('- http://many.test')],
  ['demo', 'http://many.test:443/', 'scheme_not_allowed'],
  ['demo', 'both.test:443', 'allow', at('- {host: both.test')],
  ['demo', 'http://both.test:443/', 'allow', at('both.test, scheme: http,')],
  ['demo', 'any.test:443', 'allow', at('- {host: any.test')],
  ['demo', 'a.wild.test:443', 'allow', at('- "*.wild.test"')],
  ['demo', 'a.b.c.wild.test:443', 'allow', at('- "*.wild.test"')],
  ['demo', 'wild.test:443', 'host_not_allowed'],
  ['demo', 'xwild.test:443', 'host_not_allowed'],
  ['demo', 'a.wild.test:8443', 'port_not_allowed', at('- "*.wild.test"')],
  ['demo', 'deep.wild.test:8443', 'allow', at('- deep.wild.test')],
  ['demo', 'deep.wild.test:443', 'allow', at('- "*.wild.test"')],
  ['demo', 'old.wild.test:443', 'allow', at('- "*.wild.test"')],
  ['demo', 'bad.wild.test:443', 'denied', at('- bad.wild.test')],
  ['demo', 'BAD.wild.test.:443', 'denied', at('- bad.wild.test')],
  ['demo', 'bad.wild.test:8443', 'denied', at('- bad.wild.test')],
  ['demo', 'http://bad.wild.test/', 'denied', at('- bad.wild.test')],
  ['demo', 'sub.bad.wild.test:443', 'allow', at('- "*.wild.test"')],
  ['demo', 'api.x.star.test:443', 'allow', at('- "api.*.star')],
  ['demo', 'api.x.y.star.test:443', 'host_not_allowed'],
  ['demo', 'api.star.test:443', 'host_not_allowed'],
  ['demo', 'www.x.star.test:443', 'host_not_allowed'],
  ['demo', 'apex.test:443', 'allow', at('- .apex.test')],
  ['demo', 'a.b.apex.test:443', 'allow', at('- .apex.test')],
  ['demo', 'notapex.test:443', 'host_not_allowed'],
  ['demo', 'docs.test:443', 'allow', at('- docs.test')],
  ['demo', 'v2.docs.test:443', 'allow', at('- "*.docs.test"')],
  ['demo', 'secret.docs.test:443', 'denied', at('- secret.docs.test')],
  ['demo', 'past.test:443', 'entry_expired', at('[past.test]')],
  ['demo', 'future.test:443', 'allow', at('[future.test]')],
  ['demo', 'expired.test:443', 'entry_expired', at('- {host: expired.test')],
  ['demo', 'expired.test:80', 'port_not_allowed', at('- {host: expired.test')],
  ['demo', 'http://expired.test:443/', 'scheme_not_allowed', at('- {host: expired.test')],
  ['demo', 'lives.test:443', 'allow', at('- {host: lives.test')],
  ['demo', 'two.test:8443', 'allow', at('- {host: two.test, ports')],
  ['demo', 'two.test:443', 'entry_expired', at('- {host: two.test, until')],
  ['demo', 'http://read.test/', 'allow', at('- {host: read.test')],
  ['demo', 'HEAD http://read.test/', 'allow', at('- {host: read.test')],
  ['demo', 'POST http://read.test/', 'method_not_allowed', at('- {host: read.test')],
  ['demo', 'DELETE http://read.test/', 'method_not_allowed', at('- {host: read.test')],
  ['demo', 'http://part.test/a/b?c', 'allow', at('- {host: part.test')],
  ['demo', 'http://part.test/a/', 'allow', at('- {host: part.test')],
  ['demo', 'http://part.test/a', 'path_not_allowed', at('- {host: part.test')],
  ['demo', 'http://part.test/ab', 'path_not_allowed', at('- {host: part.test')],
  ['demo', 'http://part.test/b/x/c', 'allow', at('- {host: part.test')],
  ['demo', 'http://part.test/b/x/y/c', 'path_not_allowed', at('- {host: part.test')],
  ['demo', 'http://part.test/a/../c', 'path_not_allowed', at('- {host: part.test')],
  ['demo', 'http://part.test/a/%2e%2e/c', 'path_not_allowed', at('- {host: part.test')],
  ['demo', 'http://part.test/a/%2f../c', 'path_not_allowed', at('- {host: part.test')],
  ['demo', 'http://part.test//a/b', 'path_not_allowed', at('- {host: part.test')],
  ['demo', 'http://part.test/?/a/', 'path_not_allowed', at('- {host: part.test')],
  ['demo', 'http://mixed.test/x', 'allow', at('mixed.test, scheme: http, methods: [GET]')],
  ['demo', 'POST http://mixed.test/up', 'allow', at('methods: [POST]')],
  ['demo', 'POST http://mixed.test/x', 'path_not_allowed', at('methods: [POST]')],
  ['demo', 'PUT http://mixed.test/up', 'method_not_allowed'],
  ['demo', 'POST http://two.cond.test/', 'allow', at('"*.cond.test"')],
  ['demo', 'POST http://one.cond.test/', 'method_not_allowed', at('- {host: one.cond.test')],
  ['demo', 'api.test:443', 'method_not_allowed', at('- {host: api.test')],
  ['demo', 'sub.api.test:443', 'path_not_allowed', at('- {host: sub.api.test')],
  ['demo', `${literal}:443`, 'allow', at(`- ${literal}`)],
  ['demo', `${literal}:22`, 'allow', at(`- tcp://${literal}`)],
  ['demo', `${literal}:80`, 'port_not_allowed'],
  ['demo', `[::ffff:${literal}]:443`, 'allow', at(`- ${literal}`)],
  ['demo', `${inRange}:443`, 'allow', at('93.184.215.16/31')],
  ['demo', `${inRange}:8443`, 'allow', at('93.184.215.16/31')],
  ['demo', `${denied}:443`, 'denied', at(`  - ${denied}`)],
  ['demo', `[::ffff:${denied}]:443`, 'denied', at(`  - ${denied}`)],
  ['demo', `${names}:443`, 'host_not_allowed'],
  ['demo', `[${literal6}]:443`, 'allow', at(literal6)],
  ['demo', '[2606:4700:0:0::1111]:443', 'allow', at(literal6)],
  ['demo', `[${literal6}]:80`, 'port_not_allowed', at(literal6)],
  ['demo', '[2606:4700::1112]:443', 'host_not_allowed'],
  ['demo', 'xn--bcher-kva.test:443', 'allow', at('- xn--bcher')],
  ['demo', 'a_b.test:443', 'allow', at('- a_b.test')],
  ['demo', 'bad.test:443', 'denied'],
  ['demo', 'http://bad.test/', 'denied'],
  ['demo', 'tcp.test.bad.test:443', 'host_not_allowed'],
  ['demo', 'port-denied.test:443', 'allow', at('- port-denied.test')],
  ['demo', 'port-denied.test:8443', 'denied', at('- port-denied.test:8443')],
  ['demo', 'http://http-denied.test/', 'denied', at('- http://http-denied')],
  ['demo', 'all.doh.test:443', 'denied', at('- .doh.test')],
  ['demo', 'doh.test:443', 'denied', at('- .doh.test')],
  ['demo', 'localhost:443', 'host_not_allowed'],
  ['demo', '127.0.0.1:443', 'host_not_allowed'],
  ['demo', '169.254.169.254:80', 'host_not_allowed'],
  ['empty', 'exact.test:443', 'host_not_allowed'],
  ['empty', 'http://plain.test/', 'host_not_allowed'],
  ['empty', 'doh.test:443', 'denied', at('- .doh.test')],
];

const listening = [
  [names, 80],
  [names, 443],
  [names, 8080],
  [names, 8443],
  [literal, 443],
  [inRange, 443],
  [inRange, 8443],
  [literal6, 443],
] as const;

/** Answers whatever comes, and FIN by FIN. */
const answer: Script = ({ socket }) => {
  socket.on('data', () => socket.write('HTTP/1.1 204 No Content\r\n\r\n'));
  socket.on('end', () => socket.end());
};

let proxy: ProxyProcess;
let origins: Origin[];
let dns: Awaited<ReturnType<typeof startDnsServer>>;
const installation = new Installation();

before(async () => {
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone: { '*': { a: [names] } } });
  origins = await Promise.all([
    ...listening.map(([address, port]) => startTcpOrigin({ address, port }, answer)),
    startTcpOrigin({ address: names, port: 22 }, echo),
    startTcpOrigin({ address: literal, port: 22 }, echo),
  ]);
  installation.allow('all.yaml', lists);
  proxy = await ProxyProcess.start({ allowlists: { 'all.yaml': lists } });
});

after(async () => {
  installation[Symbol.dispose]();
  await proxy[Symbol.asyncDispose]();
  await Promise.all(origins.map((origin) => origin.close()));
  await dns.close();
});

/** One attempt; its answer, with the connection closed behind it. */
async function ask(agent: string, request: string): Promise<RawResponse> {
  const credentials = proxyAuthorization(token + agent, agent);
  const client = await RawClient.connect({ port: proxy.port });
  const [method, url] = request.includes(' ') ? request.split(' ') : ['GET', request];
  if (url?.startsWith('http://') !== true) {
    const answer = await client.tunnel(request, credentials);
    client.close();
    return answer;
  }
  client.write(`${method} ${url} HTTP/1.1\r\nHost: x.test\r\n${credentials}\r\n`);
  const answer = await client.readResponse({ head: method === 'HEAD' });
  client.close();
  return answer;
}

interface Explained {
  readonly verdict: string;
  readonly reason: string | null;
  readonly entry?: string;
  readonly scheme: string;
  readonly host: string;
  readonly port: number;
}

async function explain(agent: string, request: string): Promise<Explained & { status: number }> {
  const [method, target] = request.includes(' ') ? request.split(' ') : [undefined, request];
  const how = method === undefined ? [] : ['--method', method];
  const result = await installation.run([
    'explain',
    '--json',
    '--agent',
    agent,
    ...how,
    target ?? '',
  ]);
  return { status: result.status, ...(JSON.parse(result.stdout) as Explained) };
}

describe('a decision, and the same by explain', () => {
  for (const [agent, request, reason, entry] of rows) {
    test(`${agent} ${request}: ${reason}`, async () => {
      const queries = dns.queries.length;
      const answer = await ask(agent, request);
      const allowed = reason === 'allow';
      if (allowed) assert.ok(answer.status < 300, `${answer.status} ${answer.reason}`);
      else {
        const body = assertRefusal(answer, reason);
        assert.equal(body.agent, agent);
        assert.equal(dns.queries.length, queries, 'a refused name was looked up');
      }
      const line = allowed
        ? (proxy.lines().findLast((one) => one.event === 'open') ?? assert.fail('no open line'))
        : onlyLine(proxy.lines(), { event: 'block', id: header(answer, 'sallyport-id') ?? '' });
      assert.equal(line.agent, agent);
      assert.equal(line.verdict, allowed ? 'allow' : 'block');
      if (entry !== undefined) assert.equal(line.entry, entry);
      if (reason === 'host_not_allowed') assert.equal(line.entry, undefined);

      const said = await explain(agent, request);
      assert.equal(said.status, allowed ? 0 : 1);
      assert.equal(said.verdict, line.verdict);
      assert.equal(said.reason ?? undefined, line.reason);
      assert.equal(said.entry, line.entry);
      assert.deepEqual([said.host, said.port], [line.host, line.port]);
      if (line.scheme !== undefined) assert.equal(said.scheme, line.scheme);
    });
  }
});

describe('report mode', () => {
  const watched = lists.split('\n').indexOf('  watched:');
  /** The reason that the allowing line must carry. */
  const reported: readonly Row[] = [
    ['watched', 'unlisted.test:443', 'host_not_allowed'],
    ['watched', 'http://unlisted.test/', 'host_not_allowed'],
    ['watched', 'exact.test:8443', 'port_not_allowed', at('- exact.test', watched)],
    ['watched', 'http://exact.test:443/', 'scheme_not_allowed', at('- exact.test', watched)],
    ['watched', 'expired.test:443', 'entry_expired', at('expired.test', watched)],
    ['watched', 'POST http://read.test/', 'method_not_allowed', at('read.test', watched)],
    ['watched', 'http://part.test/b', 'path_not_allowed', at('part.test', watched)],
    ['watched', `${names}:443`, 'host_not_allowed'],
  ];
  for (const [agent, request, reason, entry] of reported) {
    test(`lets ${request} pass and says ${reason}`, async () => {
      const answer = await ask(agent, request);
      assert.ok(answer.status < 300, `${answer.status} ${answer.reason}`);
      const line = proxy.lines().findLast((one) => one.event === 'open');
      assert.deepEqual(
        [line?.agent, line?.verdict, line?.reason, line?.report, line?.entry],
        [agent, 'allow', reason, true, entry],
      );
      const said = await explain(agent, request);
      assert.deepEqual([said.status, said.verdict, said.reason], [0, 'allow', reason]);
    });
  }

  test('says nothing where an entry speaks', async () => {
    await ask('watched', 'exact.test:443');
    const line = proxy.lines().findLast((one) => one.event === 'open');
    assert.deepEqual([line?.reason, line?.report], [undefined, undefined]);
  });

  const blocked: readonly Row[] = [
    ['watched', 'bad.test:443', 'denied'],
    ['watched', 'doh.test:443', 'denied'],
    ['watched', '10.0.0.5:443', 'address_not_allowed'],
    ['watched', '127.0.0.1:443', 'address_not_allowed'],
    ['watched', '169.254.169.254:80', 'address_not_allowed'],
    ['watched', 'http://10.0.0.5/', 'address_not_allowed'],
    ['watched', 'a@b.test:443', 'bad_target'],
  ];
  for (const [agent, request, reason] of blocked) {
    test(`blocks ${request}: ${reason}`, async () => {
      assertRefusal(await ask(agent, request), reason);
      const said = await explain(agent, request);
      assert.deepEqual([said.status, said.verdict, said.reason], [1, 'block', reason]);
    });
  }

  test('only tells of a tunnel that carries no TLS', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    const credentials = proxyAuthorization(`${token}watched`, 'watched');
    assert.equal((await client.tunnel('exact.test:443', credentials)).status, 200);
    client.write('GET / HTTP/1.1\r\nHost: exact.test\r\n\r\n');
    assert.equal((await client.readResponse()).status, 204);
    client.close();
    const close = await waitForLine(proxy.logFile, {
      event: 'close',
      agent: 'watched',
      bytes_up: 36,
    });
    assert.deepEqual(
      [close.verdict, close.reason, close.report, close.end],
      ['allow', 'not_tls', true, 'client'],
    );
  });
});

describe('what is open when the policy changes', () => {
  const file = 'live.yaml';
  const live = (allow: readonly unknown[], more: object = {}) => ({
    [file]: {
      agents: {
        live: {
          owner: 'o@example.com',
          purpose: 'p',
          credentials: { tokens: [digestOf('live')] },
          allow,
          ...more,
        },
      },
    },
  });
  const credentials = proxyAuthorization(`${token}live`, 'live');

  async function tunnel(target: string): Promise<RawClient> {
    const client = await RawClient.connect({ port: proxy.port });
    const answer = await client.tunnel(target, credentials);
    assert.equal(answer.status, 200, answer.body.toString());
    return client;
  }

  /** The tunnel ends by itself; its close line. */
  async function cut(client: RawClient, host: string): ReturnType<typeof waitForLine> {
    await client.readToClose(2000);
    client.close();
    return await waitForLine(proxy.logFile, { event: 'close', host, agent: 'live' });
  }

  const open = 'tcp://open.test:22';
  const changes: readonly [what: string, to: readonly unknown[], more: object, reason: string][] = [
    ['its entry is gone', [], {}, 'policy_changed'],
    ['a deny entry covers it', [open], { deny: ['open.test'] }, 'policy_changed'],
    ['its port is another', ['tcp://open.test:23'], {}, 'policy_changed'],
    ['its scheme is another', [{ host: 'open.test', ports: [22] }], {}, 'policy_changed'],
    [
      'it has ended',
      [{ host: 'open.test', scheme: 'tcp', ports: [22], until: '2020-01-01T00:00:00Z' }],
      {},
      'entry_expired',
    ],
    ['the token is gone', [open], { credentials: {} }, 'policy_changed'],
    [
      'another source address is asked for',
      [open],
      { credentials: { tokens: [digestOf('live')], sources: ['10.0.0.0/8'] } },
      'policy_changed',
    ],
  ];
  for (const [index, [what, to, more, reason]] of changes.entries()) {
    test(`is cut if ${what}`, async () => {
      const host = `open${index}.test`;
      const rename = (value: unknown) =>
        JSON.parse(JSON.stringify(value).replaceAll('open.test', host));
      await proxy.reload(live(rename([open])));
      const client = await tunnel(`${host}:22`);
      client.write('flows');
      await client.readBytes(5);
      await proxy.reload(live(rename(to), rename(more) as object));
      const line = await cut(client, host);
      assert.deepEqual([line.verdict, line.reason, line.end], ['block', reason, reason]);
    });
  }

  test('is cut if its agent is gone', async () => {
    await proxy.reload(live(['tcp://gone.test:22']));
    const client = await tunnel('gone.test:22');
    await proxy.reload({ [file]: { agents: {} } });
    const line = await cut(client, 'gone.test');
    assert.deepEqual([line.verdict, line.end, line.agent], ['block', 'policy_changed', 'live']);
  });

  test('stays open where another entry still allows it, and under a broken file', async () => {
    await proxy.reload(live(['tcp://stay.test:22']));
    const client = await tunnel('stay.test:22');
    await proxy.reload(
      live([{ host: '*.test', broad: true, note: 'n', scheme: 'tcp', ports: [22] }]),
    );
    await proxy.reload({ [file]: 'agents: [' });
    client.write('still');
    assert.equal((await client.readBytes(5)).toString(), 'still');
    await proxy.reload(live([]));
    await cut(client, 'stay.test');
  });

  test('is cut at the end of its entry, of its group grant, and refused after that', async () => {
    const until = new Date(Date.now() + 1500).toISOString();
    const entry = { host: 'entry.test', scheme: 'tcp', ports: [22], until };
    await proxy.reload({
      ...live([entry, { group: 'short/lived', until }]),
      'short.yaml': { groups: { 'short/lived': { allow: ['tcp://grant.test:22'] } } },
    });
    const tunnels = await Promise.all([tunnel('entry.test:22'), tunnel('grant.test:22')]);
    const lines = await Promise.all([cut(tunnels[0], 'entry.test'), cut(tunnels[1], 'grant.test')]);
    const late = Date.now() - Date.parse(until);
    assert.ok(late >= 0 && late < 1000, `cut ${late} ms after the end`);
    for (const line of lines) {
      assert.deepEqual(
        [line.verdict, line.reason, line.end],
        ['block', 'entry_expired', 'entry_expired'],
      );
    }
    const client = await RawClient.connect({ port: proxy.port });
    assertRefusal(await client.tunnel('entry.test:22', credentials), 'entry_expired');
    client.close();
  });
});

test('leaves a whole log', async () => {
  assert.ok((await proxy.stop()).length > rows.length);
});
