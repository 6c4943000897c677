import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientHello } from '../support/client-hello.ts';
import { until } from '../support/deadline.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { type EgressLine, linesLike, onlyLine, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { type Origin, startTcpOrigin } from '../support/origins.ts';
import { ProxyProcess, tokenDigest } from '../support/proxy-process.ts';
import { connectHead, header, proxyAuthorization, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const token = 'a-long-random-token-of-the-test';
const credentials = proxyAuthorization(token, 'demo');
const address = '93.184.215.14';

let dns: Awaited<ReturnType<typeof startDnsServer>>;
let origins: Origin[];

before(async () => {
  dns = await startDnsServer({
    address: dnsAddress,
    port: 53,
    zone: {
      '*': { a: [address] },
      'slow.test': { a: [address], delay: 1500 },
      'inner.test': { a: ['10.0.0.5'] },
    },
  });
  const websocket = /^sec-websocket-key: (.*)$/im;
  origins = await Promise.all([
    startTcpOrigin({ address, port: 22 }, ({ socket }) => {
      socket.pipe(socket);
    }),
    startTcpOrigin({ address: '10.0.0.5', port: 22 }, ({ socket }) => {
      socket.pipe(socket);
    }),
    startTcpOrigin({ address, port: 443 }),
    // Takes a request and never answers it whole; a websocket is opened.
    startTcpOrigin({ address, port: 80 }, (received) => {
      received.socket.once('data', () => {
        const key = websocket.exec(received.text)?.[1]?.trim();
        const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
        received.socket.write(
          key === undefined
            ? received.text.includes('/silent')
              ? ''
              : 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart'
            : `HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n`,
        );
      });
    }),
  ]);
});

after(async () => {
  await Promise.all([...origins.map((origin) => origin.close()), dns.close()]);
});

/** An allowlist file for one agent, as YAML with one entry per line. */
function yaml(entries: readonly string[], more = ''): string {
  const lines = entries.map((entry) => `      - ${entry}\n`).join('');
  return `agents:
  demo:
    owner: owner@example.com
    purpose: to be tested
    credentials: {tokens: ["${tokenDigest(token)}"]}
${more}    allow:${lines === '' ? ' []\n' : `\n${lines}`}`;
}

const tcp = (name: string) => `tcp://${name}.test:22`;

async function status(proxy: ProxyProcess, target: string, fields = credentials): Promise<number> {
  const client = await RawClient.connect({ port: proxy.port });
  const answer = await client.tunnel(target, fields);
  client.reset();
  return answer.status;
}

async function untilStatus(proxy: ProxyProcess, target: string, wanted: number): Promise<void> {
  await until(
    async () => (await status(proxy, target)) === wanted,
    () => `${target} is not answered with ${wanted}`,
  );
}

interface Ready {
  readonly ready: boolean;
  readonly policy: string;
  readonly reload: string;
  readonly problems: readonly { file: string; line: number; code: string }[];
}

async function ready(proxy: ProxyProcess): Promise<Ready> {
  return JSON.parse((await proxy.admin('/ready')).text) as Ready;
}

/** Puts the directory back to this one file, and that in force. */
async function restore(proxy: ProxyProcess, content: string): Promise<void> {
  const directory = path.join(proxy.directory, 'allowlists');
  for (const name of fs.readdirSync(directory)) {
    fs.rmSync(path.join(directory, name), { recursive: true });
  }
  const answer = await proxy.reload({ 'demo.yaml': content });
  assert.equal(answer.status, 200, answer.text);
}

describe('a change of the files takes effect by itself', () => {
  let proxy: ProxyProcess;
  let directory: string;
  const file = (name: string) => path.join(directory, name);
  const reloads = () => linesLike(proxy.lines(), { event: 'reload' }).length;

  before(async () => {
    proxy = await ProxyProcess.start({ allowlists: { 'demo.yaml': yaml([tcp('one')]) } });
    directory = path.join(proxy.directory, 'allowlists');
  });
  after(() => proxy[Symbol.asyncDispose]());
  beforeEach(async () => {
    await restore(proxy, yaml([tcp('one')]));
    assert.equal(await status(proxy, 'one.test:22'), 200);
    assert.equal(await status(proxy, 'two.test:22'), 403);
  });

  const changes: [what: string, change: () => void][] = [
    [
      'an editor writes a new file and renames it over the old one',
      () => {
        fs.writeFileSync(file('.demo.yaml.swp'), yaml([tcp('two')]));
        fs.renameSync(file('.demo.yaml.swp'), file('demo.yaml'));
      },
    ],
    [
      'an editor keeps a backup',
      () => {
        fs.renameSync(file('demo.yaml'), file('demo.yaml~'));
        fs.writeFileSync(file('demo.yaml'), yaml([tcp('two')]));
      },
    ],
    ['the file is written in place', () => fs.writeFileSync(file('demo.yaml'), yaml([tcp('two')]))],
    [
      'the file is written in place, with the same length and time',
      () => {
        const { atime, mtime } = fs.statSync(file('demo.yaml'));
        fs.writeFileSync(file('demo.yaml'), yaml([tcp('two')]));
        fs.utimesSync(file('demo.yaml'), atime, mtime);
      },
    ],
    [
      'the file goes into a new folder',
      () => {
        fs.mkdirSync(file('team/deep'), { recursive: true });
        fs.writeFileSync(file('team/deep/demo.yml'), yaml([tcp('two')]));
        fs.unlinkSync(file('demo.yaml'));
      },
    ],
    [
      'the whole directory is replaced',
      () => {
        fs.mkdirSync(`${directory}.new`);
        fs.writeFileSync(path.join(`${directory}.new`, 'demo.yaml'), yaml([tcp('two')]));
        fs.renameSync(directory, `${directory}.old`);
        fs.renameSync(`${directory}.new`, directory);
      },
    ],
  ];
  for (const [what, change] of changes) {
    test(what, async () => {
      change();
      await untilStatus(proxy, 'two.test:22', 200);
      assert.equal(await status(proxy, 'one.test:22'), 403);
      const { policy } = await ready(proxy);
      await waitForLine(proxy.logFile, { event: 'reload', policy });
    });
  }

  test('a folder that came later is watched too', async () => {
    fs.mkdirSync(file('later'));
    fs.writeFileSync(file('later/deny.yaml'), 'deny: [one.test]\n');
    await untilStatus(proxy, 'one.test:22', 403);
    fs.writeFileSync(file('later/deny.yaml'), 'deny: [other.test]\n');
    await untilStatus(proxy, 'one.test:22', 200);
  });

  test('git checks out another branch', async () => {
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], {
        cwd: directory,
        stdio: 'pipe',
      });
    git('init', '-q', '-b', 'main');
    git('add', '.');
    git('commit', '-qm', 'one');
    git('checkout', '-qb', 'other');
    fs.mkdirSync(file('groups'));
    for (let count = 0; count < 30; count++) {
      fs.writeFileSync(
        file(`groups/g${count}.yaml`),
        `groups: {g${count}: {allow: ["tcp://n${count}.test:22"]}}\n`,
      );
    }
    fs.writeFileSync(
      file('demo.yaml'),
      yaml(Array.from({ length: 30 }, (_, count) => `group: g${count}`)),
    );
    git('add', '.');
    git('commit', '-qm', 'other');
    await untilStatus(proxy, 'n29.test:22', 200);
    git('checkout', '-q', 'main');
    await untilStatus(proxy, 'one.test:22', 200);
    git('checkout', '-q', 'other');
    await untilStatus(proxy, 'n0.test:22', 200);
    assert.equal(await status(proxy, 'one.test:22'), 403);
  });

  test('a Kubernetes config map swaps its ..data link', async () => {
    const publish = (version: string, content: string) => {
      fs.mkdirSync(file(`..${version}`));
      fs.writeFileSync(file(`..${version}/demo.yaml`), content);
      fs.symlinkSync(`..${version}`, file('..data_tmp'));
      fs.renameSync(file('..data_tmp'), file('..data'));
    };
    publish('v1', yaml([tcp('one')]));
    fs.unlinkSync(file('demo.yaml'));
    fs.symlinkSync('..data/demo.yaml', file('demo.yaml'));
    await sleep(700);
    assert.equal(await status(proxy, 'one.test:22'), 200);
    publish('v2', yaml([tcp('two')]));
    fs.rmSync(file('..v1'), { recursive: true });
    await untilStatus(proxy, 'two.test:22', 200);
    publish('v3', yaml([tcp('three')]));
    await untilStatus(proxy, 'three.test:22', 200);
    assert.equal(await status(proxy, 'two.test:22'), 403);
  });

  test('SIGHUP and POST /reload read at once, and say so though nothing changed', async () => {
    const before = reloads();
    proxy.signal('SIGHUP');
    await until(
      () => reloads() === before + 1,
      () => 'no reload line for SIGHUP',
    );
    const answer = await proxy.admin('/reload', 'POST');
    assert.equal(answer.status, 200);
    assert.equal(reloads(), before + 2);
    proxy.writeAllowlists({ 'demo.yaml': yaml([tcp('two')]) });
    proxy.signal('SIGHUP');
    await untilStatus(proxy, 'two.test:22', 200);
  });

  test('200 signals in a second are few reloads, and others are served', async () => {
    const before = reloads();
    for (let count = 0; count < 200; count++) {
      proxy.signal('SIGHUP');
      if (count % 20 === 0) assert.equal(await status(proxy, 'one.test:22'), 200);
      await sleep(3);
    }
    await until(
      () => reloads() > before,
      () => 'no reload',
    );
    assert.equal(await status(proxy, 'one.test:22'), 200);
    await proxy.stop();
  });
});

