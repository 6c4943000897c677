/**
 * Credentials where they do not belong, spelt as they must not be, too many of them, or changing on
 * one connection.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { linesLike, onlyLine } from '../support/egress-lines.ts';
import { summary } from '../support/http-stage.ts';
import {
  basic,
  basicValue,
  field,
  IdentityStage,
  type Row,
  token,
} from '../support/identity-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import type { Origin, Received } from '../support/origins.ts';
import { connectHead, proxyAuthorization, type RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

let stage: IdentityStage;
let web: Origin;
before(async () => {
  stage = await IdentityStage.start();
  web = stage.origins[1] as Origin;
});
after(async () => await stage[Symbol.asyncDispose]());

const secret = token('alice');
const alice = proxyAuthorization(secret, 'alice');
const bob = proxyAuthorization(token('bob'), 'bob');
const wrong = proxyAuthorization('no-token-of-anybody', 'alice');
const value = basicValue(`alice:${secret}`);
const digest = /^sha256:[0-9a-f]{12}$/;
const good = { agent: 'alice', token: digest };
const bad = { reason: 'bad_credentials' };
const none = { reason: 'no_credentials' };

const spellings: readonly Row[] = [
  { what: 'nothing', fields: '', ...none },
  { what: 'white space around it', fields: `Proxy-Authorization: \t ${value} \t\r\n`, ...good },
  { what: 'no white space at all', fields: `Proxy-Authorization:${value}\r\n`, ...good },
  { what: 'a scheme in lower case', fields: field(value.replace('Basic', 'basic')), ...good },
  {
    what: 'a field name in lower case',
    fields: alice.toLowerCase().slice(0, 19) + alice.slice(19),
    ...good,
  },
  { what: 'a tab for the space', fields: field(value.replace(' ', '\t')), ...bad },
  { what: 'two spaces', fields: field(value.replace(' ', '  ')), ...bad },
  {
    what: 'white space in the Base64',
    fields: field(`${value.slice(0, 12)} ${value.slice(12)}`),
    ...bad,
  },
  { what: 'something behind it', fields: field(`${value} x`), ...bad },
  { what: 'a parameter behind it', fields: field(`${value}, realm="sallyport"`), ...bad },
  { what: 'two in one field', fields: field(`${value}, ${value}`), ...bad },
  { what: 'quotes', fields: field(value.replace(' ', ' "').concat('"')), ...bad },
  { what: 'Bearer and a Basic value', fields: field(value.replace('Basic', 'Bearer')), ...bad },
  { what: 'Basic and a Bearer value', fields: field(`Basic ${secret}`), ...bad },
  { what: 'Bearer with padding', fields: field(`Bearer ${secret}==`), ...bad },
  { what: 'Bearer with padding in the middle', fields: field(`Bearer ${secret}=a`), ...bad },
  { what: 'Bearer, percent-encoded', fields: field(`Bearer ${percent(secret)}`), ...bad },
  { what: 'an agent, percent-encoded', fields: basic(`%61lice:${secret}`), ...bad },
  {
    what: 'a secret, percent-encoded',
    fields: basic(`alice:${percent(secret)}`),
    ...bad,
    agent: 'alice',
  },
  { what: 'a colon, percent-encoded', fields: basic(`alice%3A${secret}`), ...bad },
  { what: 'a second colon', fields: basic(`alice::${secret}`), ...bad, agent: 'alice' },
  { what: 'a secret in front', fields: basic(`${secret}:alice`), ...bad },
  { what: 'a space before the agent', fields: basic(` alice:${secret}`), ...bad },
  { what: 'a space behind the agent', fields: basic(`alice :${secret}`), ...bad },
  { what: 'a space behind the secret', fields: basic(`alice:${secret} `), ...bad, agent: 'alice' },
  { what: 'a line feed behind the secret', fields: basic(`alice:${secret}\n`), ...bad },
  { what: 'a NUL behind the agent', fields: basic(`alice\0:${secret}`), ...bad },
  { what: 'a NUL behind the secret', fields: basic(`alice:${secret}\0x`), ...bad },
  { what: 'an agent in UTF-8', fields: basic(latin1(`ålice:${secret}`)), ...bad },
  { what: 'an agent in Latin-1', fields: basic(`\xe5lice:${secret}`), ...bad },
  {
    what: 'an agent with a letter from elsewhere',
    fields: basic(latin1(`аlice:${secret}`)),
    ...bad,
  },
  { what: 'a byte order mark', fields: basic(latin1(`\ufeffalice:${secret}`)), ...bad },
  {
    what: 'UTF-16',
    fields: basic(Buffer.from(`alice:${secret}`, 'utf16le').toString('latin1')),
    ...bad,
  },
  {
    what: 'Base64 of Base64',
    fields: basic(Buffer.from(`alice:${secret}`).toString('base64')),
    ...bad,
  },
  { what: 'more than 8 KiB', fields: field(`Bearer ${'a'.repeat(8193)}`), ...bad },
  { what: '8 KiB of agent', fields: basic(`${'a'.repeat(6100)}:x`), ...bad },
  { what: '14 KiB', fields: basic(`alice:${'a'.repeat(10_000)}`), ...bad },
  { what: 'Digest', fields: field('Digest username="alice", response="0"'), ...bad },
  { what: 'Negotiate', fields: field('Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa+g'), ...bad },
  { what: 'NTLM', fields: field('NTLM TlRMTVNTUAABAAAAB4IIAA=='), ...bad },
  {
    what: 'a scheme that begins like Basic',
    fields: field(value.replace('Basic', 'Basics')),
    ...bad,
  },
  {
    what: 'a scheme with a letter from elsewhere',
    fields: field(value.replace('s', '\xdf')),
    ...bad,
  },
  { what: 'a value of white space', fields: 'Proxy-Authorization:  \t \r\n', ...bad },
];

const places: readonly Row[] = [
  { what: 'two equal ones', fields: alice + alice, ...bad },
  { what: 'a good one and a bad one', fields: alice + wrong, ...bad },
  { what: 'a bad one and a good one', fields: wrong + alice, ...bad },
  { what: 'an empty one and a good one', fields: `Proxy-Authorization:\r\n${alice}`, ...bad },
  { what: 'two agents', fields: alice + bob, ...bad },
  { what: 'two in different case', fields: alice + alice.replace('Proxy-A', 'PROXY-a'), ...bad },
  {
    what: 'far apart',
    fields: `${alice}X-Some: thing\r\n${'X-More: a\r\n'.repeat(50)}${wrong}`,
    ...bad,
  },
  { what: 'in Authorization', fields: alice.replace('Proxy-', ''), ...none },
  { what: 'in Proxy-Authenticate', fields: alice.replace('ization', 'enticate'), ...none },
  { what: 'in X-Proxy-Authorization', fields: `X-${alice}`, ...none },
  { what: 'in a name with an underscore', fields: alice.replace('-', '_'), ...none },
  { what: 'in a cookie', fields: `Cookie: proxy-authorization=${value}\r\n`, ...none },
  {
    what: 'as the agent of another field',
    fields: 'X-Agent-Id: alice\r\nForwarded: for=127.9.0.1\r\nVia: 1.1 x\r\n',
    ...none,
  },
];

function percent(text: string): string {
  return text.replace(/[a-f]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
}

/** The UTF-8 bytes of a text, as `basic` takes bytes. */
function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

