import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { loadRevocationList, RevocationListError } from '../../src/tls/revocation-list.ts';
import { pem, zooAuthority, zooEnd, zooList, zooStart } from '../support/certificate-zoo.ts';
import { der, extension, keyPair, nameOf, octets, sequence } from '../support/certificates.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-crl-'));
after(() => fs.rmSync(root, { recursive: true }));
const file = path.join(root, 'clients.crl');
const authority = zooAuthority();
const now = zooStart + 1000;

function load(content: Buffer | string, ca = authority, at = now) {
  fs.writeFileSync(file, content);
  return loadRevocationList(file, ca, at);
}

const hex = (digits: string) => Buffer.from(digits, 'hex');
const reason = (code: number) => extension('551d15', false, der(0x0a, Buffer.of(code)));
const crlNumber = extension('551d14', false, der(0x02, Buffer.of(9)));

describe('a good list', () => {
  const entries = [
    [hex('12')],
    [hex('00ff01'), reason(1)],
    [hex('7f'.repeat(20)), reason(6)],
  ] as const;

  test('has what it names and nothing else', () => {
    const list = load(zooList({ entries, extensions: [crlNumber] }));
    assert.equal(list.size, 3);
    assert.equal(list.expiresAt, zooEnd);
    for (const serial of ['12', 'ff01', '7f'.repeat(20)]) assert.equal(list.has(serial, now), true);
    for (const serial of ['01', '02', '0120', 'ff', 'ff02', '7f'.repeat(19), '00', '']) {
      assert.equal(list.has(serial, now), false, serial);
    }
  });

  test('without entries has nothing', () => {
    const list = load(zooList());
    assert.deepEqual([list.size, list.has('12', now)], [0, false]);
  });

  test('in PEM, with text around it', () => {
    const list = load(
      `Certificate Revocation List:\n${pem('X509 CRL', zooList({ entries }))}end\n`,
    );
    assert.equal(list.has('ff01', now), true);
  });

  test('of 100,000 entries', () => {
    const serial = (index: number) => `5${index.toString(16).padStart(31, '0')}`;
    const many = Array.from(
      { length: 100_000 },
      (_, index) => [hex(serial(index)), reason(4)] as const,
    );
    const list = load(zooList({ entries: many }));
    assert.equal(list.size, 100_000);
    for (let index = 0; index < 100_000; index += 997) assert.ok(list.has(serial(index), now));
    assert.equal(list.has(serial(100_000), now), false);
  });

  test('that ends refuses everything from then on', () => {
    const list = load(zooList({ entries }), authority, zooEnd);
    assert.equal(list.has('01', zooEnd - 1), false);
    assert.equal(list.has('01', zooEnd), true);
    assert.equal(list.has('ff01', zooEnd), true);
  });

  test('of a clock that is a little fast', () => {
    assert.equal(load(zooList({ thisUpdate: now + 299_000 })).size, 0);
  });

  const kinds = [
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 }), '2a864886f70d01010b', [der(0x05)]],
    ['Ed25519', generateKeyPairSync('ed25519'), '2b6570', []],
  ] as const;
  for (const [what, { privateKey, publicKey }, id, parameters] of kinds) {
    test(`signed with ${what}`, () => {
      const algorithm = sequence(der(0x06, hex(id)), ...parameters);
      const list = zooList({ algorithm, entries }, privateKey);
      assert.equal(load(list, zooAuthority('Zoo', publicKey)).has('ff01', now), true);
      assert.throws(() => load(list), /not signed by/, 'a key of another kind');
      list[list.length - 1] = (list.at(-1) as number) ^ 1;
      assert.throws(() => load(list, zooAuthority('Zoo', publicKey)), /not signed by/);
    });
  }
});

describe('several authorities', () => {
  const other = keyPair();
  const second = zooAuthority('Second', other.publicKey);
  const both = authority + second;
  const listOfSecond = () =>
    zooList(
      { issuer: nameOf('Second'), entries: [[hex('22')]], nextUpdate: zooEnd - 60_000 },
      other.privateKey,
    );

  test('have a list each, in one file', () => {
    const list = load(
      pem('X509 CRL', zooList({ entries: [[hex('11')]] })) + pem('X509 CRL', listOfSecond()),
      both,
    );
    assert.deepEqual(
      ['11', '22', '33'].map((serial) => list.has(serial, now)),
      [true, true, false],
    );
    assert.equal(list.expiresAt, zooEnd - 60_000, 'the earlier end');
    assert.equal(list.size, 2);
  });

  test('of which one has no list', () => {
    const one = pem('X509 CRL', listOfSecond());
    assert.throws(() => load(one, both), /no list of CN=Zoo, .*append that list/);
  });

  test('with the same key and name share one', () => {
    assert.equal(load(zooList(), authority + authority).size, 0);
  });

  test('a list of somebody else beside the good one', () => {
    const two = pem('X509 CRL', zooList()) + pem('X509 CRL', listOfSecond());
    assert.throws(() => load(two), /not signed by an authority/);
  });
});