describe('files that cannot be used', () => {
  let proxy: ProxyProcess;
  const good = yaml([tcp('one')]);
  const digest = async () => (await ready(proxy)).policy;

  before(async () => {
    proxy = await ProxyProcess.start({ allowlists: { 'demo.yaml': good } });
  });
  after(() => proxy[Symbol.asyncDispose]());

  const broken: [what: string, content: string | null][] = [
    ['a torn file', good.slice(0, -18)],
    ['a file of something else', 'just text\n'],
    ['a list', '- one.test\n'],
    ['a tab', 'agents:\n\tdemo: {}\n'],
    ['an unknown key', `${good}allows: []\n`],
    ['a duplicate key', `${good}deny: []\ndeny: []\n`],
    ['an alias', 'deny: [&a one.test, *a]\n'],
    ['two documents', `${good}---\n${good}`],
    ['no owner', good.replace('    owner: owner@example.com\n', '')],
    ['an entry with a capital', yaml(['tcp://One.test:22'])],
    ['bytes that are no UTF-8', '\u0000\u0001'],
    ['a star alone', yaml(['"*"'])],
    ['a group that is nowhere', yaml(['group: nowhere'])],
  ];
  for (const [what, content] of broken) {
    test(`${what}: the old policy stays, and everybody is told`, async () => {
      const before = await digest();
      const failures = () => linesLike(proxy.lines(), { event: 'reload_failed' });
      const count = failures().length;
      proxy.writeAllowlists({ 'demo.yaml': content ?? '' });
      await until(
        () => failures().length > count,
        () => 'no reload_failed line',
      );
      assert.equal(await status(proxy, 'one.test:22'), 200);
      assert.equal(await status(proxy, 'two.test:22'), 403);
      const line = failures().at(-1) as EgressLine;
      assert.match(line.entry ?? '', /^demo\.yaml:\d+$/);
      assert.equal(line.policy, before);
      const state = await ready(proxy);
      assert.deepEqual([state.ready, state.policy, state.reload], [true, before, 'failed']);
      assert.equal(state.problems[0]?.file, 'demo.yaml');
      assert.equal((await proxy.admin('/reload', 'POST')).status, 422);
      assert.match(
        (await proxy.admin('/metrics')).text,
        /^sallyport_reloads_total\{result="failed"\} [1-9]/m,
      );
      proxy.writeAllowlists({ 'demo.yaml': good });
      await until(
        async () => (await ready(proxy)).reload === 'ok',
        () => 'not well again',
      );
    });
  }

  test('a deleted directory, and its return', async () => {
    const directory = path.join(proxy.directory, 'allowlists');
    fs.renameSync(directory, `${directory}.away`);
    await until(
      async () => (await ready(proxy)).reload === 'failed',
      () => 'the loss is not seen',
    );
    assert.equal(await status(proxy, 'one.test:22'), 200);
    fs.renameSync(`${directory}.away`, directory);
    await until(
      async () => (await ready(proxy)).reload === 'ok',
      () => 'the return is not seen',
    );
    proxy.writeAllowlists({ 'demo.yaml': yaml([tcp('two')]) });
    await untilStatus(proxy, 'two.test:22', 200);
    proxy.writeAllowlists({ 'demo.yaml': good });
    await untilStatus(proxy, 'one.test:22', 200);
  });

  test('a file that cannot be read', async () => {
    const file = path.join(proxy.directory, 'allowlists', 'loop.yaml');
    fs.symlinkSync('loop.yaml', file);
    await until(
      async () => (await ready(proxy)).reload === 'failed',
      () => 'not seen',
    );
    assert.equal(await status(proxy, 'one.test:22'), 200);
    fs.unlinkSync(file);
    await until(
      async () => (await ready(proxy)).reload === 'ok',
      () => 'not well again',
    );
  });

  test('an empty list is valid and allows nothing', async () => {
    proxy.writeAllowlists({ 'demo.yaml': yaml([]) });
    await untilStatus(proxy, 'one.test:22', 403);
  });
});

