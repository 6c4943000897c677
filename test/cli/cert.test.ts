import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { inspectClientCertificate } from '../../src/identity/client-certificate.ts';
import { TestAuthority } from '../support/certificates.ts';
import { Installation } from '../support/command.ts';

const now = Date.now();
const second = Math.floor(now / 1000) * 1000;
const hour = 3_600_000;
const day = 24 * hour;
const spiffe = 'spiffe://example.com/agent/demo';

function installation(): Installation {
  const made = new Installation();
  made.allow(
    'agents.yaml',
    `agents:
  demo:
    owner: ann@example.com
    purpose: a test
    credentials: {certificates: ["CN=demo", "${spiffe}", "spiffe://example.com/agent/other"]}
    allow: [docs.python.org]
  plain:
    owner: ann@example.com
    purpose: a test
    credentials: {certificates: ["CN=plain,O=Example"]}
  bare: {owner: bob@team.example.org, purpose: a test, allow: [docs.python.org]}
`,
  );
  return made;
}

async function withAuthority(): Promise<Installation> {
  const home = installation();
  assert.equal((await home.run(['ca', 'init'], now)).status, 0);
  return home;
}

const modeOf = (file: string) => fs.statSync(file).mode & 0o777;

function factsIn(file: string) {
  const facts = inspectClientCertificate(new X509Certificate(fs.readFileSync(file)).raw);
  assert.ok(typeof facts === 'object', String(facts));
  return facts;
}

interface Issued {
  readonly agent: string;
  readonly name: string;
  readonly token: string;
  readonly expires: string;
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
}

interface Shown {
  readonly agent: string | null;
  readonly problem: string | null;
  readonly ours: boolean;
}

