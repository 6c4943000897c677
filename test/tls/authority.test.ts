import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { SecretFileError } from '../../src/core/secret-file.ts';
import { authorityPaths, createAuthority, loadAuthority } from '../../src/tls/authority.ts';

const now = Date.now();
let root: string;
let directory: string;
let paths: ReturnType<typeof authorityPaths>;
beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-ca-'));
  directory = path.join(root, 'certs');
  paths = authorityPaths(directory);
});
afterEach(() => fs.rmSync(root, { recursive: true }));

const openssl = (...args: string[]): string =>
  execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

const problem = (message: RegExp) => (error: unknown) =>
  error instanceof SecretFileError && message.test(error.message);

describe('a new authority', () => {
  test('is one that OpenSSL accepts', () => {
    createAuthority(directory, now);
    const verified = openssl(
      'verify',
      '-x509_strict',
      '-check_ss_sig',
      '-CAfile',
      paths.certificate,
      paths.certificate,
    );
    assert.match(verified, /: OK\n$/u);
    const text = openssl('x509', '-in', paths.certificate, '-noout', '-text');
    assert.match(text, /Version: 3/u);
    assert.match(text, /Signature Algorithm: ecdsa-with-SHA256/u);
    assert.match(text, /NIST CURVE: P-256/u);
    assert.match(text, /Basic Constraints: critical\s+CA:TRUE, pathlen:1\n/u);
    assert.match(text, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/u);
    const identifiers = text.match(/(?:[0-9A-F]{2}:){19}[0-9A-F]{2}/gu) ?? [];
    assert.equal(identifiers.length, 2, 'subject and authority key identifier');
    assert.equal(identifiers[0], identifiers[1]);
    openssl('pkey', '-in', paths.key, '-check', '-noout');
  });

  test('is one that Node accepts, and loads again', () => {
    const made = createAuthority(directory, now);
    const loaded = loadAuthority(directory);
    assert.ok(loaded !== null);
    assert.equal(loaded.pem, made.pem);
    assert.ok(loaded.key.equals(made.key));
    assert.equal(loaded.certificate.ca, true);
    assert.ok(loaded.certificate.verify(loaded.certificate.publicKey));
    assert.ok(loaded.certificate.checkIssued(loaded.certificate));
    assert.match(loaded.certificate.subject, /^O=Sallyport\nCN=Sallyport authority [0-9a-f]{8}$/u);
  });

  test('holds from an hour ago for five years', () => {
    const { certificate } = createAuthority(directory, now);
    const second = Math.floor(now / 1000) * 1000;
    assert.equal(certificate.validFromDate.getTime(), second - 3_600_000);
    assert.equal(certificate.validToDate.getTime(), second + 5 * 365 * 86_400_000);
  });

  test('made in 2046 ends after 2050', () => {
    const late = Date.UTC(2046, 5);
    const { certificate } = createAuthority(directory, late);
    assert.equal(certificate.validToDate.getTime(), late + 5 * 365 * 86_400_000);
  });

  test('has a key that only its owner can read', () => {
    createAuthority(directory, now);
    assert.equal(fs.statSync(paths.key).mode & 0o777, 0o600);
    assert.equal(fs.statSync(paths.certificate).mode & 0o777 & ~0o044, 0o600);
    assert.equal(fs.statSync(directory).mode & 0o777, 0o700);
    assert.deepEqual(fs.readdirSync(directory).sort(), ['ca.crt', 'ca.key']);
    assert.ok(!fs.readFileSync(paths.certificate, 'utf8').includes('PRIVATE'));
  });

  test('has its own key, name and serial number', () => {
    const one = createAuthority(directory, now).certificate;
    const two = createAuthority(path.join(root, 'other'), now).certificate;
    assert.notEqual(one.serialNumber, two.serialNumber);
    assert.notEqual(one.subject, two.subject);
    assert.notEqual(one.fingerprint256, two.fingerprint256);
    assert.match(one.serialNumber, /^[4-7][0-9A-F]{31}$/u);
  });
});

describe('never overwrites', () => {
  for (const left of ['ca.key', 'ca.crt'] as const) {
    test(`with ${left} there already`, () => {
      createAuthority(directory, now);
      const gone = left === 'ca.key' ? paths.certificate : paths.key;
      fs.rmSync(gone);
      const kept = path.join(directory, left);
      const before = fs.readFileSync(kept, 'utf8');
      assert.throws(() => createAuthority(directory, now), problem(/there already.*move .* away/u));
      assert.equal(fs.readFileSync(kept, 'utf8'), before);
      assert.equal(fs.existsSync(gone), false);
      assert.throws(() => loadAuthority(directory), problem(/is there without ca\.(?:key|crt)/u));
    });
  }
});

describe('does not load', () => {
  test('what is not there', () => assert.equal(loadAuthority(directory), null));

  const cases: readonly [string, () => void, RegExp][] = [
    ['a key that others can read', () => fs.chmodSync(paths.key, 0o640), /mode 0640.*chmod 600/u],
    ['a key that is none', () => fs.writeFileSync(paths.key, 'x'), /ca\.key is not a private key/u],
    [
      'a certificate that is none',
      () => fs.writeFileSync(paths.certificate, 'x'),
      /ca\.crt is not a certificate/u,
    ],
    [
      'a key behind a link',
      () => {
        fs.renameSync(paths.key, path.join(root, 'k'));
        fs.symlinkSync(path.join(root, 'k'), paths.key);
      },
      /symbolic link/u,
    ],
    [
      'the key of another authority',
      () => {
        createAuthority(path.join(root, 'other'), now);
        fs.copyFileSync(path.join(root, 'other', 'ca.key'), paths.key);
      },
      /do not belong together/u,
    ],
    [
      'a key of another kind',
      () => {
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
        fs.writeFileSync(paths.key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
      },
      /curve P-256/u,
    ],
    [
      'the certificate of a server',
      () => {
        fs.rmSync(paths.certificate);
        openssl(
          'req',
          '-x509',
          '-new',
          '-key',
          paths.key,
          '-subj',
          '/CN=x',
          '-days',
          '1',
          '-out',
          paths.certificate,
          '-addext',
          'basicConstraints=critical,CA:FALSE',
        );
        assert.equal(new X509Certificate(fs.readFileSync(paths.certificate)).ca, false);
      },
      /not the certificate of an authority/u,
    ],
  ];
  for (const [what, spoil, message] of cases) {
    test(what, () => {
      createAuthority(directory, now);
      spoil();
      assert.throws(() => loadAuthority(directory), problem(message));
    });
  }
});