/** Something that is alive when the policy changes. */
interface Alive {
  readonly client: RawClient;
  /** Fields of its last line. */
  readonly last: Partial<EgressLine>;
}

const from = (client: RawClient) => `${client.socket.localAddress}:${client.socket.localPort}`;

async function openTunnel(
  proxy: ProxyProcess,
  target: string,
  fields = credentials,
): Promise<Alive> {
  const client = await RawClient.connect({ port: proxy.port });
  const last = { event: 'close', client: from(client) };
  assert.equal((await client.tunnel(target, fields)).status, 200);
  if (target.endsWith(':443')) client.write(clientHello({ sni: target.slice(0, -4) }));
  return { client, last };
}

async function openRequest(proxy: ProxyProcess, url: string, more = ''): Promise<Alive> {
  const client = await RawClient.connect({ port: proxy.port });
  const last = { event: 'request', client: from(client) };
  client.write(`GET ${url} HTTP/1.1\r\nHost: web.test\r\n${credentials}${more}\r\n`);
  if (url.includes('silent')) {
    await waitForLine(proxy.logFile, { event: 'open', client: from(client) });
  } else await client.readUntil('\r\n\r\n');
  return { client, last };
}

const upgrade =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

const living: [what: string, open: (proxy: ProxyProcess) => Promise<Alive>][] = [
  ['a tcp tunnel', (proxy) => openTunnel(proxy, 'one.test:22')],
  ['a TLS tunnel', (proxy) => openTunnel(proxy, 'tls.test:443')],
  [
    'a tunnel that waits for its hello',
    async (proxy) => {
      const client = await RawClient.connect({ port: proxy.port });
      await client.tunnel('tls.test:443', credentials);
      return { client, last: { event: 'close', client: from(client) } };
    },
  ],
  ['a response under way', (proxy) => openRequest(proxy, 'http://web.test/')],
  ['a request without an answer', (proxy) => openRequest(proxy, 'http://web.test/silent')],
  ['a websocket', (proxy) => openRequest(proxy, 'http://web.test/ws', upgrade)],
];
const entries = [tcp('one'), 'tls.test', 'http://web.test', tcp('slow')];

