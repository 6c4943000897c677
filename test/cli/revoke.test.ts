import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import { parseRevocations } from '../../src/config/revocation-file.ts';
import { Installation } from '../support/command.ts';

const now = Date.UTC(2026, 10, 22, 12);
const at = '2026-11-22T12:00:00.000Z';
const token = '01JD8Q6Z0000000000000000AB';
const digest = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08';
const allowlist = `agents:
  demo:
    owner: ann@example.com
    purpose: a test
    credentials: {tokens: ["sha256:${digest}"]}
    allow: [example.com]
  ab12:
    owner: ann@example.com
    purpose: a test
    allow: [example.com]
`;

class Home extends Installation {
  /** Where no proxy answers. */
  admin = '127.0.0.1:1';

  constructor(text = allowlist) {
    super();
    this.allow('demo.yaml', text);
  }

  get file(): string {
    return path.join(this.allowlists, 'revocations.yaml');
  }

  command(...argv: string[]) {
    return this.run(argv, now, { SALLYPORT_ADMIN: this.admin, SUDO_USER: 'alice' });
  }

  /** `kind id`, in order. */
  get entries(): string[] {
    const { entries } = parseRevocations(fs.readFileSync(this.file), now);
    return (entries ?? []).map(({ kind, id }) => `${kind} ${id}`);
  }
}

describe('revoke', () => {
  const good: [id: string, entry: string][] = [
    [token, `token ${token}`],
    [token.toLowerCase(), `token ${token}`],
    [`sha256:${digest}`, `token sha256:${digest.slice(0, 12)}`],
    ['jwt:abc', 'token jwt:abc'],
    ['cert:0A:1B', 'certificate 0a1b'],
    ['0A:1B', 'certificate 0a1b'],
    ['0a1b2c3d', 'certificate 0a1b2c3d'],
    ['demo', 'agent demo'],
    ['agent:demo', 'agent demo'],
    ['ab12', 'agent ab12'],
    ['cert:ab12', 'certificate ab12'],
  ];
  for (const [id, entry] of good) {
    test(`${id} is ${entry}`, async () => {
      using home = new Home();
      const result = await home.command('revoke', id, '--why', 'a test');
      assert.deepEqual([result.status, result.stderr], [0, '']);
      assert.deepEqual(home.entries, [entry]);
      assert.match(result.stdout, /revocations\.yaml:\d+\n/);
      assert.match(result.stdout, /No proxy answers at 127\.0\.0\.1:1; .* within a second\.\n$/);
    });
  }

  const bad: [id: string, status: number, message: RegExp][] = [
    ['dmo', 1, /no agent "dmo" in the allowlists; did you mean `demo`\?/],
    ['agent:nobody', 1, /no agent "nobody" in the allowlists\./],
    ['nonsense!', 2, /neither an agent nor the id of a credential/],
    ['sp1.abc.def', 2, /^sallyport: this is a credential, not the id of one/],
    ['eyJhbGciOiJub25lIn0.e30.', 2, /^sallyport: this is a credential, not the id of one/],
    ['sallyport-static-token-of-the-test!', 2, /^sallyport: this is neither/],
    ['cert:xyz', 2, /neither an agent/],
    ['\u001b[31m', 2, /"\\\\u\{1b\}\[31m"/],
    ['', 2, /neither an agent/],
  ];
  for (const [id, status, message] of bad) {
    test(`${JSON.stringify(id)} is refused, and nothing is written`, async () => {
      using home = new Home();
      const result = await home.command('revoke', token, id);
      assert.equal(result.status, status);
      assert.match(result.stderr, message);
      assert.ok(!fs.existsSync(home.file));
    });
  }

  test('says in JSON what it has done, and what stood there before', async () => {
    using home = new Home();
    await home.command('revoke', token, '--by', 'bob');
    const result = await home.command('revoke', token, 'jwt:x', '--why', 'lost', '--json');
    assert.deepEqual(JSON.parse(result.stdout), {
      revoked: [
        {
          kind: 'token',
          id: 'jwt:x',
          at,
          by: 'alice',
          why: 'lost',
          place: 'revocations.yaml:8',
        },
      ],
      known: [{ kind: 'token', id: token, at, by: 'bob', place: 'revocations.yaml:5' }],
      proxy: null,
      in_force: false,
    });
  });

  test('an agent keeps what nobody issued, and is told how to end that', async () => {
    using home = new Home();
    const { stdout } = await home.command('revoke', 'demo');
    assert.match(stdout, /can still use 1 static token, .*`sallyport quarantine demo`/);
    assert.match(stdout, /--why/);
    const other = await home.command('revoke', 'ab12', '--why', 'x');
    assert.doesNotMatch(other.stdout, /can still use|--why/);
  });

  test('allowlists that do not compile hold nothing up', async () => {
    using home = new Home('agents: [');
    for (const [id, entry] of [
      ['demo', 'agent demo'],
      [token, `token ${token}`],
    ]) {
      const result = await home.command('revoke', id ?? '');
      assert.equal(result.status, 0);
      assert.match(result.stderr, /do not compile/);
      assert.ok(home.entries.includes(entry ?? ''));
    }
    const unclear = await home.command('revoke', 'ab12');
    assert.equal(unclear.status, 2);
    assert.match(unclear.stderr, /write agent:ab12 or cert:ab12/);
  });

  const reasons: [flag: string, value: string, message: RegExp][] = [
    ['--by', 'x'.repeat(257), /--by: 257 characters/],
    ['--why', 'x'.repeat(513), /--why: 513 characters/],
    ['--why', ' ', /--why is empty/],
    ['--why', 'a\nb', /cannot be printed/],
    ['--by', 'a\u202eb', /cannot be printed/],
  ];
  for (const [flag, value, message] of reasons) {
    test(`${flag} ${JSON.stringify(value.slice(0, 10))} is refused`, async () => {
      using home = new Home();
      const result = await home.command('revoke', token, flag, value);
      assert.equal(result.status, 2);
      assert.match(result.stderr, message);
      assert.ok(!fs.existsSync(home.file));
    });
  }

  test('a directory that cannot be written: the lines for where it comes from', async () => {
    using home = new Home();
    const result = await home.run(
      ['revoke', token, '--allowlists', path.join(home.allowlists, 'demo.yaml')],
      now,
      { SALLYPORT_ADMIN: home.admin },
    );
    assert.equal(result.status, 1);
    assert.match(
      result.stderr,
      new RegExp(`cannot be written.*:\n\nrevoked:\n {2}- token: ${token}\n`),
    );
  });
});

