import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { runCommand } from '../support/command.ts';
import { until } from '../support/deadline.ts';
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

test('an authority that is made while the proxy runs is taken up, and what was open goes on', async () => {
  const opaque = await RawClient.connect({ port: stage.proxy.port });
  assert.equal((await opaque.tunnel('free.test:443', demo)).status, 200);
  const inside = await opaque.startTls({ servername: 'free.test', rejectUnauthorized: false });
  const made = await runCommand(['ca', 'init'], { SALLYPORT_CERTS: stage.certs });
  assert.equal(made.status, 0, made.stderr);
  await until(
    () => stage.proxy.stderr.includes('TLS is inspected from now on'),
    () => stage.proxy.stderr,
  );
  const ca = fs.readFileSync(path.join(stage.certs, 'ca.crt'), 'latin1');
  const inspected = await stage.open('api.test', { ca });
  inspected.write('GET /public/a HTTP/1.1\r\nHost: api.test\r\n\r\n');
  assert.equal((await inspected.readResponse()).body.toString(), 'GET /public/a HTTP/1.1');
  inspected.close();
  const live = new RawClient(inside);
  live.write('GET /secret HTTP/1.1\r\nHost: free.test\r\n\r\n');
  assert.equal((await live.readResponse()).body.toString(), 'GET /secret HTTP/1.1');
  live.close();
  const page = await RawClient.connect({ port: stage.proxy.port });
  page.write('GET /ca.pem HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.equal((await page.readResponse()).body.toString(), ca);
  page.close();
});