describe('cert issue', () => {
  test('writes a key and a chain, and says what they are', async () => {
    using home = await withAuthority();
    const result = await home.run(['cert', 'issue', 'demo'], now);
    assert.equal(result.status, 0, result.stderr);
    const [certificate, key] = ['crt', 'key'].map((kind) =>
      path.join(home.certs, 'agents', `demo.${kind}`),
    ) as [string, string];
    const facts = factsIn(certificate);
    assert.deepEqual([facts.spiffe, facts.issuedAt, facts.expiresAt], [spiffe, now, second + day]);
    const expires = new Date(second + day).toISOString();
    for (const line of [
      'agent        demo',
      `name         ${spiffe}`,
      `id           cert:${facts.serial}`,
      `expires      ${expires}`,
      `certificate  ${certificate}`,
      `key          ${key}`,
    ]) {
      assert.ok(result.stdout.includes(`${line}\n`), result.stdout);
    }
    assert.match(result.stdout, /No listener asks for client certificates/u);
    assert.equal(modeOf(key), 0o600);
    assert.deepEqual(fs.readdirSync(path.dirname(key)).toSorted(), ['demo.crt', 'demo.key']);
    const chain = fs.readFileSync(certificate, 'utf8');
    assert.ok(chain.endsWith(fs.readFileSync(path.join(home.certs, 'ca.crt'), 'utf8')));
    assert.ok(!chain.includes('PRIVATE') && !result.stdout.includes('PRIVATE'));
    const pair = new X509Certificate(chain);
    execFileSync('openssl', ['pkey', '-in', key, '-check', '-noout']);
    const own = execFileSync('openssl', ['pkey', '-in', key, '-pubout'], { encoding: 'utf8' });
    assert.equal(pair.publicKey.export({ type: 'spki', format: 'pem' }), own);
  });

  test('--json has the same facts; --out has all that a sandbox needs', async () => {
    using home = await withAuthority();
    const out = path.join(home.root, 'box');
    const result = await home.run(
      ['cert', 'issue', 'demo', '--ttl', '8h', '--out', out, '--json'],
      now,
    );
    assert.equal(result.status, 0, result.stderr);
    const issued = JSON.parse(result.stdout) as Issued;
    assert.deepEqual(Object.keys(issued), [
      'agent',
      'name',
      'token',
      'expires',
      'certificate',
      'key',
      'authority',
    ]);
    assert.deepEqual(fs.readdirSync(out).toSorted(), ['ca.crt', 'demo.crt', 'demo.key']);
    assert.deepEqual(
      [issued.certificate, issued.key, issued.authority],
      ['demo.crt', 'demo.key', 'ca.crt'].map((file) => path.join(out, file)),
    );
    assert.equal(issued.token, `cert:${factsIn(issued.certificate).serial}`);
    assert.equal(issued.expires, new Date(second + 8 * hour).toISOString());
    const verified = execFileSync(
      'openssl',
      [
        'verify',
        '-x509_strict',
        '-purpose',
        'sslclient',
        '-CAfile',
        issued.authority,
        issued.certificate,
      ],
      { encoding: 'utf8' },
    );
    assert.match(verified, /: OK\n$/u);
  });

  test('again replaces both files', async () => {
    using home = await withAuthority();
    const key = path.join(home.certs, 'agents', 'demo.key');
    await home.run(['cert', 'issue', 'demo'], now);
    const before = fs.readFileSync(key, 'utf8');
    fs.chmodSync(key, 0o644);
    assert.equal((await home.run(['cert', 'issue', 'demo'], now)).status, 0);
    assert.notEqual(fs.readFileSync(key, 'utf8'), before);
    assert.equal(modeOf(key), 0o600);
  });

  const names: readonly [string, readonly string[], string][] = [
    ['the first SPIFFE id', ['demo'], spiffe],
    [
      'another one',
      ['demo', '--spiffe', 'spiffe://example.com/agent/other'],
      'spiffe://example.com/agent/other',
    ],
    ['a subject if asked for', ['demo', '--spiffe', 'CN=demo'], 'CN=demo'],
    ['a subject if there is no SPIFFE id', ['plain'], 'CN=plain,O=Example'],
  ];
  for (const [what, argv, expected] of names) {
    test(`has ${what}`, async () => {
      using home = await withAuthority();
      const result = await home.run(['cert', 'issue', ...argv, '--json'], now);
      const issued = JSON.parse(result.stdout) as Issued;
      assert.equal(issued.name, expected);
      const facts = factsIn(issued.certificate);
      assert.equal(facts.spiffe ?? facts.subject, expected);
    });
  }

  test('with a listener that asks for certificates prints a line for curl', async () => {
    using home = await withAuthority();
    await home.run(['cert', 'server', 'localhost', '127.0.0.1'], now);
    const config = path.join(home.root, 'sallyport.yaml');
    const at = (file: string) => path.join(home.certs, file);
    const listen = (cert: string) =>
      `listen:\n  - 127.0.0.1:3128\n  - {address: 0.0.0.0:3130, tls: {cert: ${cert}, key: x, client-ca: ${at('ca.crt')}}}\n`;
    fs.writeFileSync(config, listen(at('listeners/localhost.crt')));
    const result = await home.run(['cert', 'issue', 'demo', '--config', config], now);
    assert.equal(
      result.stdout.split('\n').at(-2),
      `curl --proxy https://127.0.0.1:3130 --proxy-cacert ${at('ca.crt')} --proxy-cert ${at('agents/demo.crt')} --proxy-key ${at('agents/demo.key')} https://docs.python.org/`,
    );
    // A certificate of another authority is believed by what the system trusts, or not at all.
    const other = path.join(home.root, 'other.crt');
    fs.writeFileSync(other, new TestAuthority().issue(['proxy.example']).cert);
    fs.writeFileSync(config, listen(other));
    const foreign = await home.run(['cert', 'issue', 'demo', '--config', config], now);
    assert.match(foreign.stdout, /curl --proxy https:\/\/127\.0\.0\.1:3130 --proxy-cert /u);
  });

  const refused: readonly [string, readonly string[], number, RegExp][] = [
    ['an unknown agent', ['dmo'], 1, /no agent "dmo".*did you mean `demo`/u],
    [
      'an agent without certificates',
      ['bare'],
      1,
      /lists no certificate \(agents\.yaml:11\).*certificates: \["spiffe:\/\/team\.example\.org\/agent\/bare"\]/su,
    ],
    [
      'a name that is not listed',
      ['demo', '--spiffe', 'spiffe://example.com/x'],
      1,
      /does not list .*it lists CN=demo, spiffe:/u,
    ],
    ['less than a minute', ['demo', '--ttl', '59s'], 2, /60s is the least/u],
    ['more than 90 days', ['demo', '--ttl', '91d'], 2, /90d is the most/u],
    ['a time without a unit', ['demo', '--ttl', '8'], 2, /a whole number and a unit/u],
    ['no agent at all', [], 2, /missing required argument/u],
  ];
  for (const [what, argv, status, message] of refused) {
    test(`refuses ${what}`, async () => {
      using home = await withAuthority();
      const result = await home.run(['cert', 'issue', ...argv], now);
      assert.equal(result.status, status);
      assert.equal(result.stdout, '');
      assert.match(result.stderr, message);
      assert.equal(fs.existsSync(path.join(home.certs, 'agents')), false);
    });
  }

  test('without an authority, or with one that has ended', async () => {
    using home = installation();
    const none = await home.run(['cert', 'issue', 'demo'], now);
    assert.equal(none.status, 1);
    assert.match(none.stderr, /`sallyport ca init` makes one/u);
    await home.run(['ca', 'init'], now);
    const late = await home.run(['cert', 'issue', 'demo'], now + 5 * 365 * day);
    assert.equal(late.status, 1);
    assert.match(late.stderr, /ended .*`sallyport ca init`/u);
  });
});

