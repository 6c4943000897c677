import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Installation } from '../support/command.ts';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { linesLike, onlyLine, waitForLine } from '../support/egress-lines.ts';
import { dnsAddress, enterNamespace } from '../support/namespace.ts';
import { type Origin, type Script, startTcpOrigin } from '../support/origins.ts';
import { agent, ProxyProcess, tokenDigest } from '../support/proxy-process.ts';
import { header, proxyAuthorization, RawClient, type RawResponse } from '../support/raw-client.ts';
import { assertRefusal } from '../support/refusal.ts';

await enterNamespace(import.meta.filename);

const secrets = {
  alice: 'alices-long-random-token',
  bob: 'bobs-long-random-token',
  carol: 'carols-long-random-token',
};
const address = '93.184.215.14';
const tcp = 'tcp://good.test:22';

const allowlists = {
  'agents.yaml': {
    groups: {
      'set/one': { allow: ['tcp://one.test:22', 'http://one.test'] },
      'set/two': { allow: ['tcp://two.test:22'], deny: ['denied.one.test'] },
    },
    agents: {
      alice: agent(secrets.alice, [
        tcp,
        'http://plain.test',
        { group: 'set/one' },
        { group: 'set/two' },
      ]),
      bob: agent(secrets.bob, ['tcp://bob.test:22', 'http://plain.test']),
      carol: agent(secrets.carol, [tcp], {
        credentials: {
          tokens: [tokenDigest(secrets.carol)],
          sources: ['10.20.0.0/24'],
          issued: true,
        },
      }),
      dave: agent('-', [tcp], {
        credentials: { sources: ['127.0.7.0/24'], 'sources-alone': true },
      }),
      erin: agent('-', [tcp], {
        credentials: { issued: false, tokens: [tokenDigest('erins-token-of-old')] },
      }),
    },
  },
};

let proxy: ProxyProcess;
let dns: DnsServer;
let origins: Origin[];
const installation = new Installation();

/** Answers HTTP, slowly if asked to; sends back anything else. */
const script: Script = ({ socket }) => {
  socket.on('data', (chunk: Buffer) => {
    const text = chunk.toString('latin1');
    if (text.startsWith('GET /slow')) {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning');
    } else if (text.startsWith('GET /'))
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    else socket.write(chunk);
  });
  socket.on('end', () => socket.end());
};

before(async () => {
  dns = await startDnsServer({ address: dnsAddress, port: 53, zone: { '*': { a: [address] } } });
  origins = await Promise.all([22, 80].map((port) => startTcpOrigin({ address, port }, script)));
  proxy = await ProxyProcess.start({ allowlists });
});

after(async () => {
  installation[Symbol.dispose]();
  await proxy[Symbol.asyncDispose]();
  await Promise.all(origins.map((origin) => origin.close()));
  await dns.close();
});

/** A credential by the command, as if it were issued at `now`. */
async function issue(args: readonly string[], now = Date.now()): Promise<string> {
  const result = await installation.run(['token', 'issue', ...args], now, {
    SALLYPORT_ALLOWLISTS: path.join(proxy.directory, 'allowlists'),
    SALLYPORT_CERTS: path.join(proxy.directory, 'certs'),
  });
  assert.equal(result.status, 0, result.stderr);
  return result.stdout.trim();
}

const field = (value: string | Buffer) => `Proxy-Authorization: ${value.toString('latin1')}\r\n`;
const basic = (text: string) => `Basic ${Buffer.from(text, 'latin1').toString('base64')}`;

async function connect(
  fields: string,
  target = 'good.test:22',
  localAddress = '127.0.0.1',
): Promise<RawResponse> {
  const client = await RawClient.connect({ port: proxy.port, localAddress });
  const answer = await client.tunnel(target, fields);
  client.close();
  return answer;
}

async function get(
  fields: string,
  url = 'http://plain.test/',
  localAddress = '127.0.0.1',
): Promise<RawResponse> {
  const client = await RawClient.connect({ port: proxy.port, localAddress });
  client.write(`GET ${url} HTTP/1.1\r\nHost: plain.test\r\n${fields}\r\n`);
  const answer = await client.readResponse();
  client.close();
  return answer;
}