describe('is not believed', () => {
  const stranger = keyPair().privateKey;
  const distribution = extension('551d1c', true, sequence());
  const good = zooList({ entries: [[hex('12')]] });
  const flipped = Buffer.from(good);
  flipped[flipped.indexOf(hex('020112')) + 2] = 0x13;
  const sha1 = sequence(der(0x06, hex('2a8648ce3d0401')));
  const cases: readonly [string, Buffer | string, RegExp][] = [
    [
      'signed by a stranger of the same name',
      zooList({}, stranger),
      /not signed by an authority of the client CA file/,
    ],
    ['of another issuer', zooList({ issuer: nameOf('Zoo2') }), /not signed by/],
    ['changed after it was signed', flipped, /not signed by/],
    ['two algorithms', zooList({ outerAlgorithm: sha1 }), /two algorithms/],
    [
      'SHA-1',
      zooList({ algorithm: sha1, outerAlgorithm: sha1 }),
      /not accepted \(1\.2\.840\.10045\.4\.1\)/,
    ],
    ['from the future', zooList({ thisUpdate: now + 301_000 }), /holds only from 2026-/],
    ['without an end', zooList({ nextUpdate: null }), /nextUpdate/],
    [
      'a delta',
      zooList({ extensions: [extension('551d1b', true, der(0x02, Buffer.of(1)))] }),
      /delta list/,
    ],
    ['a part', zooList({ extensions: [distribution] }), /issuing distribution point/],
    [
      'a critical extension',
      zooList({ extensions: [extension('2a0304', true, octets())] }),
      /critical.*1\.2\.3\.4/,
    ],
    [
      'a critical extension of an entry',
      zooList({ entries: [[hex('12'), extension('551d1d', true, sequence())]] }),
      /an entry has a critical/,
    ],
    ['another version', zooList({ version: Buffer.of(0) }), /version/],
    ['a negative number', zooList({ entries: [[hex('80')]] }), /serial number/],
    ['bytes behind it', Buffer.concat([good, Buffer.of(0)]), /behind the last/],
    ['cut', good.subarray(0, -1), /longer than its place/],
    ['cut in PEM', pem('X509 CRL', good).slice(0, -20), /no revocation list in it/],
    ['a certificate', authority, /no revocation list in it/],
    ['nothing', '', /no revocation list in it/],
    ['eleven mebibytes', Buffer.alloc(11 << 20, 0x30), /10 MiB/],
  ];
  for (const [what, content, expected] of cases) {
    test(what, () => {
      assert.throws(
        () => load(content),
        (error) => {
          assert.ok(error instanceof RevocationListError);
          assert.ok(error.message.startsWith(`${file}: `), error.message);
          assert.match(error.message, expected);
          return true;
        },
      );
    });
  }

  test('a file that is not there, or is no file', () => {
    assert.throws(() => loadRevocationList(path.join(root, 'x'), authority, now), /\(ENOENT\)/);
    assert.throws(() => loadRevocationList(root, authority, now), /not a regular file/);
    execFileSync('mkfifo', [path.join(root, 'pipe')]);
    assert.throws(
      () => loadRevocationList(path.join(root, 'pipe'), authority, now),
      /not a regular/,
    );
  });

  test('a client CA file without certificates, or with a broken one', () => {
    assert.throws(() => load(good, ''), /not signed by/);
    const broken = authority.replace(/.{64}\n/, '');
    assert.throws(() => load(good, broken), RevocationListError);
  });

  test('whatever is changed in it', () => {
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = Buffer.from(good);
        bytes[at] = (bytes[at] as number) ^ change;
        assert.throws(() => load(bytes), RevocationListError);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('lists of OpenSSL', () => {
  test('are read', () => {
    const home = fs.mkdtempSync(path.join(root, 'openssl-'));
    const run = (...args: string[]) => execFileSync('openssl', args, { cwd: home, stdio: 'pipe' });
    fs.writeFileSync(
      path.join(home, 'ca.cnf'),
      '[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=1\nserial=serial\nnew_certs_dir=.\npolicy=p\n[p]\nCN=supplied\n',
    );
    fs.writeFileSync(path.join(home, 'index.txt'), '');
    fs.writeFileSync(path.join(home, 'number'), '01\n');
    fs.writeFileSync(path.join(home, 'serial'), 'C0FFEE\n');
    run(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-subj',
      '/O=Example/CN=CA',
      '-days',
      '2',
    );
    run(
      'req',
      '-new',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'a.key',
      '-out',
      'a.csr',
      '-subj',
      '/CN=demo',
    );
    const ca = ['-config', 'ca.cnf', '-cert', 'ca.crt', '-keyfile', 'ca.key'];
    run('ca', ...ca, '-batch', '-days', '1', '-in', 'a.csr', '-out', 'a.crt', '-notext');
    run('ca', ...ca, '-revoke', 'a.crt', '-crl_reason', 'keyCompromise');
    run('ca', ...ca, '-gencrl', '-out', 'list.pem');
    const pemOfCa = fs.readFileSync(path.join(home, 'ca.crt'), 'utf8');
    const list = loadRevocationList(path.join(home, 'list.pem'), pemOfCa, Date.now());
    assert.equal(list.size, 1);
    assert.equal(list.has('c0ffee', Date.now()), true);
    assert.equal(list.has('c0ffed', Date.now()), false);
  });
});