describe('cert server', () => {
  test('writes a certificate for all names and prints the listener', async () => {
    using home = await withAuthority();
    const result = await home.run(['cert', 'server', '2001:db8::1', 'proxy.internal'], now);
    assert.equal(result.status, 0, result.stderr);
    const certificate = path.join(home.certs, 'listeners', '2001-db8--1.crt');
    const read = new X509Certificate(fs.readFileSync(certificate));
    assert.equal(read.checkIP('2001:db8::1'), '2001:db8::1');
    assert.equal(read.checkHost('proxy.internal'), 'proxy.internal');
    assert.equal(read.validToDate.getTime(), second + 90 * day);
    assert.equal(modeOf(certificate.replace(/crt$/u, 'key')), 0o600);
    // The printed lines are settings that name these files.
    const config = path.join(home.root, 'sallyport.yaml');
    fs.writeFileSync(config, result.stdout);
    const issued = await home.run(['cert', 'issue', 'demo', '--config', config], now);
    assert.match(issued.stdout, /curl --proxy https:\/\/127\.0\.0\.1:3130 --proxy-cacert /u);
  });

  test('--json and --out', async () => {
    using home = await withAuthority();
    const out = path.join(home.root, 'tls');
    const result = await home.run(
      ['cert', 'server', 'a.example', '--out', out, '--ttl', '398d', '--json'],
      now,
    );
    assert.deepEqual(JSON.parse(result.stdout), {
      names: ['a.example'],
      expires: new Date(second + 398 * day).toISOString(),
      certificate: path.join(out, 'a.example.crt'),
      key: path.join(out, 'a.example.key'),
      authority: path.join(home.certs, 'ca.crt'),
    });
  });

  test('cannot touch the authority, whatever the name and the directory', async () => {
    using home = await withAuthority();
    home.allow(
      'ca.yaml',
      'agents:\n  ca: {owner: a@b.example, purpose: p, credentials: {certificates: ["CN=ca"]}}\n',
    );
    const link = path.join(home.root, 'link');
    fs.symlinkSync(home.certs, link);
    const out = path.join(home.root, 'out');
    const read = (name: string) => fs.readFileSync(path.join(home.certs, name), 'utf8');
    const before = [read('ca.key'), read('ca.crt')];
    const cases: readonly [readonly string[], number][] = [
      [['server', 'ca'], 0],
      [['server', 'ca', '--out', home.certs], 2],
      [['server', 'ca', '--out', `${link}/`], 2],
      [['server', 'ca', '--out', out], 0],
      [['issue', 'ca'], 0],
      [['issue', 'ca', '--out', home.certs], 2],
      [['issue', 'demo', '--out', link], 2],
      [['issue', 'ca', '--out', out], 2],
    ];
    for (const [argv, status] of cases) {
      const result = await home.run(['cert', ...argv], now);
      assert.equal(result.status, status, argv.join(' ') + result.stderr);
      assert.deepEqual([read('ca.key'), read('ca.crt')], before);
    }
  });

  for (const name of ['Proxy.internal', '*.example.com', '../ca', '10.0.0.0/8', '[::1]']) {
    test(`refuses ${name}`, async () => {
      using home = await withAuthority();
      const result = await home.run(['cert', 'server', name], now);
      assert.equal(result.status, 2);
      assert.match(result.stderr, /neither a host name in lower case nor an IP address/u);
    });
  }
});