for (const [title, rows] of [
  ['how it is spelt', spellings],
  ['where it stands', places],
] as const) {
  describe(title, () => {
    for (const row of rows) test(row.what, () => stage.checkRow(row));
  });
}

/** Requests that are none: 400 before anybody asks who it is, and not a byte of the secret in the log. */
const malformed: readonly (readonly [what: string, bytes: string])[] = [
  ['userinfo in a CONNECT', connectHead(`alice:${secret}@tcp.test:22`)],
  ['userinfo in a CONNECT, and a good proof', connectHead(`x:${secret}@tcp.test:22`, alice)],
  ['userinfo in a URL', get(`http://alice:${secret}@plain.test/`)],
  ['userinfo in a URL, and a good proof', get(`http://alice:${secret}@plain.test/`, alice)],
  ['a folded field', get('http://plain.test/', alice.replace(' Basic ', '\r\n Basic '))],
  [
    'a folded field of CONNECT',
    connectHead('tcp.test:22', alice.replace(' Basic ', '\r\n Basic ')),
  ],
  ['a space before the colon', get('http://plain.test/', alice.replace(':', ' :'))],
  ['a space before the colon of CONNECT', connectHead('tcp.test:22', alice.replace(':', ' :'))],
  ['a NUL in the field', get('http://plain.test/', alice.replace(' Basic', ' \0Basic'))],
  [
    'a NUL in the field of CONNECT',
    connectHead('tcp.test:22', alice.replace(' Basic', ' \0Basic')),
  ],
  ['a bare CR in the field', get('http://plain.test/', alice.replace(' Basic', ' \rBasic'))],
  ['a bare LF behind the field', get('http://plain.test/', alice.replace('\r\n', '\nX: y\r\n'))],
  [
    'a bare LF behind the field of CONNECT',
    connectHead('tcp.test:22', alice.replace('\r\n', '\nX: y\r\n')),
  ],
  [
    'a field that Connection names',
    get('http://plain.test/', `Connection: Proxy-Authorization\r\n${alice}`),
  ],
  ['20 KiB', get('http://plain.test/', field(`Bearer ${'a'.repeat(20_000)}`))],
  ['20 KiB in a CONNECT', connectHead('tcp.test:22', field(`Bearer ${'a'.repeat(20_000)}`))],
  ['a hundred of them', get('http://plain.test/', alice.repeat(101))],
];