/** Within a second of `act` the connection is gone and its last line says why. */
async function assertCutBy(
  proxy: ProxyProcess,
  { client, last }: Alive,
  reason: string,
  act: () => unknown,
): Promise<void> {
  await act();
  await until(
    () => client.ended || client.closed,
    () => 'still connected',
    1500,
  );
  const line = await waitForLine(proxy.logFile, last);
  assert.deepEqual([line.verdict, line.reason, line.end], ['block', reason, reason]);
  client.close();
}

describe('what is alive when the policy changes', () => {
  let proxy: ProxyProcess;
  before(async () => {
    proxy = await ProxyProcess.start({ allowlists: { 'demo.yaml': yaml(entries) } });
  });
  after(() => proxy[Symbol.asyncDispose]());
  beforeEach(() => restore(proxy, yaml(entries)));

  const changes: [what: string, content: string][] = [
    ['the entries are gone', yaml([tcp('other')])],
    ['the agent is gone', yaml(entries).replace('  demo:', '  another:')],
    [
      'the token is another',
      yaml(entries).replace(tokenDigest(token), tokenDigest('another-token-of-the-test')),
    ],
    ['a deny entry stands against them', yaml(entries, '    deny: [.test]\n')],
    [
      'the client may come from elsewhere only',
      yaml(entries).replace('credentials: {', 'credentials: {sources: [192.0.2.0/24], '),
    ],
  ];
  for (const [what, content] of changes) {
    test(`${what}: all are cut`, async () => {
      const alive = await Promise.all(living.map(([, open]) => open(proxy)));
      proxy.writeAllowlists({ 'demo.yaml': content });
      for (const [index, one] of alive.entries()) {
        await until(
          () => one.client.ended || one.client.closed,
          () => `${living[index]?.[0]} is still connected`,
          1500,
        );
        const line = await waitForLine(proxy.logFile, one.last);
        assert.equal(line.verdict, 'block', living[index]?.[0]);
        assert.equal(line.reason, line.end);
        assert.match(line.reason ?? '', /^(policy_changed|source_not_allowed)$/);
        one.client.close();
      }
      await until(
        async () => (await proxy.admin('/connections')).text === '{"connections":[]}\n',
        () => 'connections are left',
      );
    });
  }

  const harmless: [what: string, content: string][] = [
    ['the entries moved to other lines', `# one\n# two\n${yaml([...entries].reverse())}`],
    [
      'the entries are in a group now',
      `${yaml(['group: g'])}groups:\n  g:\n    allow:\n${entries.map((entry) => `      - ${entry}\n`).join('')}`,
    ],
    [
      'a wildcard takes their place',
      yaml(['tcp://*.test:22', '"*.test"', 'http://*.test', tcp('x')]),
    ],
    ['others came and went', yaml([...entries, tcp('more')])],
    ['the mode is report now', yaml(entries, '    mode: report\n')],
  ];
  for (const [what, content] of harmless) {
    test(`${what}: all stay`, async () => {
      const alive = await Promise.all(living.map(([, open]) => open(proxy)));
      const answer = await proxy.reload({ 'demo.yaml': content });
      assert.equal(answer.status, 200, answer.text);
      await sleep(400);
      for (const [index, { client }] of alive.entries()) {
        assert.ok(!client.ended && !client.closed, living[index]?.[0]);
      }
      const tunnel = alive[0]?.client as RawClient;
      tunnel.write('still here');
      await tunnel.readUntil('still here');
      for (const { client } of alive) client.reset();
      await waitForLine(proxy.logFile, alive[0]?.last ?? {});
      const line = onlyLine(proxy.lines(), alive[0]?.last ?? {});
      assert.equal(line.verdict, 'allow');
      assert.equal(
        line.policy,
        (await ready(proxy)).policy,
        'the line names the policy it ended under',
      );
    });
  }

  test('a name that is being resolved, and a dial under way', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    client.write(connectHead('slow.test:22', credentials));
    await sleep(200);
    await proxy.reload({ 'demo.yaml': yaml([tcp('other')]) });
    const answer = await client.readResponse();
    assert.deepEqual([answer.status, header(answer, 'sallyport-reason')], [403, 'policy_changed']);
    onlyLine(proxy.lines(), { event: 'block', client: from(client), reason: 'policy_changed' });
    assert.deepEqual(linesLike(proxy.lines(), { event: 'open', client: from(client) }), []);
    client.close();
  });

  test('an address range that is no longer granted', async () => {
    const grant = '{host: inner.test, scheme: tcp, ports: [22], addresses: [10.0.0.0/24]}';
    await proxy.reload({ 'demo.yaml': yaml([grant]) });
    const alive = await openTunnel(proxy, 'inner.test:22');
    await assertCutBy(proxy, alive, 'policy_changed', () =>
      proxy.reload({ 'demo.yaml': yaml([grant.replace('10.0.0.0/24', '10.0.1.0/24')]) }),
    );
  });

  test('a tcp entry that becomes https cuts what never showed TLS', async () => {
    await proxy.reload({ 'demo.yaml': yaml(['tcp://tls.test:443']) });
    const client = await RawClient.connect({ port: proxy.port });
    await client.tunnel('tls.test:443', credentials);
    client.write('not TLS');
    const alive = { client, last: { event: 'close', client: from(client) } };
    await assertCutBy(proxy, alive, 'policy_changed', () =>
      proxy.reload({ 'demo.yaml': yaml(['tls.test']) }),
    );
  });
});