describe('cert show', () => {
  test('says whose it is', async () => {
    using home = await withAuthority();
    await home.run(['cert', 'issue', 'demo'], now);
    const file = path.join(home.certs, 'agents', 'demo.crt');
    const result = await home.run(['cert', 'show', file], now + 5000);
    assert.equal(result.status, 0, result.stderr);
    const { serial } = factsIn(file);
    assert.equal(
      result.stdout,
      `spiffe   ${spiffe}
id       cert:${serial}
issued   ${new Date(now).toISOString()}
from     ${new Date(second - 60_000).toISOString()}
expires  ${new Date(second + day).toISOString()}
signed   by the authority under certs/
agent    demo (agents.yaml:2)
`,
    );
  });

  const cases: readonly [
    string,
    readonly string[],
    number,
    number,
    string | null,
    string | null,
  ][] = [
    ['a subject', ['plain'], 0, 0, 'plain', null],
    ['one that has expired', ['demo'], day, 1, 'demo', 'it has expired'],
    ['one that does not hold yet', ['demo'], -62_000, 1, 'demo', 'it does not hold yet'],
  ];
  for (const [what, argv, later, status, agent, problem] of cases) {
    test(`--json of ${what}`, async () => {
      using home = await withAuthority();
      await home.run(['cert', 'issue', ...argv], now);
      const file = path.join(home.certs, 'agents', `${argv[0]}.crt`);
      const result = await home.run(['cert', 'show', file, '--json'], now + later);
      assert.equal(result.status, status);
      const shown = JSON.parse(result.stdout) as Shown;
      assert.deepEqual([shown.agent, shown.problem, shown.ours], [agent, problem, true]);
    });
  }

  test('one of the authority that is being replaced', async () => {
    using home = await withAuthority();
    await home.run(['cert', 'issue', 'demo'], now);
    const file = path.join(home.certs, 'agents', 'demo.crt');
    const [certificate, key] = ['ca.crt', 'ca.key'].map((name) => path.join(home.certs, name)) as [
      string,
      string,
    ];
    const old = fs.readFileSync(certificate, 'utf8');
    fs.rmSync(certificate);
    fs.rmSync(key);
    await home.run(['ca', 'init'], now);
    const alone = await home.run(['cert', 'show', file], now);
    assert.match(alone.stdout, /^signed {3}not by the authority/mu);
    fs.appendFileSync(certificate, old);
    const beside = await home.run(['cert', 'show', file], now);
    assert.match(beside.stdout, /^signed {3}by the authority/mu);
    // The first one in the file signs.
    const again = await home.run(['cert', 'issue', 'demo', '--json'], now);
    assert.equal(again.status, 0, again.stderr);
  });

  const ended: readonly [string, (token: string) => readonly string[], string | null][] = [
    ['itself', (token) => ['revoke', token, '--why', 'lost'], 'it is revoked'],
    ['with all of its agent', () => ['revoke', 'demo', '--why', 'lost'], 'it is revoked'],
    ['with its agent', () => ['quarantine', 'demo', '--why', 'odd'], 'its agent is quarantined'],
    ['not, but another one', () => ['revoke', 'cert:ab12', '--why', 'lost'], null],
  ];
  for (const [what, argv, problem] of ended) {
    test(`one that was ended ${what}`, async () => {
      using home = await withAuthority();
      const issued = await home.run(['cert', 'issue', 'demo', '--json'], now);
      const { certificate, token } = JSON.parse(issued.stdout) as Issued;
      const revoked = await home.run([...argv(token), '--by', 'ann@example.com'], now + 1);
      assert.equal(revoked.status, 0, revoked.stderr);
      const shown = await home.run(['cert', 'show', certificate, '--json'], now + 2);
      assert.equal((JSON.parse(shown.stdout) as Shown).problem, problem);
      assert.equal(shown.status, problem === null ? 0 : 1);
      const next = await home.run(['cert', 'issue', 'demo', '--json'], now + 2);
      const again = await home.run(
        ['cert', 'show', (JSON.parse(next.stdout) as Issued).certificate, '--json'],
        now + 2,
      );
      const stillEnded = problem === 'its agent is quarantined' ? problem : null;
      assert.equal((JSON.parse(again.stdout) as Shown).problem, stillEnded, 'one made after it');
    });
  }

  test('with revocations that cannot be read', async () => {
    using home = await withAuthority();
    await home.run(['cert', 'issue', 'demo'], now);
    home.allow('revocations.yaml', 'revoked: 1\n');
    const file = path.join(home.certs, 'agents', 'demo.crt');
    const result = await home.run(['cert', 'show', file], now);
    assert.equal(result.status, 1);
    assert.match(result.stdout, /problem {2}revocations\.yaml has errors: `sallyport check`/u);
  });

  test('one that nobody lists, of another authority', async () => {
    using home = await withAuthority();
    const file = path.join(home.root, 'x.crt');
    fs.writeFileSync(file, new TestAuthority().issue(['stranger']).cert);
    const result = await home.run(['cert', 'show', file], now);
    assert.equal(result.status, 1);
    assert.match(result.stdout, /^subject {2}CN=stranger\n/u);
    assert.match(result.stdout, /^signed {3}not by the authority under certs\/$/mu);
    assert.match(result.stdout, /problem {2}no agent lists it/u);
  });

  test('one whose two names are two agents', async () => {
    using home = await withAuthority();
    const file = path.join(home.root, 'x.crt');
    home.allow(
      'more.yaml',
      'agents:\n  two: {owner: a@b.example, purpose: p, credentials: {certificates: ["CN=two"]}}\n',
    );
    fs.writeFileSync(file, new TestAuthority().issue(['two'], { uris: [spiffe] }).cert);
    const result = await home.run(['cert', 'show', file, '--json'], now);
    assert.equal(result.status, 1);
    const shown = JSON.parse(result.stdout) as Shown;
    assert.equal(shown.agent, null);
    assert.match(shown.problem ?? '', /one agent lists its SPIFFE id and another one its subject/u);
  });

  test('one whose SPIFFE id nobody lists, though somebody lists its subject', async () => {
    using home = await withAuthority();
    const file = path.join(home.root, 'x.crt');
    const uris = ['spiffe://example.com/agent/nobody'];
    fs.writeFileSync(file, new TestAuthority().issue(['demo'], { uris }).cert);
    const result = await home.run(['cert', 'show', file], now);
    assert.equal(result.status, 1);
    assert.match(
      result.stdout,
      /problem {2}no agent lists its SPIFFE id, beside which the subject/u,
    );
  });

  test('what is no certificate of a client', async () => {
    using home = await withAuthority();
    const authority = await home.run(['cert', 'show', path.join(home.certs, 'ca.crt')], now);
    assert.equal(authority.status, 1);
    assert.match(authority.stderr, /ca\.crt is the certificate of an authority\./u);
    const missing = await home.run(['cert', 'show', path.join(home.root, 'x')], now);
    assert.match(missing.stderr, /no certificate can be read from it \(ENOENT\)/u);
    const key = await home.run(['cert', 'show', path.join(home.certs, 'ca.key')], now);
    assert.match(key.stderr, /no certificate can be read from it\./u);
  });
});

test('cert alone is wrong usage; --help shows examples', async () => {
  using home = new Installation();
  assert.equal((await home.run(['cert'], now)).status, 2);
  for (const argv of [['cert'], ['cert', 'issue'], ['cert', 'server'], ['cert', 'show']]) {
    const result = await home.run([...argv, '--help'], now);
    assert.equal(result.status, 0);
    assert.match(result.stdout, /Example:\n {2}sallyport cert /u);
  }
});