function get(url: string, fields = '', host = 'plain.test'): string {
  return `GET ${url} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;
}

describe('what is no request', () => {
  for (const [what, bytes] of malformed) {
    test(what, async () => {
      stage.newLines();
      const { outside } = stage;
      const client = await stage.connect();
      client.write(bytes);
      const answer = (await client.readToClose()).toString('latin1');
      client.close();
      assert.match(answer, /^HTTP\/1\.1 400 /);
      assert.ok(!answer.includes(secret));
      const [line, ...more] = stage.newLines();
      assert.deepEqual([line?.event, line?.status, more], ['block', 400, []]);
      assert.ok(!JSON.stringify(line).includes(secret));
      assert.equal(stage.outside, outside);
    });
  }
});

describe('one connection', () => {
  test('of two agents: each is judged for itself, and neither gets what the other opened', async () => {
    const before = web.connections.length;
    const client = await stage.connect();
    for (const proof of [alice, bob, alice]) {
      client.write(get('http://plain.test/', proof));
      assert.equal((await client.readResponse()).status, 200);
    }
    client.write(get('http://other.test/', bob));
    assert.equal((await client.readResponse()).status, 403);
    client.close();
    const heads = web.connections.slice(before).map(({ text }) => text.split('GET /').length - 1);
    assert.deepEqual(heads, [2, 1]);
  });

  test('pipelined: agents in order, and nothing behind who is refused', async () => {
    stage.newLines();
    const client = await stage.connect();
    client.write(
      [alice, bob, wrong, alice].map((proof, n) => get(`http://plain.test/${n}`, proof)).join(''),
    );
    const text = (await client.readToClose()).toString('latin1');
    assert.equal(summary(text), '200 |200 |407 no_credentials');
    const lines = stage.newLines().filter(({ event }) => event === 'open' || event === 'block');
    assert.deepEqual(
      lines.map(({ agent, verdict, path }) => [agent, verdict, path]),
      [
        ['alice', 'allow', '/0'],
        ['bob', 'allow', '/1'],
        ['alice', 'block', '/2'],
      ],
    );
    client.close();
  });

  test('a CONNECT of another agent behind a request', async () => {
    stage.newLines();
    const client = await stage.connect();
    client.write(get('http://plain.test/', alice));
    assert.equal((await client.readResponse()).status, 200);
    assert.equal((await client.tunnel('tcp.test:22', bob)).status, 200);
    client.close();
    const opened = linesLike(stage.newLines(), { event: 'open' });
    assert.deepEqual(
      opened.map((line) => line.agent),
      ['alice', 'bob'],
    );
  });

  test('a proof in the trailers of an upload is none', async () => {
    const client = await stage.connect();
    const { outside } = stage;
    client.write(
      `POST http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\nTE: trailers\r\nTrailer: Proxy-Authorization\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${alice}\r\n`,
    );
    assert.equal(summary((await client.readToClose()).toString('latin1')), '407 no_credentials');
    assert.equal(stage.outside, outside);
    client.close();
  });

  test('nor is a proof in trailers passed on', async () => {
    const client = await stage.connect();
    const before = web.connections.length;
    client.write(
      `POST http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n${alice}TE: trailers\r\nTrailer: Proxy-Authorization\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${bob}\r\n`,
    );
    assert.equal((await client.readResponse()).status, 200);
    client.close();
    noProof(web.connections.slice(before));
  });
});