describe('quarantine', () => {
  test('an agent, once; and lets it go', async () => {
    using home = new Home();
    const first = await home.command('quarantine', 'demo', '--why', 'odd uploads');
    assert.equal(first.status, 0);
    assert.match(first.stdout, /^agent demo {2}quarantined {2}revocations\.yaml:5\n/);
    const again = await home.command('quarantine', 'demo');
    assert.match(
      again.stdout,
      /was already quarantined \(since 2026-11-22T12:00:00\.000Z by alice: odd uploads\)/,
    );
    assert.deepEqual(home.entries, ['quarantine demo']);
    const lifted = await home.command('unquarantine', 'demo', '--json');
    assert.deepEqual(JSON.parse(lifted.stdout).lifted[0].why, 'odd uploads');
    assert.deepEqual(home.entries, []);
    const none = await home.command('quarantine', '--undo', 'demo');
    assert.match(none.stdout, /^agent demo is not quarantined\n/);
    assert.equal(none.status, 0);
  });

  const wrong: [argv: string[], status: number, message: RegExp][] = [
    [['quarantine', 'dmo'], 1, /did you mean `demo`/],
    [['unquarantine', 'dmo'], 1, /did you mean `demo`/],
    [['quarantine', 'DEMO!'], 2, /is not an agent id/],
    [['quarantine', 'demo', '--undo', '--why', 'x'], 2, /--undo takes neither/],
    [['quarantine'], 2, /missing required argument/],
  ];
  for (const [argv, status, message] of wrong) {
    test(argv.join(' '), async () => {
      using home = new Home();
      const result = await home.command(...argv);
      assert.equal(result.status, status);
      assert.match(result.stderr, message);
    });
  }

  test('an agent that no allowlist has any more can be let go', async () => {
    using home = new Home();
    fs.writeFileSync(home.file, 'quarantined: [{agent: gone}]\n');
    assert.equal((await home.command('unquarantine', 'gone')).status, 0);
    assert.deepEqual(home.entries, []);
  });

  test('explain says so, with the place; another agent is explained as ever', async () => {
    using home = new Home();
    await home.command('quarantine', 'demo', '--why', 'odd uploads');
    const told = await home.command('explain', '--agent', 'demo', 'example.com', '--json');
    assert.equal(told.status, 1);
    const { verdict, reason, entry, near } = JSON.parse(told.stdout);
    assert.deepEqual(
      [verdict, reason, entry, near],
      ['block', 'agent_quarantined', 'revocations.yaml:5', []],
    );
    const text = await home.command('explain', '--agent', 'demo', 'example.com');
    assert.match(text.stdout, /since 2026-11-22T12:00:00\.000Z by alice \(odd uploads\)/);
    assert.equal((await home.command('explain', '--agent', 'ab12', 'example.com')).status, 0);
    fs.writeFileSync(home.file, 'quarantined: [');
    const broken = await home.command('explain', '--agent', 'demo', 'example.com');
    assert.equal(broken.status, 0);
    assert.match(broken.stderr, /could not be read and is left out/);
  });

  test('check looks at the file too', async () => {
    using home = new Home();
    fs.writeFileSync(home.file, 'quarantined: [{agent: dmo}]\n');
    const warned = await home.command('check', '--json');
    assert.equal(warned.status, 0);
    const { ok, problems } = JSON.parse(warned.stdout);
    assert.deepEqual(
      [ok, problems.map(({ file, code }: { file: string; code: string }) => `${file} ${code}`)],
      [true, ['revocations.yaml unknown-agent']],
    );
    fs.writeFileSync(home.file, 'quarantine: []\n');
    const wrong = await home.command('check');
    assert.equal(wrong.status, 1);
    assert.match(wrong.stdout, /revocations\.yaml:1:1 {2}unknown-key .*did you mean `quarantined`/);
    assert.match(wrong.stdout, /^not usable/m);
  });
});

