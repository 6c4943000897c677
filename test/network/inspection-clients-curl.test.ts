import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { describeRun, missingClient } from '../support/client-lab.ts';
import { linesLike } from '../support/egress-lines.ts';
import { assertRefusedRequest, assertRequests, EnvLab } from '../support/env-lab.ts';
import { type Http2Listener, Http2Origin } from '../support/http2-origin.ts';
import { enterNamespace } from '../support/namespace.ts';

await enterNamespace(import.meta.filename);

const host = 'api.test';
const address = '93.184.215.14';
const url = `https://${host}`;
const large = randomBytes(50_000_000);

function digest(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** `/large`: 50 MB; what is put: its digest; else the path. */
const answer: Http2Listener = (request, response) => {
  if (request.url === '/get/large') return void response.end(large);
  const hash = createHash('sha256');
  request.on('data', (chunk: Buffer) => hash.update(chunk));
  request.on('end', () => {
    response.end(request.method === 'PUT' ? hash.digest('hex') : request.url);
  });
};

describe('curl, inspected', { skip: missingClient('curl') }, () => {
  let lab: EnvLab;
  let origin: Http2Origin;

  before(async () => {
    lab = await EnvLab.start({
      hosts: { [host]: address },
      allow: [
        { host, methods: ['GET', 'HEAD'], paths: ['/get/**'], query: { page: ['1', '2'] } },
        { host, methods: ['PUT'], paths: ['/put/*'] },
      ],
    });
    const certificate = lab.certificate(host);
    origin = await Http2Origin.start({ address, port: 443 }, certificate, true);
    origin.listener = answer;
    fs.writeFileSync(path.join(lab.home, 'large'), large);
  });
  after(async () => {
    await lab[Symbol.asyncDispose]();
    await origin.close();
  });
  beforeEach(() => {
    origin.requests.length = 0;
  });

  for (const [flag, version, status] of [
    ['--http1.1', '1.1', 'HTTP/1.1 403 this path of api.test is not allowed for agent demo'],
    ['--http2', '2', 'HTTP/2 403'],
  ] as const) {
    describe(flag, () => {
      test('gets what is allowed', async () => {
        const said = `' %{http_version} %{http_code}'`;
        const run = await lab.shell(`curl -sS ${flag} -w ${said} '${url}/get/a?page=2'`);
        assert.equal(run.stdout, `/get/a?page=2 ${version} 200`, describeRun(run));
        const [line] = assertRequests(run, { host, method: 'GET', path: '/get/a', status: 200 });
        assert.equal(line?.scheme, 'https');
      });

      for (const [what, args, sentence, line] of [
        [
          'another path',
          `'${url}/other'`,
          'this path of api.test is not allowed for agent demo',
          { method: 'GET', path: '/other', reason: 'path_not_allowed' },
        ],
        [
          'another method',
          `-X DELETE '${url}/get/a'`,
          'DELETE is not allowed on api.test for agent demo',
          { method: 'DELETE', path: '/get/a', reason: 'method_not_allowed' },
        ],
        [
          'another value in the query',
          `'${url}/get/a?page=3'`,
          'query',
          { method: 'GET', path: '/get/a', reason: 'path_not_allowed' },
        ],
      ] as const) {
        test(`is told why it does not get ${what}`, async () => {
          const run = await lab.shell(`curl -sS ${flag} ${args}`);
          assertRefusedRequest(run, { host, status: 403, ...line }, sentence);
          assert.equal(run.status, 0, describeRun(run));
          assert.ok(run.stdout.includes(`"reason":"${line.reason}"`), describeRun(run));
          assert.equal(origin.requests.length, 0);
        });
      }

      test('shows the status line with -v, and fails with -f', async () => {
        const run = await lab.shell(`curl -sSvf ${flag} '${url}/other'`);
        assert.equal(run.status, 22, describeRun(run));
        assert.ok(run.stderr.includes('The requested URL returned error: 403'), describeRun(run));
        assertRefusedRequest(run, { host, reason: 'path_not_allowed' }, `< ${status}`);
      });

      test('gets 50 MB whole', async () => {
        const run = await lab.shell(`curl -sS ${flag} '${url}/get/large' | sha256sum`);
        assert.equal(run.stdout.split(' ')[0], digest(large), run.stderr);
        const [line] = assertRequests(run, { path: '/get/large' });
        assert.equal(line?.bytes_down, large.length);
      });

      test('puts 50 MB whole', async () => {
        const run = await lab.shell(`curl -sS ${flag} -T large '${url}/put/file'`);
        assert.equal(run.stdout, digest(large), run.stderr);
        const [line] = assertRequests(run, { method: 'PUT', path: '/put/file' });
        assert.equal(line?.bytes_up, large.length);
      });
    });
  }

  const expect = `-H 'Expect: 100-continue' --expect100-timeout 30`;

  test('waits for a 100 before it sends, and gets it', async () => {
    const run = await lab.shell(`curl -sSv --http1.1 ${expect} -T large '${url}/put/file'`);
    assert.ok(run.stderr.includes('< HTTP/1.1 100 Continue'), describeRun(run));
    assert.equal(run.stdout, digest(large), run.stderr);
    assertRequests(run, { method: 'PUT', path: '/put/file' });
  });

  test('waits for a 100, is refused, and sends nothing', async () => {
    const run = await lab.shell(`curl -sSv --http1.1 ${expect} -T large '${url}/other'`);
    assertRefusedRequest(run, { method: 'PUT', path: '/other' }, '< HTTP/1.1 403 ');
    assert.doesNotMatch(run.stderr, /100 Continue/u);
    const [close] = linesLike(run.lines, { event: 'close' });
    assert.ok(Number(close?.bytes_up) < 1000, describeRun(run));
  });

  test('asks many things at once in one tunnel of HTTP/2', async () => {
    const script = `curl -sS -Z --http2 --fail-early '${url}/get/[1-40]' -o '#1'`;
    const run = await lab.shell(`${script} && cat $(seq 40)`);
    assert.equal(run.stdout, Array.from({ length: 40 }, (_, at) => `/get/${at + 1}`).join(''));
    assertRequests(run, { host, method: 'GET', status: 200 }, 40);
    assert.equal(linesLike(run.lines, { event: 'open', method: 'CONNECT' }).length, 1);
    assert.equal(new Set(origin.requests.map(({ connection }) => connection)).size, 1);
  });

  test('is refused one of many, and gets the others', async () => {
    const args = `'${url}/get/1' -o 1 '${url}/other' -o other '${url}/get/2' -o 2`;
    const run = await lab.shell(`curl -sS -Z --http2 ${args}; cat 1 2 other`);
    assert.match(run.stdout, /^\/get\/1\/get\/2\{"error"/u);
    assertRequests(run, { host, method: 'GET', status: 200 }, 2);
    assertRefusedRequest(run, { path: '/other' }, 'this path of api.test is not allowed');
    assert.equal(linesLike(run.lines, { event: 'open', method: 'CONNECT' }).length, 1);
  });
});
