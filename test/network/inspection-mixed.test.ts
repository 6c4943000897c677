import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { until } from '../support/deadline.ts';
import { waitForLine } from '../support/egress-lines.ts';
import { answerAll, head, summary } from '../support/http-stage.ts';
import { demo, InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

let stage: InspectionStage;
before(async () => {
  stage = await InspectionStage.start();
});
beforeEach(() => {
  stage.script = answerAll;
});
after(async () => await stage[Symbol.asyncDispose]());

const host = 'hooks.test';
const onlyGet = { host, methods: ['GET'] };
const last = 'Connection: close\r\n';

async function reload(allow: readonly unknown[], more: object = {}): Promise<void> {
  const answer = await stage.proxy.reload({ 'demo.yaml': stage.lists(allow, more) });
  assert.equal(answer.status, 200, answer.text);
}

test('in report mode another method passes, and is reported', async () => {
  await reload([onlyGet], { mode: 'report' });
  const text = await stage.exchange(host, head('DELETE /reported', last, host));
  assert.equal(summary(text), '200 DELETE /reported HTTP/1.1');
  const line = await waitForLine(stage.proxy.logFile, { event: 'open', path: '/reported' });
  assert.deepEqual([line.verdict, line.reason, line.report], ['allow', 'method_not_allowed', true]);
});

test('in report mode a deny entry still blocks what is inspected', async () => {
  await reload([onlyGet], { mode: 'report', deny: [host] });
  const client = await RawClient.connect({ port: stage.proxy.port });
  assert.equal((await client.tunnel(`${host}:443`, demo)).status, 403);
  client.close();
});

test('with plain HTTP on the same port TLS is inspected, and plain HTTP served', async () => {
  await reload([onlyGet, `http://${host}:443`]);
  const text = await stage.exchange(host, head('GET /tls', '', host) + head('POST /tls', '', host));
  assert.equal(summary(text), '200 GET /tls HTTP/1.1|403 method_not_allowed');
  const client = await RawClient.connect({ port: stage.proxy.port });
  assert.equal((await client.tunnel(`${host}:443`, demo)).status, 200);
  client.write(head('POST /plain', '', `${host}:443`));
  await client.readToClose();
  const line = await waitForLine(stage.proxy.logFile, { event: 'open', path: '/plain' });
  assert.deepEqual([line.scheme, line.verdict, line.method], ['http', 'allow', 'POST']);
});

test('an entry without conditions beside it lets TLS pass unread', async () => {
  await reload([onlyGet, host]);
  await assert.rejects(stage.open(host), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
});

test('a client that speaks neither HTTP/2 nor HTTP/1.1 is cut, and the operators are not told of trust', async () => {
  await reload([onlyGet]);
  await assert.rejects(stage.open(host, { ALPNProtocols: ['http/1.0'] }));
  await waitForLine(stage.proxy.logFile, { event: 'close', end: 'not_tls', host });
  const told = 'HTTP/2 or HTTP/1.1 are spoken here';
  await until(
    () => stage.proxy.stderr.includes(told),
    () => stage.proxy.stderr,
  );
  assert.doesNotMatch(stage.proxy.stderr, /does not trust/);
});
