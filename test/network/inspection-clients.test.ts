import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { missingClient, searchPath } from '../support/client-lab.ts';
import { until } from '../support/deadline.ts';
import { linesLike, waitForLine } from '../support/egress-lines.ts';
import { InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';

await enterNamespace(import.meta.filename);

const program = path.resolve(import.meta.dirname, '../../src/main.ts');
let stage: InspectionStage;
before(async () => {
  stage = await InspectionStage.start();
});
after(async () => await stage[Symbol.asyncDispose]());

interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A shell that has the lines of `sallyport env`; `sallyport` and `node` are there as functions. */
function shell(script: string, ...args: string[]): Promise<Run> {
  const config = path.join(stage.proxy.directory, 'sallyport.yaml');
  const lines = `eval "$("${process.execPath}" "${program}" env demo --config "${config}" --proxy 127.0.0.1:${stage.proxy.port})"`;
  const whole = `${lines}\nnode() { "${process.execPath}" "$@"; }\n${script}`;
  return new Promise((resolve) => {
    execFile(
      'sh',
      ['-euc', whole, 'sh', ...args],
      { env: { PATH: searchPath, HOME: stage.proxy.directory }, timeout: 60_000 },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : Number(error.code ?? -1);
        resolve({ status, stdout, stderr });
      },
    );
  });
}

const url = 'https://api.test/public/a';

describe('clients that have the lines of `sallyport env`', () => {
  test('curl trusts the proxy, and is refused alone what is not allowed', {
    skip: missingClient('curl'),
  }, async () => {
    const got = await shell(`curl -sS "${url}"`);
    assert.deepEqual([got.stdout, got.status], ['GET /public/a HTTP/1.1', 0], got.stderr);
    const refused = await shell(
      `curl -sS -o /dev/null -w '%{http_code} ' -X DELETE "${url}" "${url}"`,
    );
    assert.match(refused.stdout, /^403 /);
    const line = await waitForLine(stage.proxy.logFile, { event: 'block', method: 'DELETE' });
    assert.deepEqual(
      [line.reason, line.scheme, line.host, line.path],
      ['method_not_allowed', 'https', 'api.test', '/public/a'],
    );
  });

  test('curl without them does not go on, and the operators hear why', {
    skip: missingClient('curl'),
  }, async () => {
    const run = await shell(`unset SSL_CERT_FILE CURL_CA_BUNDLE; curl -sS "${url}"`);
    assert.equal(run.status, 60, run.stderr);
    const line = await waitForLine(stage.proxy.logFile, { event: 'close', end: 'not_tls' });
    assert.deepEqual([line.host, line.verdict], ['api.test', 'block']);
    await until(
      () =>
        /"agent":"demo","host":"api\.test","entry":"demo\.yaml:.*does not trust/.test(
          stage.proxy.stderr,
        ),
      () => stage.proxy.stderr,
    );
  });

  test('node', async () => {
    const run = await shell(
      `node --input-type=module -e 'const r = await fetch(process.argv[1]); console.log(r.status, await r.text())' "${url}"`,
    );
    assert.equal(run.stdout, '200 GET /public/a HTTP/1.1\n', run.stderr);
  });

  test('python', { skip: missingClient('python3') }, async () => {
    const code =
      'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())';
    const run = await shell(`python3 -c '${code}' "${url}"`);
    assert.equal(run.stdout, 'GET /public/a HTTP/1.1\n', run.stderr);
  });

  test('openssl sees one name and HTTP/2', { skip: missingClient('openssl') }, async () => {
    const run = await shell(
      `login=$(printf %s "$HTTPS_PROXY" | sed 's,.*//demo:,,; s,@.*,,')
P="$login" openssl s_client -proxy 127.0.0.1:${stage.proxy.port} -proxy_user demo -proxy_pass env:P -connect api.test:443 -servername api.test -alpn h2,http/1.1 -CAfile "$NODE_EXTRA_CA_CERTS" -verify_return_error </dev/null`,
    );
    assert.match(run.stdout, /ALPN protocol: h2/, run.stderr);
    assert.match(run.stdout, /Verify return code: 0 \(ok\)/);
    assert.match(run.stdout, /subject=CN ?= ?api\.test/);
  });

  test('hosts that are not inspected keep their own certificates', {
    skip: missingClient('curl'),
  }, async () => {
    const run = await shell('curl -sS https://free.test/');
    // The bundle has the roots of this system; the origin's are a test's.
    assert.equal(run.status, 60, run.stderr);
    assert.equal(linesLike(stage.proxy.lines(), { host: 'free.test', event: 'request' }).length, 0);
  });
});