describe('what ends by the clock', () => {
  test('until: live ones are cut, new ones refused', async () => {
    // Far enough off that all are open by then, also on a busy machine.
    const end = Date.now() + 4000;
    const until = (entry: string) => `{${entry}, until: "${new Date(end).toISOString()}"}`;
    await using proxy = await ProxyProcess.start({
      allowlists: {
        'demo.yaml': yaml([
          until('host: one.test, scheme: tcp, ports: [22]'),
          until('host: web.test, scheme: http'),
        ]),
      },
    });
    const alive = await Promise.all([
      openTunnel(proxy, 'one.test:22'),
      openRequest(proxy, 'http://web.test/'),
      openRequest(proxy, 'http://web.test/ws', upgrade),
    ]);
    const atEnd = () => sleep(Math.max(0, end - Date.now()));
    for (const one of alive) await assertCutBy(proxy, one, 'entry_expired', atEnd);
    const client = await RawClient.connect({ port: proxy.port });
    const answer = await client.tunnel('one.test:22', credentials);
    assert.deepEqual([answer.status, header(answer, 'sallyport-reason')], [403, 'entry_expired']);
    client.close();
  });

  test('an issued credential', async () => {
    await using proxy = await ProxyProcess.start({ allowlists: { 'demo.yaml': yaml(entries) } });
    const main = path.resolve(import.meta.dirname, '../../src/main.ts');
    const issue = (...args: string[]) =>
      execFileSync(
        process.execPath,
        [
          main,
          'token',
          'issue',
          'demo',
          '--config',
          path.join(proxy.directory, 'sallyport.yaml'),
          ...args,
        ],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
      ).trim();
    const credential = issue('--ttl', '2s', '--task', 'T-1', '--requested-by', 'alice');
    const fields = proxyAuthorization(credential, 'demo');
    const alive = await openTunnel(proxy, 'one.test:22', fields);
    await sleep(1200);
    await assertCutBy(proxy, alive, 'credential_expired', () => undefined);
    assert.equal(await status(proxy, 'one.test:22', fields), 407);
    const lines = await proxy.stop();
    const close = onlyLine(lines, alive.last);
    assert.deepEqual([close.task, close.requested_by], ['T-1', 'alice']);
    assert.ok(close.token !== undefined && !JSON.stringify(lines).includes(credential));
    onlyLine(lines, { event: 'block', reason: 'credential_expired', agent: 'demo' });
  });
});