/** What a 407 says, without what differs from one request to the next. */
function shown(answer: RawResponse): string {
  const id = header(answer, 'sallyport-id') ?? '';
  const said = answer.body.toString('latin1').replace(/"host":"[a-z.]+","port":\d+,/, '');
  return `${answer.status} ${answer.reason}\n${JSON.stringify(answer.headers)}\n${said}`
    .replaceAll(id, 'ID')
    .replace(/"Content-Length","\d+"/, '');
}

type Proof = string | (() => Promise<string>);

const wrong: readonly [what: string, fields: Proof, reason: string, agent?: string][] = [
  ['nothing', '', 'no_credentials'],
  ['an unknown agent', field(basic('mallory:x')), 'bad_credentials'],
  ['a wrong secret', field(basic('alice:wrong')), 'bad_credentials', 'alice'],
  ['the secret of another', field(basic(`alice:${secrets.bob}`)), 'bad_credentials', 'alice'],
  [
    'a secret with a byte more',
    field(basic(`alice:${secrets.alice}x`)),
    'bad_credentials',
    'alice',
  ],
  [
    'a secret with a byte less',
    field(basic(`alice:${secrets.alice.slice(1)}`)),
    'bad_credentials',
    'alice',
  ],
  ['the agent in upper case', field(basic(`ALICE:${secrets.alice}`)), 'bad_credentials'],
  [
    'the digest as secret',
    field(basic(`alice:${tokenDigest(secrets.alice)}`)),
    'bad_credentials',
    'alice',
  ],
  ['no colon', field(basic('alice')), 'bad_credentials'],
  ['an empty secret', field(basic('alice:')), 'bad_credentials'],
  ['an empty agent', field(basic(`:${secrets.alice}`)), 'bad_credentials'],
  ['__proto__', field(basic('__proto__:x')), 'bad_credentials'],
  ['constructor', field(basic('constructor:x')), 'bad_credentials'],
  ['a NUL', field(basic(`alice:${secrets.alice}\0`)), 'bad_credentials'],
  ['a line break and an escape', field(basic('a\r\nb\u001b[2J\u009b:x')), 'bad_credentials'],
  ['4 KiB', field(basic(`${'a'.repeat(4096)}:x`)), 'bad_credentials'],
  ['more than 8 KiB', field(basic(`alice:${'a'.repeat(7000)}`)), 'bad_credentials'],
  ['junk in the Base64', field(`${basic(`alice:${secrets.alice}`)}!!`), 'bad_credentials'],
  [
    'Base64 without padding',
    field(basic(`alice:${secrets.alice}12`).replace(/=+$/, '')),
    'bad_credentials',
  ],
  ['two spaces', field(basic(`alice:${secrets.alice}`).replace(' ', '  ')), 'bad_credentials'],
  ['a tab', field(basic(`alice:${secrets.alice}`).replace(' ', '\t')), 'bad_credentials'],
  ['an empty value', field(''), 'bad_credentials'],
  ['the scheme alone', field('Basic'), 'bad_credentials'],
  ['Digest', field('Digest username="alice"'), 'bad_credentials'],
  ['Negotiate', field('Negotiate YII='), 'bad_credentials'],
  ['a wrong Bearer', field('Bearer nobodys-token'), 'bad_credentials'],
  ['an agent and its token as Bearer', field(`Bearer alice:${secrets.alice}`), 'bad_credentials'],
  ['a JWT', field('Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.'), 'bad_credentials'],
  ['two of them', proxyAuthorization(secrets.alice, 'alice').repeat(2), 'bad_credentials'],
  [
    'a good and a bad one',
    `${field('Basic x')}${proxyAuthorization(secrets.alice)}`,
    'bad_credentials',
  ],
  ['Authorization', `Authorization: ${basic(`alice:${secrets.alice}`)}\r\n`, 'no_credentials'],
  [
    'a name in X-Forwarded-For',
    'X-Forwarded-For: 127.0.7.1\r\nX-Agent-Id: dave\r\n',
    'no_credentials',
  ],
  ['another source', proxyAuthorization(secrets.carol, 'carol'), 'source_not_allowed', 'carol'],
  ['another source, Bearer', proxyAuthorization(secrets.carol), 'source_not_allowed', 'carol'],
  ['sources-alone with a wrong secret', field(basic('dave:x')), 'bad_credentials', 'dave'],
  [
    'an expired credential',
    async () =>
      proxyAuthorization(await issue(['alice', '--ttl', '1m'], Date.now() - 3_600_000), 'alice'),
    'credential_expired',
    'alice',
  ],
  [
    'a credential from the future',
    async () => proxyAuthorization(await issue(['alice'], Date.now() + 3_600_000), 'alice'),
    'bad_credentials',
  ],
  [
    'the credential of another',
    async () => proxyAuthorization(await issue(['bob']), 'alice'),
    'bad_credentials',
    'alice',
  ],
  [
    'a credential that was changed',
    async () =>
      proxyAuthorization(
        (await issue(['alice'])).replace(/.$/, (c) => (c === 'A' ? 'B' : 'A')),
        'alice',
      ),
    'bad_credentials',
  ],
  [
    'a credential with a part more',
    async () => proxyAuthorization(`${await issue(['alice'])}.x`, 'alice'),
    'bad_credentials',
  ],
];

