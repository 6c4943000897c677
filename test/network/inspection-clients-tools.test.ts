import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { describeRun, missingClient, searchPath } from '../support/client-lab.ts';
import { assertRefusedRequest, assertRequests, EnvLab } from '../support/env-lab.ts';
import { type Http2Listener, Http2Origin } from '../support/http2-origin.ts';
import { enterNamespace } from '../support/namespace.ts';
import { startEchoSite } from '../support/web-socket.ts';
import type { WebSocketOutcome } from '../support/web-socket-client.ts';

await enterNamespace(import.meta.filename);

const host = 'tools.test';
const socketHost = 'socket.test';
const addresses = { [host]: '93.184.215.14', [socketHost]: '93.184.215.15' };
const sentence = `this path of ${host} is not allowed for agent demo`;
const commit = '0123456789abcdef0123456789abcdef01234567';

/** A package index, a registry and a repository, as far as the clients ask; else what was asked for. */
const contents: Readonly<Record<string, readonly [type: string, content: string]>> = {
  '/get/simple/demo-package/': [
    'text/html',
    '<!DOCTYPE html><a href="/get/demo_package-1.0-py3-none-any.whl">demo_package-1.0-py3-none-any.whl</a>',
  ],
  '/get/npm/demo-package': [
    'application/json',
    JSON.stringify({
      name: 'demo-package',
      'dist-tags': { latest: '1.0.0' },
      versions: { '1.0.0': { name: 'demo-package', version: '1.0.0', dist: {} } },
    }),
  ],
  '/get/repo.git/info/refs?service=git-upload-pack': ['text/plain', `${commit}\trefs/heads/main\n`],
  '/get/repo.git/HEAD': ['text/plain', 'ref: refs/heads/main\n'],
};

const answer: Http2Listener = (request, response) => {
  const found = contents[request.url];
  response.setHeader('content-type', found?.[0] ?? 'text/plain');
  response.end(found?.[1] ?? `${request.method} ${request.url}`);
};

interface Client {
  readonly name: string;
  readonly missing: string | false;
  /** Gets "$1", which is `/get/` or `/other/` on the host, and prints it. */
  readonly script: string;
  /** What comes behind `/get/` and `/other/`. */
  readonly path: string;
  /** On its output if it is let through. */
  readonly got: string | RegExp;
  /** On its output if not. */
  readonly said: string | RegExp;
}

const urllib = 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())';
const requests =
  'import sys, requests as r; a = r.get(sys.argv[1]); print(a.text); a.raise_for_status()';
const fetching = 'const a = await fetch(process.argv[1]); console.log(a.status, await a.text())';
const getting =
  'require("https").get(process.argv[1], (a) => { console.log(a.statusCode, a.statusMessage); a.pipe(process.stdout) })';

const clients: readonly Client[] = [
  {
    name: 'urllib of Python',
    missing: missingClient('python3'),
    script: `python3 -c '${urllib}' "$1"`,
    path: 'a',
    got: 'GET /get/a',
    said: `HTTP Error 403: ${sentence}`,
  },
  {
    name: 'requests of Python',
    missing: missingClient('python3') || missingModule('requests'),
    script: `python3 -c '${requests}' "$1"`,
    path: 'a',
    got: 'GET /get/a',
    said: `403 Client Error: ${sentence} for url`,
  },
  {
    name: 'pip',
    missing: missingClient('python3') || missingModule('pip'),
    script:
      'python3 -m pip --retries 0 --no-cache-dir --disable-pip-version-check -vv index --index-url "$1" versions demo-package',
    path: 'simple',
    got: 'demo-package (1.0)',
    said: sentence,
  },
  {
    name: "Node's fetch",
    missing: false,
    script: `node --input-type=module -e '${fetching}' "$1"`,
    path: 'a',
    got: '200 GET /get/a',
    said: `"message":"${sentence}"`,
  },
  {
    name: "Node's https",
    missing: false,
    script: `node -e '${getting}' "$1"`,
    path: 'a',
    got: /^200 OK\nGET \/get\/a/u,
    said: `403 ${sentence}`,
  },
  {
    name: 'npm',
    missing: missingClient('npm'),
    script: 'npm view demo-package version --registry "$1"',
    path: 'npm/',
    got: /^1\.0\.0$/mu,
    said: `403 403 ${sentence} - GET`,
  },
  {
    name: 'git',
    missing: missingClient('git'),
    script: 'git ls-remote "$1"',
    path: 'repo.git',
    got: `${commit}\trefs/heads/main`,
    said: 'The requested URL returned error: 403',
  },
  {
    // It asks no variable for its roots.
    name: 'wget',
    missing: missingClient('wget'),
    script: 'wget -nv -O- --ca-certificate="$SSL_CERT_FILE" "$1"',
    path: 'a',
    got: 'GET /get/a',
    said: `ERROR 403: ${sentence}`,
  },
];

let lab: EnvLab;
let origin: Http2Origin;
let sockets: Awaited<ReturnType<typeof startEchoSite>>;

before(async () => {
  lab = await EnvLab.start({
    hosts: addresses,
    allow: [
      { host, methods: ['GET'], paths: ['/get/**'] },
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

for (const { name, missing, script, path: at, got, said } of clients) {
  describe(`${name}, inspected`, { skip: missing }, () => {
    test('gets what is allowed', async () => {
      const run = await lab.shell(script, `https://${host}/get/${at}`);
      const found = typeof got === 'string' ? run.stdout.includes(got) : got.test(run.stdout);
      assert.ok(found, describeRun(run));
      const asked = run.lines.filter((line) => line.event === 'open' && line.method === 'GET');
      assertRequests(run, { host, method: 'GET' }, asked.length);
      assert.ok(asked.length > 0, describeRun(run));
    });

    test('shows why it does not get the rest', async () => {
      const run = await lab.shell(script, `https://${host}/other/${at}`);
      const refused = { host, method: 'GET', reason: 'path_not_allowed', status: 403 } as const;
      const line = assertRefusedRequest(run, refused, said);
      assert.ok(line.path?.startsWith('/other/'), describeRun(run));
    });
  });
}

describe('a WebSocket, inspected', () => {
  const program = path.resolve(import.meta.dirname, '../support/web-socket-client.ts');

  test('carries messages both ways, and its close', async () => {
    const run = await lab.shell('node "$@"', program, socketHost, '/echo');
    const outcome = JSON.parse(run.stdout) as WebSocketOutcome;
    assert.deepEqual(outcome, { status: 101, texts: ['welcome', 'hello!', 'long'], code: 1000 });
    const [line] = assertRequests(run, { host: socketHost, path: '/echo', status: 101 });
    assert.ok(Number(line?.bytes_up) > 20_000 && Number(line?.bytes_down) > 20_000);
  });

  test('is refused on another path, and told why', async () => {
    const run = await lab.shell('node "$@"', program, socketHost, '/other');
    const { status, body = '' } = JSON.parse(run.stdout) as WebSocketOutcome;
    assert.equal(status, 403, describeRun(run));
    const refused = { host: socketHost, path: '/other', reason: 'path_not_allowed' };
    const line = assertRefusedRequest(run, refused, 'is not allowed for agent demo');
    assert.ok(body.includes(String(line.id)), describeRun(run));
  });
});

function missingModule(name: string): string | false {
  const run = spawnSync('python3', ['-c', `import ${name}`], { env: { PATH: searchPath } });
  return run.status !== 0 && `not installed: Python's ${name} (.ci/run installs it)`;
}
