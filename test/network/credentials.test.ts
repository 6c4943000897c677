import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandResult } from '../support/command.ts';
import { Installation } from '../support/command.ts';
import { until } from '../support/deadline.ts';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { linesLike, onlyLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { type Origin, startTcpOrigin } from '../support/origins.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { proxyAuthorization, RawClient, type RawResponse } from '../support/raw-client.ts';
import { assertRefusal } from '../support/refusal.ts';

await enterNamespace(import.meta.filename);

const address = '93.184.215.14';
const future = '2999-01-01T00:00:00Z';
const allowlists = {
  'demo.yaml': `groups:
  docs:
    about: documentation
    allow: [tcp://docs.test:22, http://docs.test]
agents:
  demo:
    owner: owner@example.com
    purpose: to be tested
    allow:
      - {group: docs, until: ${future}}
      - tcp://*.site.test:22
      - http://*.site.test
  bob: {owner: bob@example.com, purpose: to be another, allow: [tcp://bob.test:22]}
`,
};

let dns: DnsServer;
let origins: Origin[];
const installation = new Installation();

before(async () => {
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone: { '*': { a: [address] } } });
  origins = await Promise.all(
    [22, 80].map((port) =>
      startTcpOrigin({ address, port }, ({ socket }) => {
        socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
      }),
    ),
  );
});

after(async () => {
  installation[Symbol.dispose]();
  await Promise.all(origins.map((origin) => origin.close()));
  await dns.close();
});

const keyFile = (proxy: ProxyProcess): string =>
  path.join(proxy.directory, 'certs', 'credentials.key');

/** A command line on the proxy's own files; the credential, if any, on standard input. */
async function sallyport(
  proxy: ProxyProcess,
  argv: readonly string[],
  input: string | null = null,
): Promise<CommandResult> {
  const env = {
    SALLYPORT_ALLOWLISTS: path.join(proxy.directory, 'allowlists'),
    SALLYPORT_CERTS: path.join(proxy.directory, 'certs'),
  };
  const result = await installation.run(argv, Date.now(), env, input);
  assert.equal(result.status, 0, result.stderr);
  return result;
}

const issue = async (proxy: ProxyProcess, ...more: string[]): Promise<string> =>
  (await sallyport(proxy, ['token', 'issue', 'demo', ...more])).stdout.trim();

const attenuate = async (proxy: ProxyProcess, input: string, ...more: string[]): Promise<string> =>
  (await sallyport(proxy, ['token', 'attenuate', ...more], input)).stdout.trim();

async function connect(
  proxy: ProxyProcess,
  credential: string,
  target: string,
): Promise<RawResponse> {
  const client = await RawClient.connect({ port: proxy.port });
  const answer = await client.tunnel(target, proxyAuthorization(credential, 'demo'));
  client.reset();
  return answer;
}

async function get(proxy: ProxyProcess, credential: string, url: string): Promise<RawResponse> {
  const client = await RawClient.connect({ port: proxy.port });
  const fields = proxyAuthorization(credential, 'demo');
  client.write(`GET ${url} HTTP/1.1\r\nHost: ${url.split('/')[2]}\r\n${fields}\r\n`);
  const answer = await client.readResponse();
  client.reset();
  return answer;
}

