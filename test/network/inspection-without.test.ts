import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { waitForLine } from '../support/egress-lines.ts';
import { demo, InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

let stage: InspectionStage;
before(async () => {
  stage = await InspectionStage.start({}, false);
});
after(async () => await stage[Symbol.asyncDispose]());

test('without an authority an entry that needs inspection blocks, and says why', async () => {
  const client = await RawClient.connect({ port: stage.proxy.port });
  const answer = await client.tunnel('api.test:443', demo);
  assert.equal(answer.status, 403);
  assert.match(
    answer.reason,
    /^api\.test is allowed only with limits on methods, which need TLS inspection, .* no authority for \(demo\.yaml:\d+\)$/,
  );
  client.close();
  const line = await waitForLine(stage.proxy.logFile, { event: 'block', host: 'api.test' });
  assert.deepEqual([line.reason, line.agent], ['method_not_allowed', 'demo']);
  assert.equal(stage.origins[0]?.connections.length, 0);
});

test('the operators are told at the start', () => {
  assert.match(stage.proxy.stderr, /"level":"warn"[^\n]*no authority[^\n]*sallyport ca init/);
});

test('what needs none passes', async () => {
  const client = await RawClient.connect({ port: stage.proxy.port });
  assert.equal((await client.tunnel('free.test:443', demo)).status, 200);
  client.close();
});

test('there is no /ca.pem', async () => {
  const client = await RawClient.connect({ port: stage.proxy.port });
  client.write('GET /ca.pem HTTP/1.1\r\nHost: x\r\n\r\n');
  const answer = await client.readResponse();
  assert.equal(answer.status, 400);
  assert.doesNotMatch(answer.body.toString(), /BEGIN CERTIFICATE/);
  client.close();
});
