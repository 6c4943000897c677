import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linesLike, readEgressLog, waitForLine } from '../support/egress-lines.ts';
import { head, summary } from '../support/http-stage.ts';
import { InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';

await enterNamespace(import.meta.filename);

const host = 'api.test';

test('every worker inspects, and adds credentials from the environment of the program', async () => {
  Object.assign(process.env, { API_TOKEN_OF_TESTS: 'canary-of-workers' });
  await using stage = await InspectionStage.start({ workers: 2 });
  const inject = [{ bearer: true, secret: { env: 'API_TOKEN_OF_TESTS' } }];
  const lists = stage.lists([{ host, methods: ['GET'], inject }]);
  assert.equal((await stage.proxy.reload({ 'demo.yaml': lists })).status, 200);
  for (let i = 0; i < 24; i++) {
    const text = await stage.exchange(host, head(`GET /${i}`, 'Connection: close\r\n', host));
    assert.match(summary(text), /^200 /);
  }
  const received = stage.connections.map(({ text }) => text);
  assert.equal(received.filter((text) => text.includes('Bearer canary-of-workers')).length, 24);
  await waitForLine(stage.proxy.logFile, { event: 'request', path: '/23' });
  const lines = linesLike(readEgressLog(stage.proxy.logFile), { event: 'request', host });
  assert.equal(new Set(lines.map(({ node }) => node)).size, 2);
});

test('a drain ends idle connections of HTTP/2, and says so', async () => {
  await using stage = await InspectionStage.start();
  const session = await stage.openHttp2('h2.test');
  const stream = session.request({ ':path': '/a' });
  await new Promise((resolve) => stream.resume().once('close', resolve));
  const lines = await stage.stop();
  session.destroy();
  const [close] = linesLike(lines, { event: 'close', host: 'h2.test' });
  assert.deepEqual([close?.end, close?.verdict], ['draining', 'allow']);
});
