import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { describeRun, missingClient } from '../support/client-lab.ts';
import { until } from '../support/deadline.ts';
import { linesLike } from '../support/egress-lines.ts';
import { assertRefusedRequest, assertRequests, EnvLab } from '../support/env-lab.ts';
import { type Http2Listener, Http2Origin } from '../support/http2-origin.ts';
import { enterNamespace } from '../support/namespace.ts';
import { startEchoSite } from '../support/web-socket.ts';

await enterNamespace(import.meta.filename);

const host = 'page.test';
const socketHost = 'socket.test';
const addresses = { [host]: '93.184.215.14', [socketHost]: '93.184.215.15' };

/** Tries what a page can do, shows and sends what came of it; the image keeps the page loading until then. */
const page = `<!DOCTYPE html><title>page</title><h1>A page, inspected</h1><pre id="out"></pre>
<img src="/page/wait" width="1" height="1"><script type="module">
const seen = { protocol: performance.getEntriesByType('navigation')[0].nextHopProtocol };
const good = await fetch('/page/good');
seen.good = [good.status, await good.text()];
const bad = await fetch('/other');
seen.bad = [bad.status, (await bad.json()).error.reason, bad.headers.get('sallyport-reason')];
const write = await fetch('/page/good', { method: 'DELETE' });
seen.write = [write.status, (await write.json()).error.message];
seen.events = await new Promise((resolve) => {
  const got = [];
  const source = new EventSource('/page/events');
  source.onmessage = ({ data }) => {
    got.push(data);
    if (got.length < 3) return;
    source.close();
    resolve(got);
  };
  source.onerror = () => resolve('error');
});
const converse = (url) => new Promise((resolve) => {
  const got = [];
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => {
    got.push(data);
    if (got.length < 3) socket.send('message ' + got.length);
    else socket.close(1000);
  };
  socket.onclose = ({ code, wasClean }) => resolve([...got, code, wasClean]);
});
seen.socket = await converse('wss://${socketHost}/echo');
seen.refusedSocket = await converse('wss://${socketHost}/other');
document.getElementById('out').textContent = JSON.stringify(seen, null, 1);
await fetch('/page/report', { method: 'POST', body: JSON.stringify(seen) });
</script>`;

describe('Chromium, inspected', { skip: missingClient('chromium', 'certutil') }, () => {
  let lab: EnvLab;
  let origin: Http2Origin;
  let sockets: Awaited<ReturnType<typeof startEchoSite>>;
  let report = '';

  const answer: Http2Listener = (request, response) => {
    if (request.url === '/page/') response.setHeader('content-type', 'text/html');
    if (request.url === '/page/events') {
      response.setHeader('content-type', 'text/event-stream');
      for (const at of [1, 2, 3]) setTimeout(() => response.write(`data: ${at}\n\n`), at * 50);
    } else if (request.url === '/page/wait') {
      void until(
        () => report !== '',
        () => 'no report',
        20_000,
      ).finally(() => response.end());
    } else if (request.url === '/page/report') {
      request.on('data', (chunk: Buffer) => {
        report += chunk.toString();
      });
      request.on('end', () => response.end());
    } else response.end(request.url === '/page/' ? page : `${request.method} ${request.url}`);
  };

  before(async () => {
    lab = await EnvLab.start({
      hosts: addresses,
      // Chromium takes no credential from anywhere: the agent is known by its address.
      agent: { credentials: { sources: ['127.0.0.1/32'], 'sources-alone': true, issued: true } },
      allow: [
        { host, methods: ['GET', 'POST'], paths: ['/page/**'] },
        { host: socketHost, paths: ['/echo'] },
      ],
    });
    const listen = { address: addresses[host] as string, port: 443 };
    origin = await Http2Origin.start(listen, lab.certificate(host), true);
    origin.listener = answer;
    sockets = await startEchoSite(addresses[socketHost] as string, lab.certificate(socketHost));
  });
  after(async () => {
    await lab[Symbol.asyncDispose]();
    await origin.close();
    sockets.close();
  });

  test('shows a page over HTTP/2 that fetches, listens and converses, and is told what it may not', async () => {
    // The second folder is the one of later versions.
    const trust = `for store in .pki/nssdb .local/share/pki/nssdb; do
  mkdir -p "$store"
  certutil -d "sql:$store" -N --empty-password
  certutil -d "sql:$store" -A -t C,, -n sallyport -i "$NODE_EXTRA_CA_CERTS"
done`;
    const flags = [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
      ...['--disable-background-networking', '--disable-component-update', '--no-first-run'],
      `--user-data-dir=${path.join(lab.home, 'chromium')}`,
      `--proxy-server=http://127.0.0.1:${lab.proxy.port}`,
    ];
    const url = `https://${host}/page/`;
    const run = await lab.shell(`${trust}\nchromium "$@"`, ...flags, '--dump-dom', url);
    assert.match(run.stdout, /<h1>A page, inspected<\/h1>/u, describeRun(run));
    assert.notEqual(report, '', describeRun(run));
    assert.deepEqual(
      JSON.parse(report),
      {
        protocol: 'h2',
        good: [200, 'GET /page/good'],
        bad: [403, 'path_not_allowed', 'path_not_allowed'],
        write: [403, 'DELETE is not allowed on page.test for agent demo'],
        events: ['1', '2', '3'],
        socket: ['welcome', 'message 1!', 'message 2!', 1000, true],
        refusedSocket: [1006, false],
      },
      describeRun(run),
    );
    for (const at of ['/page/', '/page/events', '/page/report']) {
      assertRequests(run, { host, path: at, status: 200 });
    }
    assertRequests(run, { host: socketHost, path: '/echo', status: 101 });
    assertRefusedRequest(run, { host, path: '/other', reason: 'path_not_allowed' }, '');
    assertRefusedRequest(run, { host, method: 'DELETE', reason: 'method_not_allowed' }, '');
    assertRefusedRequest(run, { host: socketHost, path: '/other' }, '');
    const requests = linesLike(run.lines, { event: 'request', host });
    assert.equal(new Set(requests.map(({ client }) => client)).size, 1, describeRun(run));
    assert.ok(origin.requests.every(({ version }) => version === '2.0'));
  });
});