describe('a credential that its holders have narrowed', () => {
  let proxy: ProxyProcess;
  before(async () => {
    proxy = await ProxyProcess.start({ allowlists });
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
  });

  const hosts = ['docs.test', 'a.site.test', 'b.site.test', 'bob.test'];
  const rows: readonly (readonly [string, readonly (readonly string[])[], readonly string[]])[] = [
    ['by nobody', [], ['docs.test', 'a.site.test', 'b.site.test']],
    ['to a group', [['docs']], ['docs.test']],
    ['to a host', [['host:a.site.test']], ['a.site.test']],
    ['to a group or a host', [['group:docs', 'a.site.test']], ['docs.test', 'a.site.test']],
    [
      'twice',
      [
        ['*.site.test', 'docs'],
        ['a.site.test', 'docs.test'],
      ],
      ['docs.test', 'a.site.test'],
    ],
    ['twice, to nothing', [['docs'], ['a.site.test']], []],
    ["to what is not its agent's", [['bob.test']], []],
  ];
  for (const [what, steps, allowed] of rows) {
    test(what, async () => {
      let credential = await issue(proxy, '--task', what);
      for (const only of steps) credential = await attenuate(proxy, credential, '--only', ...only);
      for (const host of hosts) {
        const answers = [
          await connect(proxy, credential, `${host}:22`),
          await get(proxy, credential, `http://${host}/`),
        ];
        for (const answer of answers) {
          if (allowed.includes(host)) assert.equal(answer.status, 200, answer.reason);
          else assertRefusal(answer, 'host_not_allowed');
        }
      }
      const said = await policyOf(proxy, credential);
      const names = new Set(said.allow.map(({ host }) => host));
      const listed = hosts.filter((host) => names.has(host) || names.has(`*.${host.slice(2)}`));
      assert.deepEqual(listed, allowed);
      assert.equal(JSON.stringify(said).includes('bob'), what.includes('not its'));
    });
  }

  test('is refused inside a tunnel as outside', async () => {
    const credential = await attenuate(proxy, await issue(proxy), '--only', 'a.site.test');
    const client = await RawClient.connect({ port: proxy.port });
    const opened = await client.tunnel('a.site.test:80', proxyAuthorization(credential, 'demo'));
    assert.equal(opened.status, 200);
    client.write('GET / HTTP/1.1\r\nHost: a.site.test\r\n\r\n');
    assert.equal((await client.readResponse()).status, 200);
    client.close();
    assertRefusal(await connect(proxy, credential, 'b.site.test:80'), 'host_not_allowed');
  });

  test('says in its refusal what it is narrowed to', async () => {
    const credential = await attenuate(proxy, await issue(proxy), '--only', 'docs', 'a.site.test');
    const answer = await connect(proxy, credential, 'b.site.test:22');
    assert.match(answer.reason, /^b\.site\.test is not on the part of agent demo's allowlist/u);
    const { hint } = (JSON.parse(answer.body.toString()) as { error: { hint: string } }).error;
    assert.match(hint, /narrowed to docs, a\.site\.test\. GET /u);
  });

  test('says in /policy until when, for which task, and whom to ask', async () => {
    const credential = await attenuate(
      proxy,
      await issue(proxy, '--task', 'T-7', '--requested-by', 'ann', '--only', 'docs', '*.site.test'),
      '--ttl',
      '15m',
      '--only',
      'docs',
      'b.site.test',
    );
    const said = await policyOf(proxy, credential);
    const { expires, id, ...rest } = said.credential;
    assert.match(id, /^[0-9A-Z]{26}$/u);
    assert.deepEqual(rest, {
      kind: 'issued',
      task: 'T-7',
      requested_by: 'ann',
      scope: [
        { groups: ['docs'], hosts: ['*.site.test'] },
        { groups: ['docs'], hosts: ['b.site.test'] },
      ],
    });
    const left = Date.parse(expires) - Date.now();
    assert.ok(left > 0 && left <= 900_000, expires);
    assert.deepEqual(
      said.allow.map(({ host, scheme, until: end }) => [host, scheme, end]),
      [
        ['docs.test', 'tcp', expires],
        ['docs.test', 'http', expires],
        ['b.site.test', 'tcp', expires],
        ['b.site.test', 'http', expires],
      ],
    );
    assert.equal(said.ask, 'owner@example.com');
    assert.match(said.message, /for the task T-7.*is narrowed.*ask owner@example\.com/u);
    assert.doesNotMatch(JSON.stringify(said), /sp1\./u);
  });

  test('ends when it says, in the middle of a tunnel', async () => {
    const credential = await attenuate(proxy, await issue(proxy, '--task', 'short'), '--ttl', '2s');
    const client = await RawClient.connect({ port: proxy.port });
    const fields = proxyAuthorization(credential, 'demo');
    assert.equal((await client.tunnel('docs.test:22', fields)).status, 200);
    await client.readToClose(4000);
    await until(
      () => linesLike(proxy.lines(), { event: 'close', task: 'short' }).length === 1,
      () => 'no close line',
    );
    assert.equal(
      onlyLine(proxy.lines(), { event: 'close', task: 'short' }).end,
      'credential_expired',
    );
    assertRefusal(await connect(proxy, credential, 'docs.test:22'), 'credential_expired');
  });
});

interface OwnPolicy {
  readonly credential: { readonly id: string; readonly expires: string };
  readonly allow: readonly { host: string; scheme: string; until: string }[];
  readonly ask: string;
  readonly message: string;
}

async function policyOf(proxy: ProxyProcess, credential: string): Promise<OwnPolicy> {
  const answer = await get(proxy, credential, 'http://sallyport.internal/policy');
  assert.equal(answer.status, 200);
  return JSON.parse(answer.body.toString()) as OwnPolicy;
}

for (const workers of [1, 2]) {
  describe(`a rotation of keys, workers: ${workers}`, () => {
    let proxy: ProxyProcess;
    before(async () => {
      proxy = await ProxyProcess.start({ allowlists, settings: { workers } });
    });
    after(async () => {
      await proxy[Symbol.asyncDispose]();
    });

    /** Until every worker answers so; connections go to any of them. */
    const untilStatus = (credential: string, wanted: number): Promise<void> =>
      until(
        async () => {
          const answers = await Promise.all(
            Array.from({ length: 6 }, () => connect(proxy, credential, 'docs.test:22')),
          );
          return answers.every(({ status }) => status === wanted);
        },
        () => `not all answer with ${wanted}\n${proxy.stderr}`,
      );

    test('is taken up without a restart, and cuts only what its removal leaves without a key', async () => {
      const old = await issue(proxy, '--task', 'old');
      const tunnels = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const client = await RawClient.connect({ port: proxy.port });
          const fields = proxyAuthorization(old, 'demo');
          assert.equal((await client.tunnel('docs.test:22', fields)).status, 200);
          return client;
        }),
      );
      await sallyport(proxy, ['token', 'keys', '--rotate']);
      const fresh = await issue(proxy, '--task', 'fresh');
      await untilStatus(fresh, 200);
      await untilStatus(old, 200);

      const broken = fs.readFileSync(keyFile(proxy), 'utf8');
      fs.writeFileSync(keyFile(proxy), 'half a line');
      await until(
        () => proxy.stderr.includes('the old ones stay in force'),
        () => proxy.stderr,
      );
      await untilStatus(old, 200);
      await untilStatus(fresh, 200);

      const withoutOld = broken.replace(/^[0-9a-f]{64} until .*\n/mu, '');
      assert.notEqual(withoutOld, broken);
      fs.writeFileSync(`${keyFile(proxy)}.new`, withoutOld, { mode: 0o600 });
      fs.renameSync(`${keyFile(proxy)}.new`, keyFile(proxy));
      await Promise.all(tunnels.map((client) => client.readToClose(5000)));
      await untilStatus(old, 407);
      await untilStatus(fresh, 200);
      const ends = linesLike(proxy.lines(), { event: 'close', task: 'old' })
        .map(({ end }) => end)
        .filter((end) => end === 'credential_revoked');
      assert.equal(ends.length, tunnels.length);
      for (const line of broken.split('\n').filter((text) => /^[0-9a-f]{64}/u.test(text))) {
        assert.ok(!proxy.stderr.includes(line.slice(0, 64)), 'no key in a log');
      }
    });

    test('with an end that comes cuts then', async () => {
      const credential = await issue(proxy, '--task', 'ending');
      const client = await RawClient.connect({ port: proxy.port });
      const fields = proxyAuthorization(credential, 'demo');
      assert.equal((await client.tunnel('docs.test:22', fields)).status, 200);
      await sallyport(proxy, ['token', 'keys', '--rotate']);
      const end = new Date(Date.now() + 3000).toISOString().replace(/\.\d+Z/u, 'Z');
      const text = fs.readFileSync(keyFile(proxy), 'utf8');
      fs.writeFileSync(
        `${keyFile(proxy)}.new`,
        text.replace(/(?<=[0-9a-f] )until \S+/u, `until ${end}`),
        {
          mode: 0o600,
        },
      );
      fs.renameSync(`${keyFile(proxy)}.new`, keyFile(proxy));
      await sleep(1500);
      await client.readToClose(6000);
      assert.ok(Date.now() >= Date.parse(end));
      await until(
        () => linesLike(proxy.lines(), { event: 'close', task: 'ending' }).length > 0,
        () => 'no close line',
      );
      assert.equal(
        onlyLine(proxy.lines(), { event: 'close', task: 'ending' }).end,
        'credential_expired',
      );
      await untilStatus(credential, 407);
    });
  });
}
