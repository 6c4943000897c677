import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
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

/** Gets its first argument; the second one is a proxy's URL, of which it takes the credential alone. */
const javaClient = `
import java.net.*;
public class Get {
  public static void main(String[] args) throws Exception {
    String[] login = URI.create(args[1]).getUserInfo().split(":", 2);
    Authenticator.setDefault(new Authenticator() {
      protected PasswordAuthentication getPasswordAuthentication() {
        return new PasswordAuthentication(login[0], login[1].toCharArray());
      }
    });
    try (var in = URI.create(args[0]).toURL().openStream()) {
      System.out.println(new String(in.readAllBytes()));
    }
  }
}
`;

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

  test('ruby', { skip: missingClient('ruby') && 'no Ruby here' }, async () => {
    const run = await shell(`ruby -rnet/http -e 'puts Net::HTTP.get(URI(ARGV[0]))' "${url}"`);
    assert.equal(run.stdout, 'GET /public/a HTTP/1.1\n', run.stderr);
  });

  test('java, with the store, the proxy and a credential of its own', {
    skip: missingClient('java') && 'no Java here',
  }, async () => {
    const source = path.join(stage.proxy.directory, 'Get.java');
    fs.writeFileSync(source, javaClient);
    // Java keeps Basic from tunnels unless it is told otherwise.
    const run = await shell(
      `java -Djdk.http.auth.tunneling.disabledSchemes= "${source}" "${url}" "$HTTPS_PROXY"`,
    );
    assert.equal(run.stdout, 'GET /public/a HTTP/1.1\n', run.stderr);
    assert.match(run.stderr, /Picked up JAVA_TOOL_OPTIONS: /);
    const [, credential = 'none'] = (await shell('echo "$HTTPS_PROXY"')).stdout.split(/demo:|@/u);
    assert.ok(!run.stderr.includes(credential.slice(0, 8)), run.stderr);
  });

  test('apt', { skip: missingClient('apt-get') }, async () => {
    const root = path.join(stage.proxy.directory, 'apt');
    for (const name of ['lists/partial', 'cache/archives/partial', 'parts']) {
      fs.mkdirSync(path.join(root, name), { recursive: true });
    }
    fs.writeFileSync(path.join(root, 'status'), '');
    fs.writeFileSync(
      path.join(root, 'sources.list'),
      'deb [trusted=yes] https://api.test/public/ stable main\n',
    );
    const options = {
      'Acquire::Retries': '0',
      'Dir::Cache': path.join(root, 'cache'),
      'Dir::Etc::Parts': path.join(root, 'parts'),
      'Dir::Etc::SourceList': path.join(root, 'sources.list'),
      'Dir::Etc::SourceParts': path.join(root, 'parts'),
      'Dir::State::Lists': path.join(root, 'lists'),
      'Dir::State::Status': path.join(root, 'status'),
    };
    const flags = Object.entries(options).map(([name, value]) => `-o ${name}="${value}"`);
    const update = `apt-get ${flags.join(' ')} update`;
    // What it gets is no archive: that it takes the certificate, and asks inside TLS, is what counts.
    const trusting = await shell(`${update} 2>&1`);
    assert.doesNotMatch(trusting.stdout, /certificate/iu);
    const distrusting = await shell(`unset APT_CONFIG; ${update} -o APT::Sandbox::User=root 2>&1`);
    assert.match(distrusting.stdout, /Certificate verification failed/u);
    const asked = linesLike(stage.proxy.lines(), { event: 'request', host: 'api.test' });
    assert.ok(
      asked.some((line) => line.path?.startsWith('/public/dists/stable/')),
      trusting.stdout,
    );
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
