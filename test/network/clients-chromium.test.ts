import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  ClientLab,
  type ClientRun,
  describeRun,
  missingClient,
  refusalSentence,
} from '../support/client-lab.ts';
import { linesLike } from '../support/egress-lines.ts';
import { enterNamespace } from '../support/namespace.ts';
import { page } from '../support/web-origin.ts';

await enterNamespace(import.meta.filename);

/** A page that says by its own script what it could load. */
const html = (scheme: string): string => `<!DOCTYPE html><title>page</title>
<script src="${scheme}://cdn.test/good.js"></script>
<script src="${scheme}://evil.test/evil.js" onerror="document.title += ' blocked'"></script>
<script>document.write('<p>' + document.title + '</p>')</script>`;

describe('Chromium', { skip: missingClient('chromium') }, () => {
  let lab: ClientLab;

  before(async () => {
    lab = await ClientLab.start({
      sites: {
        'good.test': page(html('https'), 'text/html'),
        'plain.test': page(html('http'), 'text/html'),
        'cdn.test': page("document.title += ' loaded'", 'text/javascript'),
      },
      allow: ['good.test', 'cdn.test', 'http://plain.test', 'http://cdn.test'],
      agent: { credentials: { sources: ['127.0.0.1/32'], 'sources-alone': true } },
    });
  });
  after(() => lab.stop());

  /** The page as it stands after its scripts. `--proxy-server` takes no credential: the agent is known by its address. */
  const load = (url: string): Promise<ClientRun> =>
    lab.run('chromium', [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-background-networking',
      '--disable-component-update',
      '--no-first-run',
      `--user-data-dir=${path.join(lab.home, 'chromium')}`,
      `--proxy-server=http://127.0.0.1:${lab.proxy.port}`,
      `--ignore-certificate-errors-spki-list=${lab.web.publicKeyDigest}`,
      '--virtual-time-budget=5000',
      '--dump-dom',
      url,
    ]);

  for (const [scheme, host] of [
    ['https', 'good.test'],
    ['http', 'plain.test'],
  ] as const) {
    test(`shows a page over ${scheme} with its script, without the blocked one`, async () => {
      const result = await load(`${scheme}://${host}/`);
      assert.equal(result.status, 0, describeRun(result));
      assert.match(result.stdout, /<p>page loaded blocked<\/p>/, describeRun(result));
      for (const allowed of [host, 'cdn.test']) {
        const open = { event: 'open', agent: 'demo', scheme, host: allowed };
        assert.ok(linesLike(result.lines, open).length > 0, describeRun(result));
      }
      assertRefused(result);
    });
  }

  test('says of a page over https only that there was no tunnel', async () => {
    const result = await load('https://evil.test/');
    assert.match(result.stderr, /ERR_TUNNEL_CONNECTION_FAILED/, describeRun(result));
    assertRefused(result);
  });

  test('shows the refusal of a page over http as the page', async () => {
    const result = await load('http://evil.test/');
    assert.ok(result.stdout.includes(`"message":"${refusalSentence}"`), describeRun(result));
    const hint = 'Agent demo may reach: good.test, cdn.test, plain.test. ';
    assert.ok(result.stdout.includes(hint), describeRun(result));
    assertRefused(result);
  });

  test('asks none of the hosts of its own that it is not allowed', () => {
    const reached = new Set(lab.web.requests.map((request) => request.host));
    assert.deepEqual([...reached].toSorted(), ['cdn.test', 'good.test', 'plain.test']);
    const asked = new Set(lab.dns.queries.map((query) => query.name));
    assert.deepEqual([...asked].toSorted(), ['cdn.test', 'good.test', 'plain.test']);
  });
});

function assertRefused(run: ClientRun): void {
  const block = { event: 'block', agent: 'demo', host: 'evil.test', reason: 'host_not_allowed' };
  assert.ok(linesLike(run.lines, block).length > 0, describeRun(run));
}