const right: readonly [what: string, fields: Proof, agent: string, source?: string][] = [
  ['Basic', proxyAuthorization(secrets.alice, 'alice'), 'alice'],
  ['Bearer', proxyAuthorization(secrets.alice), 'alice'],
  [
    'a scheme in odd case',
    proxyAuthorization(secrets.alice, 'alice').replace('Basic', 'bAsIc'),
    'alice',
  ],
  [
    'a field name in odd case',
    proxyAuthorization(secrets.alice, 'alice').replace('Proxy-Au', 'pROXY-aU'),
    'alice',
  ],
  ['an issued one', async () => proxyAuthorization(await issue(['alice']), 'alice'), 'alice'],
  ['an issued Bearer', async () => proxyAuthorization(await issue(['alice'])), 'alice'],
  ['sources-alone', '', 'dave', '127.0.7.9'],
];

const proofOf = (fields: Proof) => (typeof fields === 'string' ? fields : fields());

describe('whoever is not proven gets the one 407', () => {
  let first: string;
  for (const [index, [what, fields, reason, named]] of wrong.entries()) {
    test(what, async () => {
      first ??= shown(await connect(''));
      const proof = await proofOf(fields);
      const asked = dns.queries.length;
      // Each from an address of its own: answers to many failures from one are slow.
      const from = `127.1.0.${index + 1}`;
      for (const answer of [
        await connect(proof, 'good.test:22', from),
        await get(proof, 'http://plain.test/', from),
      ]) {
        assertRefusal(answer, reason);
        assert.equal(shown(answer), first);
        const id = header(answer, 'sallyport-id') ?? '';
        const line = onlyLine(proxy.lines(), { event: 'block', id });
        assert.deepEqual([line.reason, line.status], [reason, 407]);
        if (named !== undefined) assert.equal(line.agent, named);
      }
      assert.equal(dns.queries.length, asked, 'nothing is looked up for a stranger');
    });
  }

  test('an agent that takes no issued credentials takes none', async () => {
    await proxy.reload({
      'agents.yaml': JSON.stringify(allowlists['agents.yaml']).replace(
        '"issued":false',
        '"issued":true',
      ),
    });
    const credential = await issue(['erin']);
    assert.equal((await connect(proxyAuthorization(credential))).status, 200);
    await proxy.reload(allowlists);
    assertRefusal(await connect(proxyAuthorization(credential)), 'bad_credentials');
  });
});

describe('a proven agent passes', () => {
  for (const [what, fields, id, source] of right) {
    test(what, async () => {
      const answer = await connect(await proofOf(fields), 'good.test:22', source);
      assert.equal(answer.status, 200, answer.reason);
      assert.equal(proxy.lines().findLast((line) => line.event === 'open')?.agent, id);
    });
  }

  test('with who asked for what in the log, and no secret', async () => {
    const credential = await issue(['alice', '--task', 'T-1', '--requested-by', 'ann@example.com']);
    assert.equal((await connect(proxyAuthorization(credential, 'alice'))).status, 200);
    const line = onlyLine(proxy.lines(), { event: 'open', task: 'T-1' });
    assert.deepEqual([line.agent, line.requested_by], ['alice', 'ann@example.com']);
    assert.match(line.token ?? '', /^[0-9A-HJKMNP-TV-Z]{26}$/);
    const text = JSON.stringify(proxy.lines()) + proxy.stderr;
    for (const secret of [...Object.values(secrets), credential, 'sp1.']) {
      assert.ok(!text.includes(secret));
      assert.ok(!text.includes(Buffer.from(secret).toString('base64').slice(0, -4)));
    }
  });
});

