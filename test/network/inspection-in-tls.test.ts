import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import { TestAuthority } from '../support/certificates.ts';
import { clientHello } from '../support/client-hello.ts';
import { waitForLine } from '../support/egress-lines.ts';
import { answerAll, once as answerOnce, head, summary } from '../support/http-stage.ts';
import { demo, InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

const listenerAuthority = new TestAuthority('The authority of the listener');
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-in-tls-'));
const files = { cert: path.join(directory, 'p.crt'), key: path.join(directory, 'p.key') };
let stage: InspectionStage;
before(async () => {
  const { cert, key } = listenerAuthority.issue(['127.0.0.1']);
  fs.writeFileSync(files.cert, cert);
  fs.writeFileSync(files.key, key, { mode: 0o600 });
  stage = await InspectionStage.start({ listen: [{ address: '127.0.0.1:0', tls: files }] });
});
after(async () => {
  await stage[Symbol.asyncDispose]();
  fs.rmSync(directory, { recursive: true });
});

/** A client of the TLS listener. */
async function connected(): Promise<RawClient> {
  const { port } = stage.proxy;
  const secure = tls.connect({ port, host: '127.0.0.1', ca: listenerAuthority.cert });
  await once(secure, 'secureConnect');
  return new RawClient(secure);
}

/** Its tunnel, with TLS in TLS. */
async function inspected(): Promise<RawClient> {
  const client = await connected();
  assert.equal((await client.tunnel('hooks.test:443', demo)).status, 200);
  const options = { servername: 'hooks.test', ca: stage.authority };
  return new RawClient(await client.startTls(options));
}

const get = (target: string, more = '') => head(`GET ${target}`, more, 'hooks.test');

test('a tunnel through a TLS listener is inspected', async () => {
  stage.script = answerAll;
  const client = await inspected();
  client.write(get('/1') + get('/2') + head('DELETE /3', '', 'hooks.test'));
  const text = (await client.readToClose()).toString();
  const served = ['1', '2'].map((name) => `200 GET /${name} HTTP/1.1`);
  assert.equal(summary(text), [...served, '403 method_not_allowed'].join('|'));
  client.close();
});

test('an answer that is cut off does not look whole, and the proxy goes on', async () => {
  stage.script = answerOnce('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', ({ socket }) => {
    socket.destroy();
  });
  const client = await inspected();
  client.write(get('/cut'));
  await client.readUntil('half');
  await client.readToClose();
  const line = await waitForLine(stage.proxy.logFile, { event: 'request', path: '/cut' });
  assert.equal(line.end, 'origin');
  assert.equal(stage.proxy.running, true);
});

test('a tunnel that its origin resets is broken off, and the proxy goes on', async () => {
  stage.script = ({ socket }) => {
    socket.once('data', () => socket.destroy());
  };
  const client = await connected();
  assert.equal((await client.tunnel('free.test:443', demo)).status, 200);
  const [origin] = stage.origins;
  assert.ok(origin);
  client.write(clientHello({ sni: 'free.test' }));
  await client.readBytes(5);
  origin.reset();
  await client.readToClose();
  await waitForLine(stage.proxy.logFile, { event: 'close', host: 'free.test', end: 'origin' });
  assert.equal(stage.proxy.running, true);
});