/** Nothing of a proof came to the origin. */
function noProof(connections: readonly Received[]): void {
  const text = connections.map((connection) => connection.text).join('');
  assert.ok(connections.length > 0 && text.length > 0);
  assert.ok(!/proxy-authorization/i.test(text), text);
  for (const one of [secret, token('bob'), 'no-token', value.slice(6)])
    assert.ok(!text.includes(one));
}

const inner: readonly (readonly [what: string, fields: string])[] = [
  ['nothing', ''],
  ['the same agent', alice],
  ['another agent', bob],
  ['a wrong credential', wrong],
  ['another scheme', field('Negotiate YII=')],
  ['two of them', alice + bob],
];

describe('inside a tunnel the tunnel says who it is', () => {
  async function open(): Promise<{ client: RawClient; before: number }> {
    stage.newLines();
    const before = web.connections.length;
    const client = await stage.connect();
    assert.equal((await client.tunnel('plain.test:80', alice)).status, 200);
    return { client, before };
  }

  for (const [what, fields] of inner) {
    test(`a request with ${what}: it is dropped`, async () => {
      const { client, before } = await open();
      client.write(get('/', fields));
      assert.equal((await client.readResponse()).status, 200);
      client.write(get('/', fields));
      assert.equal((await client.readResponse()).status, 200);
      client.close();
      const lines = linesLike(stage.newLines(), { event: 'open', method: 'GET' });
      assert.deepEqual(
        lines.map((line) => line.agent),
        ['alice', 'alice'],
      );
      noProof(web.connections.slice(before));
    });

    test(`an upgrade with ${what}: it is dropped`, async () => {
      const { client, before } = await open();
      client.write(get('/ws', `Connection: Upgrade\r\nUpgrade: websocket\r\n${fields}`));
      await client.readUntil('HTTP/1.1 101 ');
      client.close();
      assert.equal(onlyLine(stage.newLines(), { event: 'open', method: 'GET' }).agent, 'alice');
      noProof(web.connections.slice(before));
    });
  }

  test('a second CONNECT with another agent ends it', async () => {
    const { client } = await open();
    client.write(connectHead('tcp.test:22', bob));
    assert.equal((await client.readToClose()).length, 0);
    assert.deepEqual(linesLike(stage.newLines(), { agent: 'bob' }), []);
    client.close();
  });
});

test('nothing that was shown is in any log, metric or list', () => stage.checkSecrets());

test('the log is whole', async () => {
  await stage.proxy.stop();
});