describe('identity belongs to the request', () => {
  test('each request on a connection brings its own', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    const ask = async (fields: string, url: string) => {
      client.write(`GET ${url} HTTP/1.1\r\nHost: plain.test\r\n${fields}\r\n`);
      return await client.readResponse();
    };
    const alice = proxyAuthorization(secrets.alice, 'alice');
    const bob = proxyAuthorization(secrets.bob, 'bob');
    assert.equal((await ask(alice, 'http://one.test/')).status, 200);
    assert.equal((await ask(bob, 'http://plain.test/')).status, 200);
    assertRefusal(await ask(bob, 'http://one.test/'), 'host_not_allowed');
    await client.readToClose();
    client.close();
  });

  test('none is remembered', async () => {
    const client = await RawClient.connect({ port: proxy.port });
    client.write(
      `GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n${proxyAuthorization(secrets.alice)}\r\n`,
    );
    assert.equal((await client.readResponse()).status, 200);
    client.write('GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n');
    assertRefusal(await client.readResponse(), 'no_credentials');
    client.close();
  });

  test('nor forwarded', async () => {
    const origin = origins[1] as Origin;
    const seen = origin.connections.length;
    await get(proxyAuthorization(secrets.alice), 'http://plain.test/here');
    const text = (await origin.connection(seen)).text;
    assert.ok(
      !text.toLowerCase().includes('proxy-authorization') && !text.includes(secrets.alice),
      text,
    );
  });
});

describe('a narrowed credential', () => {
  const rows: readonly [target: string, reason: string][] = [
    ['one.test:22', 'allow'],
    ['two.test:22', 'host_not_allowed'],
    ['good.test:22', 'host_not_allowed'],
    ['denied.one.test:22', 'denied'],
  ];
  for (const [target, reason] of rows) {
    test(`${target}: ${reason}`, async () => {
      const answer = await connect(
        proxyAuthorization(await issue(['alice', '--only', 'set/one'])),
        target,
      );
      if (reason === 'allow') assert.equal(answer.status, 200, answer.reason);
      else assertRefusal(answer, reason);
    });
  }

  test('sees itself in /policy', async () => {
    const credential = await issue(['alice', '--only', 'set/one']);
    const answer = await get(proxyAuthorization(credential), 'http://sallyport.internal/policy');
    assert.equal(answer.status, 200);
    const said = JSON.parse(answer.body.toString()) as { agent: string; allow: { host: string }[] };
    assert.equal(said.agent, 'alice');
    assert.deepEqual([...new Set(said.allow.map((entry) => entry.host))], ['one.test']);
    assertRefusal(await get('', 'http://sallyport.internal/policy'), 'no_credentials');
    assertRefusal(await get('', '/policy'), 'no_credentials');
  });
});

describe('the end of a credential', () => {
  test('cuts what is open within a second, and is refused after that', async () => {
    const credential = await issue(['alice', '--ttl', '2s', '--task', 'short']);
    const proof = proxyAuthorization(credential, 'alice');
    const tunnel = await RawClient.connect({ port: proxy.port });
    assert.equal((await tunnel.tunnel('good.test:22', proof)).status, 200);
    const plain = await RawClient.connect({ port: proxy.port });
    plain.write(`GET http://plain.test/slow HTTP/1.1\r\nHost: plain.test\r\n${proof}\r\n`);
    await plain.readUntil('beginning');
    const inner = await RawClient.connect({ port: proxy.port });
    assert.equal((await inner.tunnel('plain.test:80', proof)).status, 200);
    const started = performance.now();
    await Promise.all([tunnel, plain, inner].map((client) => client.readToClose(3500)));
    assert.ok(performance.now() - started < 3100, 'cut within a second of the end');
    for (const client of [tunnel, plain, inner]) client.close();
    await sleep(20);
    for (const event of ['close', 'request']) {
      for (const line of linesLike(proxy.lines(), { event, task: 'short' })) {
        assert.deepEqual(
          [line.verdict, line.reason, line.end],
          ['block', 'credential_expired', 'credential_expired'],
        );
      }
    }
    assert.equal(linesLike(proxy.lines(), { task: 'short' }).length, 6);
    assertRefusal(await connect(proof), 'credential_expired');
    await waitForLine(proxy.logFile, {
      event: 'block',
      reason: 'credential_expired',
      agent: 'alice',
    });
  });
});

test('leaves a whole log', async () => {
  await proxy.stop();
});
