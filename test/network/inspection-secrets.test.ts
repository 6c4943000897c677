import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { readEgressLog, waitForLine } from '../support/egress-lines.ts';
import { answerAll, head, summary } from '../support/http-stage.ts';
import { demo, InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { header, RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const host = 'api.test';
const canaries = {
  env: 'canary-of-the-environment-1',
  file: 'canary-of-the-file-2',
  rotated: 'canary-rotated-3',
  command: 'canary-of-the-command-4',
};
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-secrets-'));
const file = path.join(directory, 'token');

let stage: InspectionStage;
before(async () => {
  Object.assign(process.env, { API_TOKEN_OF_TESTS: canaries.env });
  fs.writeFileSync(file, `${canaries.file}\n`, { mode: 0o600 });
  stage = await InspectionStage.start();
});
after(async () => {
  const lines = JSON.stringify(readEgressLog(stage.proxy.logFile));
  const { stderr } = stage.proxy;
  await stage[Symbol.asyncDispose]();
  fs.rmSync(directory, { recursive: true });
  for (const canary of Object.values(canaries)) {
    assert.ok(!lines.includes(canary), 'a secret is in the egress log');
    assert.ok(!stderr.includes(canary), 'a secret is in the operations log');
  }
});
beforeEach(() => {
  stage.script = answerAll;
  stage.connections.length = 0;
});

async function use(entry: object): Promise<void> {
  await stage.proxy.reload({ 'demo.yaml': stage.lists([{ host, ...entry }]) });
}

const get = (target: string, more = '') =>
  head(`GET ${target}`, `${more}Connection: close\r\n`, host);

/** All that the origin has received. */
const received = (): string => stage.connections.map(({ text }) => text).join('');

const fromEnvironment = { env: 'API_TOKEN_OF_TESTS' };

describe('a credential that the proxy adds', () => {
  const forms: [what: string, injection: object, line: string][] = [
    [
      'a header by a template',
      { header: 'X-Api-Key', value: 'key={secret}', secret: fromEnvironment },
      `x-api-key: key=${canaries.env}`,
    ],
    ['a bearer', { bearer: true, secret: { file } }, `authorization: Bearer ${canaries.file}`],
    [
      'a user and password',
      { basic: 'x-access-token', secret: fromEnvironment },
      `authorization: Basic ${Buffer.from(`x-access-token:${canaries.env}`).toString('base64')}`,
    ],
    [
      'what a command prints',
      {
        header: 'authorization',
        value: '{secret}',
        secret: { command: ['/bin/echo', canaries.command] },
      },
      `authorization: ${canaries.command}`,
    ],
  ];
  for (const [what, injection, line] of forms) {
    test(`is ${what}`, async () => {
      await use({ inject: [injection] });
      assert.match(summary(await stage.exchange(host, get('/a'))), /^200 /);
      const lines = received()
        .split('\r\n')
        .map((one) => one.toLowerCase());
      assert.equal(lines.filter((one) => one === line.toLowerCase()).length, 1, received());
    });
  }

  test("takes the place of the client's own credentials, however they are spelled", async () => {
    await use({ inject: [{ bearer: true, secret: fromEnvironment }], pass: ['x-csrf-token'] });
    const own = [
      'Authorization: Bearer attacker',
      'authorization: Basic YTpi',
      'AUTHORIZATION: again',
      'X-Api-Key: attacker',
      'X_Api_Key: attacker',
      'Cookie: session=attacker',
      'x-goog-api-key: attacker',
      'Private-Token: attacker',
      'X-Amz-Security-Token: attacker',
      'Proxy-Authorization: Basic YXR0YWNrZXI=',
    ];
    const text = own.map((line) => `${line}\r\n`).join('');
    await stage.exchange(host, get('/a', `${text}X-CSRF-Token: mine\r\nAccept: text/plain\r\n`));
    assert.doesNotMatch(received(), /attacker|YTpi|again|YXR0YWNrZXI/);
    assert.match(received(), /^X-CSRF-Token: mine\r$/m);
    assert.match(received(), /^Accept: text\/plain\r$/m);
    assert.equal(received().match(/^authorization:/gim)?.length, 1);
  });

  test('is not to be undone by Connection', async () => {
    await use({ inject: [{ header: 'x-api-key', value: '{secret}', secret: fromEnvironment }] });
    await stage.exchange(
      host,
      `GET /a HTTP/1.1\r\nHost: ${host}\r\nConnection: close, x-api-key\r\nX-Api-Key: attacker\r\n\r\n`,
    );
    assert.match(received(), new RegExp(`^x-api-key: ${canaries.env}\r$`, 'm'));
  });

  test('has none beside it in the query, unless the entry names the key', async () => {
    const inject = [{ bearer: true, secret: fromEnvironment }];
    await use({ inject });
    for (const key of ['key', 'api_key', 'access_token', 'API%5FKEY', 'x-goog-signature']) {
      const text = await stage.exchange(host, get(`/a?page=1&${key}=attacker`));
      assert.equal(summary(text), '403 path_not_allowed', key);
    }
    assert.equal(received(), '');
    await use({ inject, query: ['page', 'key'] });
    assert.match(summary(await stage.exchange(host, get('/a?page=1&key=meant'))), /^200 /);
  });

  test('is added in HTTP/2, too, and on the way to another host never', async () => {
    await stage.proxy.reload({
      'demo.yaml': stage.lists([
        { host, inject: [{ bearer: true, secret: fromEnvironment }] },
        { host: 'hooks.test', methods: ['GET'] },
      ]),
    });
    stage.script = ({ socket }) => {
      socket.end(
        'HTTP/1.1 302 Found\r\nLocation: https://hooks.test/next\r\nContent-Length: 0\r\n\r\n',
      );
    };
    const session = await stage.openHttp2(host);
    const stream = session.request({ ':path': '/a', authorization: 'Bearer attacker' });
    await new Promise((resolve) => stream.resume().once('close', resolve));
    session.close();
    assert.match(received(), new RegExp(`^authorization: Bearer ${canaries.env}\r$`, 'm'));
    assert.doesNotMatch(received(), /attacker/);
    stage.connections.length = 0;
    await stage.exchange('hooks.test', head('GET /next', 'Connection: close\r\n', 'hooks.test'));
    assert.doesNotMatch(received(), /canary/);
  });

  test('follows its file, and without it nothing goes out', async () => {
    await use({ inject: [{ bearer: true, secret: { file } }] });
    await stage.exchange(host, get('/a'));
    assert.match(received(), new RegExp(canaries.file));
    fs.writeFileSync(`${file}.new`, `${canaries.rotated}\n`, { mode: 0o600 });
    fs.renameSync(`${file}.new`, file);
    await stage.proxy.reload();
    stage.connections.length = 0;
    await stage.exchange(host, get('/a'));
    assert.match(received(), new RegExp(canaries.rotated));
    fs.rmSync(file);
    await stage.proxy.reload();
    stage.connections.length = 0;
    const text = await stage.exchange(host, get('/a'));
    assert.equal(summary(text), '503 secret_unavailable');
    assert.equal(received(), '');
    assert.doesNotMatch(text, new RegExp(path.basename(directory)));
    await waitForLine(stage.proxy.logFile, { event: 'block', reason: 'secret_unavailable', host });
  });

  test('is not told to the agent', async () => {
    await use({ inject: [{ bearer: true, secret: fromEnvironment }] });
    const client = await RawClient.connect({ port: stage.proxy.port });
    client.write(`GET http://sallyport.internal/policy HTTP/1.1\r\nHost: x\r\n${demo}\r\n`);
    const response = await client.readResponse();
    client.close();
    assert.equal(response.status, 200);
    const text = response.body.toString();
    assert.match(text, /added by the proxy/);
    assert.doesNotMatch(text, /API_TOKEN_OF_TESTS|canary/);
    assert.equal(header(response, 'content-type'), 'application/json');
  });
});

describe('what conditions ask of requests', () => {
  const cases: [what: string, entry: object, request: string, answer: RegExp][] = [
    ['a key of the query', { query: ['page'] }, get('/a?page=1'), /^200/],
    ['another key', { query: ['page'] }, get('/a?page=1&x=2'), /^403 path_not_allowed/],
    [
      'a value of the query',
      { query: { service: 'git-upload-pack' } },
      get('/a?service=git-receive-pack'),
      /^403 path_not_allowed/,
    ],
    [
      'a header that is not there',
      { headers: { require: { 'x-team': 'blue' } } },
      get('/a'),
      /^403 header_not_allowed/,
    ],
    [
      'a header that is there',
      { headers: { require: { 'x-team': 'blue' } } },
      get('/a', 'X-Team: blue\r\n'),
      /^200/,
    ],
    [
      'a type of body',
      { 'content-types': ['application/json'] },
      `${head(
        'POST /a',
        'Content-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n',
        host,
      )}ab`,
      /^403 content_type_not_allowed/,
    ],
    [
      'a long body',
      { 'max-body': '10B' },
      head('POST /a', 'Content-Length: 11\r\nConnection: close\r\n', host),
      /^413 upload_limit/,
    ],
  ];
  for (const [what, entry, request, answer] of cases) {
    test(what, async () => {
      await use(entry);
      assert.match(summary(await stage.exchange(host, request)), answer);
    });
  }

  test('a long body in chunks', async () => {
    stage.script = () => undefined;
    await use({ 'max-body': '10B' });
    const request = head('POST /a', 'Transfer-Encoding: chunked\r\n', host);
    const text = await stage.exchange(host, `${request}b\r\nhello world\r\n0\r\n\r\n`);
    assert.equal(summary(text), '413 upload_limit');
    // It was given up in the moment in which the origin's handshake was over: that must end no process.
    stage.script = answerAll;
    assert.match(summary(await stage.exchange(host, get('/a'))), /^200 /);
  });

  test('strips headers', async () => {
    await use({ headers: { strip: ['cookie', 'x-debug'] } });
    await stage.exchange(
      host,
      get('/a', 'Cookie: a=b\r\nX-Debug: 1\r\nX_Debug: 2\r\nX-Other: 3\r\n'),
    );
    assert.doesNotMatch(received(), /cookie|debug/i);
    assert.match(received(), /X-Other: 3/);
  });
});
