import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import tls from 'node:tls';
import { createAuthority } from '../../src/tls/authority.ts';
import { rotateAuthority } from '../../src/tls/rotation.ts';
import {
  readTrust,
  TrustError,
  trustedOurselves,
  trustedRoots,
} from '../../src/upstream/trusted-roots.ts';
import { TestAuthority } from '../support/certificates.ts';

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-roots-'));
after(() => fs.rmSync(directory, { recursive: true }));

const [one, two] = [new TestAuthority('one'), new TestAuthority('two')];

function file(name: string, text: string): string {
  const at = path.join(directory, name);
  fs.writeFileSync(at, text);
  return at;
}

test('without files they are those that the runtime brings along', () => {
  assert.deepEqual(trustedRoots([]), tls.rootCertificates);
});

test('those of the files stand beside the usual ones', () => {
  const roots = trustedRoots(
    readTrust([file('a.pem', `some words\n${one.cert}${two.cert}`), file('b.pem', two.cert)]),
  );
  assert.deepEqual(roots.slice(0, -3), tls.rootCertificates);
  assert.deepEqual(
    roots.slice(-3).map((pem) => pem.trim()),
    [one.cert.trim(), two.cert.trim(), two.cert.trim()],
  );
});

test('a file that holds one of our keys is named, whatever its certificate says', () => {
  const home = path.join(directory, 'certs');
  const old = createAuthority(home, Date.now());
  const { trusted, overlap } = rotateAuthority(home, Date.now());
  const harmless = file('harmless.pem', one.cert);
  assert.equal(trustedOurselves(readTrust([harmless]), trusted), null);
  const certificates = [old.pem, trusted[0]?.toString(), overlap?.cross.toString()];
  for (const [index, pem] of certificates.entries()) {
    const ours = file(`ours-${index}.pem`, `${two.cert}${pem}`);
    assert.equal(trustedOurselves(readTrust([harmless, ours]), trusted), ours);
  }
});

describe('refused with the name of the file', () => {
  const broken = one.cert.replace(/\n[A-Za-z0-9+/]/, '\nA');
  const texts: readonly [string, string][] = [
    ['empty', ''],
    ['no-certificate', 'hello'],
    ['key', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'],
    ['malformed', broken],
    ['one-malformed', `${two.cert}${broken}`],
    ['one-without-end', `${two.cert}${one.cert.slice(0, -30)}`],
  ];
  for (const [name, text] of texts) {
    test(name, () => {
      const at = file(name, text);
      assert.throws(
        () => readTrust([at]),
        (error) => error instanceof TrustError && error.message.includes(at),
      );
    });
  }

  test('missing', () => {
    assert.throws(() => readTrust([path.join(directory, 'none')]), /cannot be read \(ENOENT\)/);
  });
});
