import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { readEgressLog } from '../support/egress-lines.ts';
import { answerAll, answering, once as answerOnce, head, ok } from '../support/http-stage.ts';
import { demo, InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { RawClient } from '../support/raw-client.ts';
import { headers, RawHttp2 } from '../support/raw-http2.ts';

await enterNamespace(import.meta.filename);

const canary = 'canary-5f0c2e';
const injected = `authorization: Bearer ${canary}`;
const secret = { env: 'CANARY_OF_TESTS' };
const host = 'api.test';

let stage: InspectionStage;
/** All that clients have heard. */
let heard = '';
before(async () => {
  Object.assign(process.env, { CANARY_OF_TESTS: canary });
  stage = await InspectionStage.start();
  await stage.proxy.reload({
    'demo.yaml': stage.lists([
      { host, inject: [{ bearer: true, secret }] },
      { host: 'expired.test', inject: [{ bearer: true, secret }] },
      { host: 'h2.test', inject: [{ bearer: true, secret }] },
      { host: 'hooks.test', headers: { require: { 'x-read-only': 'true' } } },
    ]),
  });
});
after(async () => {
  const log = JSON.stringify(readEgressLog(stage.proxy.logFile));
  const { stderr } = stage.proxy;
  await stage[Symbol.asyncDispose]();
  for (const [where, text] of Object.entries({ log, stderr, heard })) {
    assert.ok(!text.includes(canary), `the secret is in ${where}`);
  }
});
beforeEach(() => {
  stage.script = answerAll;
  stage.connections.length = 0;
});

async function say(bytes: string, to = host): Promise<string> {
  const text = await stage.exchange(to, bytes);
  heard += text;
  return text;
}

const received = (): string =>
  stage.connections
    .map(({ text }) => text)
    .join('')
    .toLowerCase();
const last = 'Connection: close\r\n';

describe('a credential of the proxy', () => {
  const echoes = answering((text) => ok(text));
  for (const more of ['', 'Max-Forwards: 0\r\n', 'Max-Forwards: 5\r\n']) {
    test(`is not to be had by TRACE, ${more.trim() || 'plain'}`, async () => {
      stage.script = echoes;
      await say(head('TRACE /a', last + more, host));
      assert.ok(!received().includes(canary), received());
    });
  }
  test('is not to be had by TRACE in HTTP/2', async () => {
    stage.script = echoes;
    const raw = new RawHttp2(await stage.openTls(host, { ALPNProtocols: ['h2'] }), 'client');
    raw.write(
      headers(1, [
        [':method', 'TRACE'],
        [':scheme', 'https'],
        [':authority', host],
        [':path', '/'],
      ]),
    );
    await raw.untilOver(1);
    raw.socket.destroy();
    assert.deepEqual(raw.statuses(1), [403]);
    assert.ok(!received().includes(canary), received());
  });

  const silent: [what: string, bytes: string, to?: string][] = [
    ['an answer that breaks off', head('GET /a', last, host)],
    ['OPTIONS that go no further', head('OPTIONS /a', `Max-Forwards: 0\r\n${last}`, host)],
    ['a refused upgrade', head('GET /a', 'Connection: Upgrade\r\nUpgrade: h2c\r\n', host)],
    [
      'a WebSocket that does not come',
      head('GET /a', 'Connection: Upgrade\r\nUpgrade: websocket\r\n', host),
    ],
    ['TLS that does not verify', head('GET /a', last, 'expired.test'), 'expired.test'],
    ['a loop', head('GET /a', 'Via: 1.1 sallyport\r\n', host)],
    ['another Host', head('GET /a', last, 'evil.test')],
    ['a head that is none', 'GET /a HTTP/1.1\r\nHost: api.test\r\nA b\r\n\r\n'],
  ];
  for (const [what, bytes, to] of silent) {
    test(`is not in what the client hears of ${what}`, async () => {
      stage.script = answerOnce('HTTP/1.1 200 OK\r\nContent-Le', ({ socket }) => socket.destroy());
      assert.ok(!(await say(bytes, to)).includes(canary));
    });
  }

  test('is not in /metrics, /connections, /policy, `explain` and `check`', async () => {
    const session = await stage.open(host);
    stage.script = () => undefined;
    session.write(head('GET /waits', '', host));
    const pages = await Promise.all(
      ['/metrics', '/connections', '/health'].map((page) => stage.proxy.admin(page)),
    );
    const client = await RawClient.connect({ port: stage.proxy.port });
    client.write(
      head('GET http://sallyport.internal/policy', `${demo}${last}`, 'sallyport.internal'),
    );
    const policy = (await client.readToClose()).toString();
    session.close();
    client.close();
    const main = path.resolve(import.meta.dirname, '../../src/main.ts');
    const config = path.join(stage.proxy.directory, 'sallyport.yaml');
    const run = (...args: string[]): string => {
      try {
        return execFileSync(process.execPath, [main, ...args, '--config', config], {
          encoding: 'utf8',
        });
      } catch (error) {
        return String((error as { stdout?: string }).stdout);
      }
    };
    const explained = run('explain', '--agent', 'demo', '--json', `https://${host}/a`);
    assert.match(explained, /"verdict"/);
    const checked = run('check', '--json');
    assert.match(checked, /"problems"/);
    heard += [...pages.map(({ text }) => text), policy, explained, checked].join('');
    assert.ok(!heard.includes(canary));
  });
});

/** Credentials of the client's own in places where servers look for one. */
const own: [what: string, lines: string][] = [
  ['with an underscore', 'Proxy_Authorization: Basic attacker\r\n'],
  ['nominated by Connection', 'Connection: close, x-auth-token\r\nX-Auth-Token: attacker\r\n'],
  ['twice', 'Authorization: Bearer attacker\r\nAuthorization: Bearer attacker\r\n'],
  ['in one word', 'X-TrackerToken: attacker\r\n'],
  [
    'in another word',
    'X-ChatWorkToken: attacker\r\nX-AuthKey: attacker\r\nX-MyApiKey: attacker\r\n',
  ],
  [
    'in a subprotocol of a WebSocket',
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.attacker, v4.channel.k8s.io\r\n',
  ],
  [
    'in a subprotocol that is a key',
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: realtime, openai-insecure-api-key.attacker\r\n',
  ],
];

describe("a client's own credential does not reach the origin", () => {
  for (const [what, lines] of own) {
    test(what, async () => {
      stage.script = answering(
        () => 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      );
      await say(head('GET /a', lines.includes('Connection') ? lines : lines + last, host));
      assert.doesNotMatch(received(), /attacker/);
    });
  }
  test('in HTTP/2, in every spelling', async () => {
    const raw = new RawHttp2(await stage.openTls(host, { ALPNProtocols: ['h2'] }), 'client');
    raw.write(
      headers(1, [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':authority', host],
        [':path', '/'],
        ['authorization', 'attacker'],
        ['authorization', 'Bearer attacker'],
        ['cookie', 'a=attacker'],
        ['cookie', 'b=attacker'],
        ['x_api_key', 'attacker'],
        ['x-api-key', 'attacker'],
        ['proxy-authorization', 'attacker'],
        ['proxy_authorization', 'attacker'],
      ]),
    );
    await raw.untilOver(1);
    raw.socket.destroy();
    assert.doesNotMatch(received(), /attacker/);
    assert.equal(received().split(`${injected}\r\n`.toLowerCase()).length, 2, received());
  });
});

/** A header that the entry requires, and that the origin would not get as it was judged. */
const unmet: [what: string, lines: string][] = [
  ['that Connection takes away', 'X-Read-Only: true\r\nConnection: close, x-read-only\r\n'],
  ['beside the same with an underscore', `X-Read-Only: true\r\nX_Read_Only: false\r\n${last}`],
  ['with an underscore alone', `X_Read_Only: true\r\n${last}`],
  ['twice', `X-Read-Only: true\r\nX-Read-Only: false\r\n${last}`],
  ['in another case', `X-Read-Only: TRUE\r\n${last}`],
];

describe('a required header does not count', () => {
  for (const [what, lines] of unmet) {
    test(what, async () => {
      const text = await say(head('GET /a', lines, 'hooks.test'), 'hooks.test');
      assert.match(text, /^HTTP\/1\.1 40[03] /);
      assert.equal(received(), '');
    });
  }
  test('and as it should be it does', async () => {
    assert.match(
      await say(head('GET /a', `X-Read-Only: true\r\n${last}`, 'hooks.test'), 'hooks.test'),
      / 200 /,
    );
  });
});