describe('a proxy that answers', () => {
  interface Asked {
    readonly method: string | undefined;
    readonly url: string | undefined;
    readonly body: string;
  }

  async function admin(answer: (asked: Asked) => [status: number, body: string]) {
    const asked: Asked[] = [];
    const server = http.createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      request.on('end', () => {
        const { method, url } = request;
        asked.push({ method, url, body });
        const [status, text] = answer({ method, url, body });
        response.writeHead(status).end(text);
      });
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const { port } = server.address() as AddressInfo;
    return {
      asked,
      address: `127.0.0.1:${port}`,
      [Symbol.dispose]: () => {
        server.close();
        server.closeAllConnections();
      },
    };
  }

  const entry = { kind: 'token', id: token, at };
  const answers: [what: string, status: number, body: unknown, exit: number, said: RegExp][] = [
    ['has it', 200, { cut: 3, entries: [entry] }, 0, /^In force at .*; 3 live connections cut\.$/m],
    ['has one', 200, { cut: 1, entries: [entry] }, 0, /; 1 live connection cut\.$/m],
    ['reads another file', 200, { cut: 0, entries: [] }, 1, /^NOT in force at/m],
    ['has it broken', 422, { cut: 0, problems: [{}], entries: [] }, 1, /^NOT in force at/m],
    ['is an older one', 404, { error: 'no' }, 0, /^No proxy answers/m],
    ['is something else', 200, [null], 0, /^No proxy answers/m],
    ['has odd entries', 200, { cut: 'x', entries: [null, 1, {}] }, 1, /^NOT in force/m],
  ];
  for (const [what, status, body, exit, said] of answers) {
    test(what, async () => {
      using home = new Home();
      using proxy = await admin(() => [status, JSON.stringify(body)]);
      home.admin = proxy.address;
      const result = await home.command('revoke', token);
      assert.equal(result.status, exit);
      assert.match(result.stdout, said);
      assert.deepEqual(proxy.asked, [{ method: 'POST', url: '/revocations', body: '{}' }]);
    });
  }

  const row = {
    id: '01M82BYGA7PAM8E6V5QCV50000',
    agent: 'demo',
    kind: 'tunnel',
    host: 'registry.npmjs.org',
    port: 443,
    entry: 'demo.yaml:6',
    client: '127.0.0.1:1',
    token,
    task: 'a\u001b[31mb',
    bytes_up: 783,
    bytes_down: 2_413_000,
    age: 3725.5,
  };
  const other = { ...row, id: '01M82BYGA7PAM8E6V5QCV50001', agent: 'bob', host: '::1' };
  const listing = { connections: [row, other] };

  test('connections are a table, without anything that moves a cursor', async () => {
    using home = new Home();
    using proxy = await admin(() => [200, JSON.stringify(listing)]);
    home.admin = proxy.address;
    const { status, stdout } = await home.command('connections');
    assert.equal(status, 0);
    assert.ok(!stdout.includes('\u001b'));
    const [head, first, second, count] = stdout.split('\n');
    assert.match(head ?? '', /^ID +AGENT +KIND +TARGET +AGE +UP +DOWN +ENTRY +TOKEN +TASK$/);
    assert.match(first ?? '', /registry\.npmjs\.org:443 +1h02m +783B +2\.41MB +demo\.yaml:6/);
    assert.match(second ?? '', /\[::1\]:443/);
    assert.equal(count, '2 live connections');
    const one = await home.command('connections', '--agent', 'bob', '--json');
    assert.deepEqual(JSON.parse(one.stdout), { connections: [other] });
  });

  test('some are cut, with who and why', async () => {
    using home = new Home();
    using proxy = await admin(() => [200, JSON.stringify({ cut: [row.id] })]);
    home.admin = proxy.address;
    const result = await home.command('connections', 'cut', row.id, '--why', 'odd', '--json');
    assert.deepEqual(
      [result.status, JSON.parse(result.stdout)],
      [0, { cut: [row.id], unknown: [] }],
    );
    assert.equal(proxy.asked[0]?.url, '/connections/cut');
    assert.deepEqual(JSON.parse(proxy.asked[0]?.body ?? ''), {
      ids: [row.id],
      by: 'alice',
      why: 'odd',
    });
  });

  for (const argv of [['connections'], ['connections', 'cut', row.id]]) {
    test(`${argv.join(' ')} without a proxy says where it looked`, async () => {
      using home = new Home();
      const result = await home.command(...argv);
      assert.equal(result.status, 1);
      assert.match(result.stderr, /no proxy answers at 127\.0\.0\.1:1: name its admin listener/);
    });
  }
});
